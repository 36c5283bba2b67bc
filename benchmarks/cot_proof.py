"""Thoughts as training data: additions learned from answers that show their steps, and from the answers alone.

`python benchmarks/cot_proof.py [--work DIR] [--seeds 3]`. The teacher is a program that adds digit by digit with a carry, and in
one answer of ten forgets the carry; it answers 7,600 sums of two digits through `openbook.training.generate` (what
`openbook data generate` does), where the verifier `number` rejects what is wrong. Of each seed two students of 0.4 million
parameters begin with the same weights and learn from the same rows, once with the thoughts, once without. Rows are packed, so
that a step has the same number of tokens for both; a row with its thoughts is 2.7 times as long, so that its student sees so
many fewer sums. The budget: steps, looked at every hundred, until the student of the answers alone has 40 % of the held-out sums
right.
Reported: the share of 500 sums that no row has, answered by the likeliest tokens, of both at that budget. Writes
`results/cot_proof.json`; a seed that is there already is kept.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from machine import describe
from openbook.core.messages import ChatRequest, Completion, ModelLimits

RESULTS = Path(__file__).resolve().parent / "results" / "cot_proof.json"
SHAPE = {
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 24,
    "intermediate_size": 256,
}
Row = dict[str, Any]
HELD_OUT = 500
FIRST, STAGE, MOST_STEPS = 700, 100, 3000
ENOUGH, LEAST, MOST = 0.4, 0.3, 0.6
TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'assistant' %}"
    "{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}"
    "{{ message.content }}<|im_end|>{% else %}{{ message.content }}{% endif %}{% endfor %}"
)
"""A question as it is, behind it the thoughts and the answer: nothing that says who speaks."""
COMMON: Row = {
    "batch_size": 4,
    "max_seq_len": 128,
    "lr": 2e-3,
    "schedule": "constant",
    "warmup": 20,
    "weight_decay": 0.0,
    "forgetting": False,
}


class Adder:
    """A `ChatModel` that adds digit by digit, and forgets the carry where the draw says so."""

    name = "adder"
    limits = ModelLimits()

    def complete(self, request: ChatRequest) -> Completion:
        asked = request.messages[-1].text
        a, b = (int(one) for one in re.findall(r"\d+", asked))
        ones = a % 10 + b % 10
        carry = ones // 10
        draw = random.Random(zlib.crc32(f"{request.sampling.seed} {asked}".encode()))
        if carry and draw.random() < 0.2:  # one sum of two has a carry
            carry = 0
        tens = a // 10 + b // 10 + carry
        steps = f"{a % 10}+{b % 10}={ones} {a // 10}+{b // 10}+{carry}={tens}"
        return Completion(f"{tens}{ones % 10}", "stop", len(asked), len(steps), reasoning=steps)

    def stream(self, request: ChatRequest) -> Iterator[str]:
        yield self.complete(request).text

    def complete_many(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        for place, request in enumerate(requests):
            yield place, self.complete(request)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    work = chosen.work or Path(mkdtemp())
    found = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"machine": describe(), "seeds": {}}
    for seed in range(chosen.seeds):
        if str(seed) not in found["seeds"]:
            found["seeds"][str(seed)] = measured(work / str(seed), seed)
            print(seed, found["seeds"][str(seed)], flush=True)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def measured(folder: Path, seed: int) -> Row:
    folder.mkdir(parents=True, exist_ok=True)
    traces, answers, held, told = data(folder, seed)
    base, steps, course = base_of(folder, seed), FIRST - STAGE, []
    while not course or course[-1]["right"] < ENOUGH:
        steps += STAGE
        if steps > MOST_STEPS:
            raise SystemExit(f"after {MOST_STEPS} steps the student of the answers has not reached {ENOUGH}: {course}")
        model = learned(base, answers, folder / "answers", steps, seed)
        course.append({"steps": steps, "right": right(model, held)})
        print(seed, course[-1], flush=True)
    model = learned(base, traces, folder / "traces", steps, seed)
    found = {"answers": course[-1]["right"], "traces": right(model, held), "steps": steps, "course_of_answers": course}
    is_within = LEAST <= found["answers"] <= MOST
    return found | {"tokens": steps * 512, "is_within_the_band": is_within, "rows": told}


def data(folder: Path, seed: int) -> tuple[Path, Path, list[Row], Row]:
    """Rows with thoughts, the same without, and the sums that are held out."""
    from openbook.training.generate.generate import generate
    from openbook.training.generate.prompts import read_prompts
    from openbook.training.generate.settings import GenerateSettings
    from openbook.training.generate.verifier import open_verifier, term_of

    pairs = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    rows = [{"prompt": f"{a}+{b}=", "answer": str(a + b)} for a, b in pairs]
    random.Random(seed).shuffle(rows)
    asked, traces, answers = (folder / f"{name}.jsonl" for name in ("asked", "traces", "answers"))
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows[HELD_OUT:]), "utf-8")
    traces.unlink(missing_ok=True)
    settings = GenerateSettings(n=2, keep=1, at_once=512, max_tokens=64, seed=seed)
    verifier = open_verifier([term_of("number")])
    try:
        receipt = generate(read_prompts([asked]), Adder(), settings, traces, verifier=verifier, verified_by="number")
    finally:
        verifier.close()
    with answers.open("w", encoding="utf-8") as file:
        for line in traces.read_text("utf-8").splitlines():
            row = json.loads(line)
            row["messages"][-1].pop("reasoning_content")
            file.write(json.dumps(row) + "\n")
    told = {"prompts": receipt.prompts, "rows": receipt.rows, "fates": dict(receipt.fates)}
    return traces, answers, rows[:HELD_OUT], told


def base_of(folder: Path, seed: int) -> Path:
    """Weights that nothing has trained, with which both begin."""
    from openbook.lm.load import new_model, save_model
    from openbook.lm.tokenizers.default import default_tokenizer

    tokenizer = default_tokenizer(320)
    tokenizer.templates = {"default": TEMPLATE}
    special = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    raw = {"model_type": "llama", "vocab_size": tokenizer.vocab_size, "max_position_embeddings": 128}
    base = folder / "base"
    save_model(new_model(raw | special | SHAPE | {"tie_word_embeddings": True}, seed=seed), base)
    tokenizer.save(base)
    return base


def learned(base: Path, rows: Path, out: Path, steps: int, seed: int) -> Path:
    """The student after so many steps; goes on where it was."""
    from openbook.training.recipe import recipe_of
    from openbook.training.run import train

    values: Row = {"model": {"path": str(base)}, "data": {"train": str(rows), "layout": "packed"}, "seed": seed}
    outcome = train(recipe_of(values | COMMON | {"steps": steps, "out": str(out)}), resume=out.is_dir())
    assert outcome.model is not None
    return outcome.model


def right(model: Path, held: Sequence[Row]) -> float:
    """Share of the sums whose answer, behind the thoughts, is right."""
    from openbook.core.messages import SamplingParams
    from openbook.lm.tokenizers.tokenizer import Tokenizer
    from openbook.serving.engine.engine import Engine

    tokenizer = Tokenizer.load(model)
    prompts = [tokenizer.encode(row["prompt"], add_special_tokens=False) for row in held]
    with Engine.load(model, max_num_seqs=128) as engine:
        outputs = engine.generate(prompts, SamplingParams(temperature=0.0, max_tokens=32))
    said = [tokenizer.decode(one.tokens, skip_special_tokens=False) for one in outputs]
    answers = [one.rpartition("</think>")[2].removesuffix("<|im_end|>").strip() for one in said]
    return round(sum(one == row["answer"] for one, row in zip(answers, held, strict=True)) / len(held), 4)


if __name__ == "__main__":
    main()
