"""Divergences of distillation beside TRL's own code (`generalized_jsd_loss` of GKD), on the same random numbers.

`PYTHON_WITH_TRL benchmarks/distill_losses.py`: a Python that has trl and torch. Of Openbook only the formulas are imported, from
the checkout. TRL's function knows no T^2, calls KL(teacher || student) beta 0 and the other way round beta 1, and divides by the
tokens: so does this comparison. Values, gradients by the student's logits from autograd, and our own slopes, in float64. Writes
`results/distill_losses.json`; ends with 1 where a number differs by more than 1e-6.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent / "src")  # in the place of this folder, whose datasets.py is not the package

from openbook.training.objectives.distill_names import Divergence  # noqa: E402
from openbook.training.objectives.divergences import divergences, slopes  # noqa: E402

SEQUENCES, LENGTH, VOCABULARY = 4, 12, 401
SEEDS, MOST = 5, 1e-6
CASES: dict[str, tuple[Divergence, float, float]] = {
    "forward": ("forward", 0.0, 1.0),
    "forward, T 2": ("forward", 0.0, 2.0),
    "reverse": ("reverse", 1.0, 1.0),
    "reverse, T .7": ("reverse", 1.0, 0.7),
    "jsd .5": ("jsd", 0.5, 1.0),
    "jsd .1, T 3": ("jsd", 0.1, 3.0),
    "jsd .9": ("jsd", 0.9, 1.0),
}
"""Ours; TRL's beta; the temperature of both."""


def measured(seed: int, kind: Divergence, beta: float, temperature: float) -> dict[str, float]:
    from trl.experimental.gkd import GKDTrainer

    draw = torch.Generator().manual_seed(seed)
    shape = (SEQUENCES, LENGTH, VOCABULARY)
    student, teacher = (3 * torch.randn(*shape, generator=draw, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(VOCABULARY, shape[:2], generator=draw)
    labels[torch.rand(shape[:2], generator=draw) < 0.3] = -100
    student.requires_grad_()
    theirs = GKDTrainer.generalized_jsd_loss(student, teacher, labels, beta=beta, temperature=temperature)
    learned = labels != -100
    own, known = ((one[learned] / temperature).log_softmax(dim=1) for one in (student, teacher))
    mine = divergences(own, known, kind, beta).sum() / learned.sum()
    by_theirs, by_mine = (torch.autograd.grad(one, student, retain_graph=True)[0] for one in (theirs, mine))
    slope = torch.zeros_like(by_mine)
    slope[learned] = slopes(own.detach(), known, kind, beta) / temperature / learned.sum()
    return {"loss": most(mine, theirs), "gradient": most(by_mine, by_theirs), "slope": most(slope, by_theirs)}


def most(mine: Tensor, theirs: Tensor) -> float:
    return float((mine - theirs).detach().abs().max())


def main() -> int:
    found = {}
    for name, case in CASES.items():
        each = [measured(seed, *case) for seed in range(SEEDS)]
        found[name] = {key: max(one[key] for one in each) for key in each[0]}
        print(f"{name:16} " + ", ".join(f"{key} {value:.1e}" for key, value in found[name].items()))
    said: dict[str, Any] = {"versions": {name: version(name) for name in ("trl", "torch", "transformers")}}
    said |= {"tokens": SEQUENCES * LENGTH, "vocabulary": VOCABULARY, "seeds": SEEDS, "largest_difference": found}
    (HERE / "results" / "distill_losses.json").write_text(json.dumps(said, indent=1) + "\n", "utf-8")
    return int(any(value > MOST for one in found.values() for value in one.values()))


if __name__ == "__main__":
    sys.exit(main())
