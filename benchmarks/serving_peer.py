"""One system of `serving.py`, in a process and an environment of its own: loads a model, then measures what it is told.

`python serving_peer.py SYSTEM MODEL`: reads a case a line, writes a line of JSON for each. Systems: openbook (int8, int4,
bfloat16), transformers (bfloat16, one by one or padded), llama.cpp (any GGUF file), openvino (GenAI's continuous batching).
All are greedy, know no end token, and get the same ids.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any, Protocol

VOCABULARY = 151_936
THREADS = len(os.sched_getaffinity(0))
MOST = 512


class Request:
    def __init__(self, prompt: list[int], tokens: int) -> None:
        self.prompt, self.tokens = prompt, tokens


def mixed() -> list[Request]:
    """32 requests: prompts of 32..256 tokens, answers of 32..128."""
    draw = random.Random(1)
    sizes = [(draw.randint(32, 256), draw.randint(32, 128)) for _ in range(32)]
    return [Request([draw.randrange(VOCABULARY) for _ in range(length)], tokens) for length, tokens in sizes]


def prompt_of(tokens: int, seed: int = 2) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(VOCABULARY) for _ in range(tokens)]


class System(Protocol):
    def run(self, requests: list[Request]) -> list[int]:
        """Answers all; how many tokens each got."""
        ...


class Openbook:
    def __init__(self, model: str, precision: str) -> None:
        from openbook.core.threads import set_thread_environment, share_processors

        share_processors()
        set_thread_environment()
        from openbook.lm.load import load_model
        from openbook.lm.quantization.prepare import prepare

        self.model = prepare(load_model(model), precision)  # type: ignore[type-var]

    def run(self, requests: list[Request]) -> list[int]:
        from openbook.core.messages import SamplingParams
        from openbook.serving.engine.core import EngineCore

        engine = EngineCore(self.model, num_blocks=1_024, max_seq_len=MOST + 128)  # its prefixes are nobody else's
        params = [SamplingParams(max_tokens=one.tokens, ignore_eos=True) for one in requests]
        return [len(one.tokens) for one in engine.generate([one.prompt for one in requests], params)]


class Transformers:
    def __init__(self, model: str, way: str) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        import torch
        from transformers import AutoModelForCausalLM

        self.torch, self.way = torch, way
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).eval()

    def run(self, requests: list[Request]) -> list[int]:
        groups = [requests] if self.way == "padded" else [[one] for one in requests]
        return [count for group in groups for count in self._batch(group)]

    def _batch(self, requests: list[Request]) -> list[int]:
        """Padded in front; what is written beyond the asked length is no use."""
        longest, most = max(len(one.prompt) for one in requests), max(one.tokens for one in requests)
        rows = [[0] * (longest - len(one.prompt)) + one.prompt for one in requests]
        mask = [[0] * (longest - len(one.prompt)) + [1] * len(one.prompt) for one in requests]
        with self.torch.inference_mode():
            self.model.generate(
                self.torch.tensor(rows),
                attention_mask=self.torch.tensor(mask),
                max_new_tokens=most,
                min_new_tokens=most,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=None,
            )
        return [one.tokens for one in requests]


class LlamaCpp:
    """Continuous batching through llama.cpp's own interface: decoding and prompts in one batch, a unified cache."""

    def __init__(self, model: str) -> None:
        import llama_cpp

        self.lib: Any = llama_cpp
        llama_cpp.llama_backend_init()
        quiet = llama_cpp.llama_log_callback(lambda *_: None)
        self.quiet = quiet
        llama_cpp.llama_log_set(quiet, None)
        self.model = llama_cpp.llama_model_load_from_file(model.encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = 16_384, 2_048, 512, 32
        params.n_threads = params.n_threads_batch = THREADS
        params.kv_unified = True
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.batch = llama_cpp.llama_batch_init(2_048, 0, 1)
        self.sampler = llama_cpp.llama_sampler_init_greedy()

    def run(self, requests: list[Request]) -> list[int]:
        lib, batch = self.lib, self.batch
        lib.llama_memory_clear(lib.llama_get_memory(self.context), True)
        read, wrote, last = [0] * len(requests), [0] * len(requests), [0] * len(requests)
        while True:
            rows = []  # token, position, sequence, whether its logits are wanted
            for number, one in enumerate(requests):
                if read[number] == len(one.prompt) and wrote[number] < one.tokens:
                    rows.append((last[number], len(one.prompt) + wrote[number] - 1, number, True))
            for number, one in enumerate(requests):
                while read[number] < len(one.prompt) and len(rows) < 2_048:
                    rows.append((one.prompt[read[number]], read[number], number, read[number] == len(one.prompt) - 1))
                    read[number] += 1
            if not rows:
                return wrote
            batch.n_tokens = len(rows)
            for place, (token, position, number, wants) in enumerate(rows):
                batch.token[place], batch.pos[place] = token, position
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, number
                batch.logits[place] = wants
            if lib.llama_decode(self.context, batch):
                raise RuntimeError("llama_decode failed")
            for place, (_, _, number, wants) in enumerate(rows):
                if wants:
                    last[number] = lib.llama_sampler_sample(self.sampler, self.context, place)
                    wrote[number] += 1


class OpenVino:
    def __init__(self, model: str) -> None:
        import openvino_genai

        self.lib: Any = openvino_genai
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size, scheduler.max_num_batched_tokens, scheduler.max_num_seqs = 1, 2_048, 32
        scheduler.dynamic_split_fuse = True
        self.pipe = openvino_genai.ContinuousBatchingPipeline(
            model, scheduler, "CPU", {"INFERENCE_NUM_THREADS": THREADS}
        )

    def run(self, requests: list[Request]) -> list[int]:
        import numpy as np
        import openvino

        handles = []
        for number, one in enumerate(requests):
            config = self.lib.GenerationConfig()
            config.max_new_tokens = config.min_new_tokens = one.tokens
            config.eos_token_id, config.stop_token_ids = 0, {0}  # one must be named, and is ignored
            config.ignore_eos, config.do_sample = True, False
            ids = openvino.Tensor(np.array([one.prompt], np.int64))
            handles.append(self.pipe.add_request(number, ids, config))
        while self.pipe.has_non_finished_requests():
            self.pipe.step()
        return [len(handle.read_all()[0].generated_ids) for handle in handles]


def opened(system: str, model: str) -> System:
    name, _, way = system.partition("-")
    match name:
        case "openbook":
            return Openbook(model, way)
        case "transformers":
            return Transformers(model, way)
        case "llama.cpp":
            return LlamaCpp(model)
        case "openvino":
            return OpenVino(model)
    raise SystemExit(f"{system!r} is not known")


def measured(system: System, case: str) -> dict[str, float]:
    """Tokens a second, of useful output where there is an answer, else of the prompt; and seconds."""
    match case:
        case "mixed":
            requests = mixed()
        case "few":  # for who answers one by one: the first eight
            requests = mixed()[:8]
        case "decode":
            requests = [Request(prompt_of(64), 96)]
        case "prefill":
            requests = [Request(prompt_of(512, random.randrange(1 << 30)), 1)]
        case _:
            raise SystemExit(f"{case!r} is not known")
    before = 0.0
    if case == "decode":  # what the prompt takes, and one token
        began = time.perf_counter()
        system.run([Request(prompt_of(64, 3), 1)])
        before = time.perf_counter() - began
    began = time.perf_counter()
    wrote = system.run(requests)
    seconds = time.perf_counter() - began - before
    if wrote != [one.tokens for one in requests]:
        raise SystemExit(f"wrote {wrote}")
    tokens = 512 if case == "prefill" else sum(wrote) - (1 if case == "decode" else 0)
    return {"tokens_per_second": tokens / seconds, "seconds": seconds}


def main() -> None:
    system = opened(sys.argv[1], sys.argv[2])
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    print(json.dumps({"ready": Path(sys.argv[2]).name}), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(measured(system, line.strip())), file=out, flush=True)


if __name__ == "__main__":
    main()
