"""What speculation saves: decoded tokens a second with guesses and without, and how many guesses are right.

`python benchmarks/speculation.py --models DIR --shape HF_DIR`: at most five minutes once DIR holds the small models that it
trains (`--minutes` each), on a machine that does nothing else. HF_DIR: random weights of the shape of Qwen2.5-0.5B, which
`serving.py` makes in its folder, as `hf`.

How many guesses of an n-gram proposer are right depends on the text alone, what checking them costs on the model's shape
alone. So a model of random weights, in int8, is made to write given answers (`replay.py`: a grammar that allows one token in each
place), some of which copy from their prompts as quotations and edits do, and some not (`copying.py`). Every pass over the
weights is computed, and the figures are those of a model of this shape that answers so. Tokens are the built-in tokenizer's,
which are shorter than those of a large vocabulary, so that more of them follow from the last.

A draft model is right as often as it has learned the same as the model: two byte models are trained on the same texts by the
recipe of `tiny_lm.py`, and the small one guesses for the larger. Measured twice: as they are, where a pass of the small one is
hardly cheaper, and with the larger one's answers replayed by the shape of Qwen2.5-0.5B, which the small one then costs next to
nothing. A draft that has learned nothing shows what is lost until it is switched off.

Prefill is not timed: the clock runs from an answer's first token to its last. With guesses and without take turns; each answer
counts with its median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openbook.core.threads import set_thread_environment, share_processors

share_processors()
set_thread_environment()

import torch  # noqa: E402

import machine  # noqa: E402
import tiny_lm  # noqa: E402
from copying import cases  # noqa: E402
from openbook.core.messages import SamplingParams  # noqa: E402
from openbook.lm.families.base import Family  # noqa: E402
from openbook.lm.load import load_model, new_model  # noqa: E402
from openbook.lm.quantization.prepare import prepare  # noqa: E402
from openbook.lm.tokenizers.default import default_tokenizer  # noqa: E402
from openbook.serving.engine.core import BLOCK_SIZE, EngineCore  # noqa: E402
from openbook.serving.engine.speculate.draft import DraftProposer, relative_cost  # noqa: E402
from openbook.serving.engine.speculate.ngram import NgramProposer  # noqa: E402
from openbook.serving.engine.speculate.proposer import Proposer  # noqa: E402
from openbook.serving.engine.speculate.speculation import Speculation  # noqa: E402
from quiet import wait_for_quiet  # noqa: E402
from replay import Case, Scripts  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "speculation.json"
TARGET, DRAFT = "5m", "1m"
BLOCKS, STEP_TOKENS = 512, 1_024
MOST = 4
COUNT, TOGETHER = 8, 8
AIM = 1.5
ANSWER, PROMPT = 128, 128
Asked = tuple[list[int], SamplingParams]
"""A prompt, and how it is to be answered."""


class Turns:
    """An engine without guesses and one with them, over the same weights."""

    def __init__(self, model: Family, proposer: Proposer) -> None:
        self._speculation = Speculation(proposer, MOST)
        self._engines = [self._engine(model, None), self._engine(model, self._speculation)]

    def _engine(self, model: Family, speculation: Speculation | None) -> EngineCore:
        scripts = Scripts(model.config.vocab_size)
        return EngineCore(
            model, num_blocks=BLOCKS, constraints=scripts, speculation=speculation, max_step_tokens=STEP_TOKENS
        )

    def measure(self, groups: Sequence[Sequence[Asked]], rounds: int) -> dict[str, float]:
        """Each group is answered together, `rounds` times in turns after one that does not count."""
        took: list[list[list[float]]] = [[[] for _ in groups] for _ in self._engines]
        tokens = [0] * len(groups)
        told = self._speculation
        proposed = accepted = 0
        for number in range(-1, rounds):
            before = (told.num_proposed, told.num_accepted)
            for place, group in enumerate(groups):
                for kind in (0, 1) if number % 2 else (1, 0):
                    seconds, tokens[place] = decoded(self._engines[kind], group)
                    if number >= 0:
                        took[kind][place].append(seconds)
            proposed, accepted = told.num_proposed - before[0], told.num_accepted - before[1]
        plain, guessing = (sum(statistics.median(one) for one in each) for each in took)
        return {
            "plain_tokens_per_second": sum(tokens) / plain,
            "guessing_tokens_per_second": sum(tokens) / guessing,
            "ratio": plain / guessing,
            "tokens": sum(tokens),
            "proposed": proposed,
            "accepted": accepted,
        }


def decoded(engine: EngineCore, group: Sequence[Asked]) -> tuple[float, int]:
    """Seconds from when all have their first token until the last, and how many tokens came in them."""
    for prompt, params in group:
        engine.add(prompt, params)
    begun: set[int] = set()
    count, began = 0, 0.0
    while not engine.is_idle:
        events = engine.step()
        if len(begun) == len(group):
            count += len(events)
        else:
            begun |= {event.number for event in events}
            began = time.perf_counter()
    return time.perf_counter() - began, count


def asked(given: Sequence[Case]) -> list[Asked]:
    return [(one.prompt, one.params) for one in given]


def by_ngrams(model: Family, rounds: int) -> dict[str, Any]:
    """Kind of answers -> one at a time, and all of them at once."""
    tokenizer = default_tokenizer()
    found: dict[str, Any] = {}
    for kind, given in cases(tiny_lm.DATA, tokenizer, COUNT).items():
        turns = Turns(model, NgramProposer())
        alone = turns.measure([[one] for one in asked(given)], rounds)
        found[kind] = {"alone": alone, "together": turns.measure([asked(given)[:TOGETHER]], rounds)}
        show(kind, alone)
        show(f"{kind}, {TOGETHER} at once", found[kind]["together"])
    return found


def by_draft(shape: Family, cost: float, folder: Path, rounds: int) -> dict[str, Any]:
    """What a draft saves, by model and draft; one answer at a time, greedy but for one row. `cost`: of the draft, by `shape`."""
    target, draft = (load_model(folder / f"bytes-{size}") for size in (TARGET, DRAFT))
    fresh = new_model(tiny_lm.new_config("llama", DRAFT, tiny_lm.BYTES_ONLY, tiny_lm.WINDOW), seed=5)
    costs = {"own": relative_cost(draft, target), "shape": cost}
    _, windows = tiny_lm.read_texts()
    prompts = [window[:PROMPT] for window in windows[:: len(windows) // COUNT][:COUNT]]
    written = answers(target, prompts)
    target, draft, fresh = (prepare(one, "float32") for one in (target, draft, fresh))
    greedy: list[list[Asked]] = [[(one, SamplingParams(max_tokens=ANSWER, ignore_eos=True))] for one in prompts]
    drawn: list[list[Asked]] = [
        [(one, SamplingParams(max_tokens=ANSWER, ignore_eos=True, temperature=1.0, seed=place))]
        for place, one in enumerate(prompts)
    ]
    replayed = [[one] for one in asked([Case(p, a) for p, a in zip(prompts, written, strict=True)])]
    rows = {
        "a trained draft": (target, draft, costs["own"], greedy),
        "a trained draft, temperature 1": (target, draft, costs["own"], drawn),
        "an untrained draft": (target, fresh, costs["own"], greedy),
        "a trained draft, 0.5B": (shape, draft, costs["shape"], replayed),
        "an untrained draft, 0.5B": (shape, fresh, costs["shape"], replayed),
    }
    found: dict[str, Any] = {}
    for name, (model, guesser, taken, groups) in rows.items():
        turns = Turns(model, DraftProposer(guesser, BLOCKS, BLOCK_SIZE, guesser.dtype, STEP_TOKENS, taken))
        found[name] = turns.measure(groups, rounds) | {"cost": taken}
        show(name, found[name])
    return found


def answers(model: Family, prompts: Sequence[list[int]]) -> list[list[int]]:
    """Greedy, of `model` itself."""
    engine = EngineCore(model, num_blocks=BLOCKS)
    return [one.tokens for one in engine.generate(prompts, SamplingParams(max_tokens=ANSWER, ignore_eos=True))]


def show(name: str, found: dict[str, float]) -> None:
    share = found["accepted"] / max(found["proposed"], 1)
    print(
        f"{name:34} {found['plain_tokens_per_second']:8.1f} -> {found['guessing_tokens_per_second']:8.1f} tokens/s  "
        f"{found['ratio']:.2f}x  {100 * share:.0f} % of {found['proposed']} right",
        flush=True,
    )


def train_missing(folder: Path, minutes: float) -> dict[str, Any]:
    """The small models, each trained once; what became of the training."""
    found = {}
    for size in (TARGET, DRAFT):
        out = folder / f"bytes-{size}"
        told = out / "training.json"
        if not told.is_file():
            ids, _ = tiny_lm.read_texts()
            told.parent.mkdir(parents=True, exist_ok=True)
            told.write_text(json.dumps(tiny_lm.train(ids, out, minutes, size)))
        found[size] = json.loads(told.read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="a folder for the small models")
    parser.add_argument("--shape", type=Path, required=True, help="random weights of the shape of Qwen2.5-0.5B")
    parser.add_argument("--minutes", type=float, default=10.0, help="to train a small model that is missing")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine.describe(), "training": train_missing(options.models, options.minutes)}
    plain = load_model(options.shape)
    cost = relative_cost(load_model(options.models / f"bytes-{DRAFT}"), plain)
    shape = prepare(plain, "int8")
    print(f"others use {wait_for_quiet():.2f} of a core", flush=True)
    with torch.inference_mode():
        result["ngram"] = by_ngrams(shape, options.rounds)
        result["draft"] = by_draft(shape, cost, options.models, options.rounds)
    result["aim"] = AIM
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
