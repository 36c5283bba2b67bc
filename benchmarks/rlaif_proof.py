"""Preferences labelled by a judge in place of people (RLAIF): what the labels are worth, and what DPO learns from them.

`python benchmarks/rlaif_proof.py [--work DIR] [--seeds 3] [--only NAME ...]`. The pairs of `alignment_data` (the better answer
names more colours) go without their labels to judges that decide by a rule, through `openbook.training.judge` as any model would:
a judge reads the question, counts the colours of answer A and answer B, and says one letter.

- `rule`: always by the rule.
- `hasty`: three times in ten it says A without looking, and one answer in ten is chatter that cannot be read.
- `hasty, once`: the same judge, each pair asked in one order only.
- `wrong`: the rule, but one pair in five is told the other way round, in both orders.

Reported: agreement with the known better answer, consistency of both orders, how often the answer shown first won, nonsense; and
of DPO on the labels the accuracy on 200 other pairs by the known better answer, log-probabilities and what was forgotten, as in
`alignment_proof.py`, whose model and settings these are. Which checkpoint is the best is decided on 200 pairs that the judge
labelled too: the known better answers are looked at once, at the end. Writes `results/rlaif_proof.json`; what is there is kept.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from alignment_data import COLOURS, Row, pairs, written
from alignment_proof import COMMON, HELD_OUT, base_of, files, judged, logged, run
from machine import describe
from openbook.core.messages import ChatRequest, Completion, ModelLimits
from openbook.training.judge.label import label
from openbook.training.judge.pairs import read_pairs
from openbook.training.judge.rubric import Rubric
from openbook.training.judge.settings import JudgeSettings

RESULTS = Path(__file__).resolve().parent / "results" / "rlaif_proof.json"
CONSTITUTION = ("The better answer names more colours. Nothing else matters.",)
ANSWERS = re.compile(r"----- answer A -----\n(.*?)\n----- answer B -----\n(.*?)\n----- end -----", re.DOTALL)
SETTINGS = JudgeSettings(Rubric("pair", principles=CONSTITUTION))
JUDGES = ("rule", "hasty", "hasty, once", "wrong")


class RuleJudge:
    """A `ChatModel` that counts colours. What is drawn depends on the question alone."""

    limits = ModelLimits()

    def __init__(self, name: str) -> None:
        self.name = name

    def complete(self, request: ChatRequest) -> Completion:
        text = request.messages[0].text
        found = ANSWERS.search(text)
        assert found is not None
        first, second = (sum(word in COLOURS for word in found[one].split()) for one in (1, 2))
        assert first != second
        verdict = "A" if first > second else "B"
        if self.name.startswith("hasty"):
            if _draw(text, "A") < 0.3:
                verdict = "A"
            if request.response_format is None and _draw(text, "chatter") < 0.1:
                verdict = "Both answers have their merits."
        if self.name == "wrong" and _draw(*sorted(found.groups()), "wrong") < 0.2:
            verdict = "B" if verdict == "A" else "A"
        return Completion(verdict, "stop")

    def stream(self, request: ChatRequest) -> Iterator[str]:
        yield self.complete(request).text

    def complete_many(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        for place, request in enumerate(requests):
            yield place, self.complete(request)


def _draw(*texts: str) -> float:
    """Of texts, from 0 to 1."""
    return zlib.crc32("\n".join(texts).encode()) / 2**32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(JUDGES))
    chosen = parser.parse_args()
    work = chosen.work or Path(mkdtemp())
    found = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"machine": describe(), "judges": {}}
    for seed in range(chosen.seeds):
        folder = work / str(seed)
        data = files(folder, seed)
        for name in chosen.only:
            runs = found["judges"].setdefault(name, {})
            if str(seed) not in runs:
                runs[str(seed)] = measured(name, folder, base_of(folder, data, seed), data, seed)
                print(name, seed, json.dumps(runs[str(seed)]), flush=True)
                RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def measured(name: str, folder: Path, base: Path, data: dict[str, str], seed: int) -> Row:
    began = time.process_time()
    out = folder / f"{name.replace(', ', '-')}.jsonl"
    settings = replace(SETTINGS, is_swapped=name != "hasty, once")
    report = label(read_pairs(Path(data["pairs"])), RuleJudge(name), out, settings)
    chosen_on = out.with_suffix(".eval.jsonl")
    unseen = Path(written(folder / "unseen.jsonl", pairs(HELD_OUT, seed + 2_000)))
    label(read_pairs(unseen), RuleJudge(name), chosen_on, settings)
    seconds = time.process_time() - began
    said = report.to_json()
    kept = (
        "pairs",
        "labelled",
        "inconsistent",
        "unread",
        "nonsense",
        "requests",
        "swap_consistency",
        "first_position",
        "gold_agreement",
    )
    return {
        "labels": {one: said[one] for one in kept} | {"cpu_seconds": round(seconds, 1)},
        "dpo": preference(name, folder, base, data | {"pairs": str(out), "chosen_on": str(chosen_on)}, seed),
    }


def preference(name: str, folder: Path, base: Path, data: dict[str, str], seed: int) -> Row:
    """DPO as `sigmoid` of `alignment_proof`, on the judge's labels; measured on pairs whose better answer is known."""
    values: dict[str, Any] = COMMON | {"objective": "preference", "preference": {"loss": "sigmoid", "beta": 0.5}}
    values |= {"model": {"path": str(base)}, "data": {"train": data["pairs"], "eval": data["chosen_on"]}, "seed": seed}
    out = folder / f"dpo-{name.replace(', ', '-')}"
    began = time.process_time()
    model = run(values | {"out": str(out)})
    seconds = round(time.process_time() - began, 1)
    return {"cpu_seconds": seconds} | logged(out) | judged("sigmoid", base, model, data)


if __name__ == "__main__":
    main()
