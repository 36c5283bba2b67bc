"""Whether the built-in reward for answers knows right ones and refuses wrong ones, on published solutions.

`python benchmarks/reward_functions.py`. Right: every reference solution of GSM8K (training part) and of the MATH problems in
`math_sets`, word for word; of ASDiv, which has answers but no solutions, "The answer is ...". Wrong: the same solution with its
last answer replaced: plus and minus one, negated, ten times, half, or where it is no plain number the answer of another problem.
And the eight sampled solutions of each MATH problem, beside the verdicts that the data set recorded. The data is read from
`$OPENBOOK_DATA`. Writes `results/reward_functions.json`; what is not as it should be is listed there by its place.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

from datasets import data_folder
from machine import describe
from openbook.training.rewards.builtin import NumberReward
from openbook.training.rewards.final_answer import final_answer
from openbook.training.rewards.sampled import Sampled

RESULTS = Path(__file__).resolve().parent / "results" / "reward_functions.json"
Row = dict[str, Any]
REWARD = NumberReward()


class Case(NamedTuple):
    """`before` and `after`: what stands around the answer in the solution."""

    place: str
    before: str
    answer: str
    after: str
    reference: str


def main() -> None:
    folder = data_folder()
    cases = {"gsm8k": list(gsm8k(folder)), "math": list(math(folder)), "asdiv": list(asdiv(folder))}
    sets = {name: measured(found) for name, found in cases.items()}
    report = {"machine": describe(), "sets": sets, "math, sampled solutions": sampled_solutions(folder)}
    RESULTS.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for name, one in sets.items():
        print(
            f"{name:6} right {one['right']:5} of {one['solutions']:5}, wrong refused {one['refused']:6} of {one['wrong']:6}"
        )
    seen = report["math, sampled solutions"]
    print(f"math   sampled: as recorded {seen['as_recorded']} of {seen['solutions']}")  # type: ignore[index]


def measured(cases: list[Case]) -> Row:
    began = time.process_time()
    lost = [one.place for one in cases if score(one, one.answer) != 1.0]
    wrong = [(one, put) for at, one in enumerate(cases) for put in others(one, cases, at)]
    passed = [f"{one.place}: {put}" for one, put in wrong if score(one, put) != 0.0]
    seconds = time.process_time() - began
    return {
        "solutions": len(cases),
        "right": len(cases) - len(lost),
        "wrong": len(wrong),
        "refused": len(wrong) - len(passed),
        "not_known_as_right": lost,
        "taken_for_right": passed,
        "microseconds_each": round(1e6 * seconds / (len(cases) + len(wrong)), 1),
    }


def score(case: Case, answer: str) -> float:
    sample = Sampled({"answer": case.reference}, (), f"{case.before}{answer}{case.after}", 1, True)
    (found,) = REWARD([sample])
    assert isinstance(found, float), (case.place, found)
    return found


def others(case: Case, cases: list[Case], at: int) -> Iterator[str]:
    """Answers that are not the case's."""
    bare = case.answer.split(" (")[0].replace(",", "").replace("\\!", "")
    try:
        value = Decimal(bare)
    except InvalidOperation:
        mine = "".join(case.answer.split()).replace("dfrac", "frac").casefold()
        for step in range(1, len(cases)):
            other = cases[(at + step) % len(cases)].answer
            if "".join(other.split()).replace("dfrac", "frac").casefold() != mine:
                yield other
                return
        return
    for put in (value + 1, value - 1, -value, value * 10, value / 2):
        if put != value:
            yield f"{put:f}"


def gsm8k(folder: Path) -> Iterator[Case]:
    for number, row in enumerate(rows(folder / "gsm8k" / "train.jsonl.gz"), 1):
        before, _, answer = row["answer"].rpartition("#### ")
        yield Case(f"gsm8k:{number}", before + "#### ", answer, "", row["answer"])


def math(folder: Path) -> Iterator[Case]:
    for number, row in enumerate(rows(folder / "math_sets" / "math_cot_100_multi_sample.jsonl.gz"), 1):
        before, mark, rest = row["gt_cot"].rpartition("\\boxed{")
        depth, end = 1, 0
        while depth:
            depth += (rest[end] == "{") - (rest[end] == "}")
            end += 1
        yield Case(f"math:{number}", before + mark, rest[: end - 1], rest[end - 1 :], row["answer"])


def asdiv(folder: Path) -> Iterator[Case]:
    for number, row in enumerate(rows(folder / "math_sets" / "asdiv_test.jsonl.gz"), 1):
        yield Case(f"asdiv:{number}", "The answer is ", row["answer"], ".", row["answer"])


def sampled_solutions(folder: Path) -> Row:
    """Ours beside the recorded verdicts; where they differ, both are told."""
    count, differ = 0, []
    for number, row in enumerate(rows(folder / "math_sets" / "math_cot_100_multi_sample.jsonl.gz"), 1):
        for solution, recorded in zip(row["code"], row["score"], strict=True):
            (ours,) = REWARD([Sampled({"answer": row["answer"]}, (), solution, 1, True)])
            count += 1
            if bool(ours) != recorded:
                said = {"ours": bool(ours), "recorded": recorded, "found": final_answer(solution)}
                differ.append({"place": f"math:{number}", "reference": row["answer"], **said})
    return {"solutions": count, "as_recorded": count - len(differ), "differ": differ}


def rows(path: Path) -> Iterator[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


if __name__ == "__main__":
    main()
