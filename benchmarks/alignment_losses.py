"""Losses and gradients of preferences and rewards beside those of TRL's own trainers, on the same random log-probabilities.

`PYTHON_WITH_TRL benchmarks/alignment_losses.py`: a Python that has trl and torch; of Openbook only the formulas are imported,
from the checkout. TRL's loss is taken out of its trainer (`DPOTrainer._compute_loss`, `KTOTrainer._compute_loss`,
`CPOTrainer.cpo_loss`, `ORPOTrainer.odds_ratio_loss`, `RewardTrainer.compute_loss`) with a model that gives the numbers it is
told. What TRL averages over tokens of a batch (the likelihood in ORPO and CPO) is averaged here over pairs of one length each,
where both are the same. Writes `results/alignment_losses.json`; ends with 1 where a number differs by more than 1e-6.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent / "src")  # in the place of this folder, whose datasets.py is not the package

from openbook.training.objectives.preference_losses import kto_losses, pair_losses, reward_losses  # noqa: E402
from openbook.training.objectives.preference_names import NORMALISED, Knobs  # noqa: E402

PAIRS, LENGTH = 32, 20
SEEDS = 5
MOST = 1e-6


class Device:
    """What TRL asks its accelerator for, of one process."""

    device = torch.device("cpu")

    def gather(self, value: Tensor) -> Tensor:
        return value

    gather_for_metrics = gather


class Model:
    """Gives the log-probabilities it is told, whatever it reads."""

    training = True

    def __init__(self, *logprobs: Tensor) -> None:
        self.logprobs = list(logprobs)

    def __call__(self, **_: Any) -> Any:
        found = self.logprobs.pop(0) if len(self.logprobs) > 1 else self.logprobs[0]
        zero = torch.zeros_like(found)
        return SimpleNamespace(log_probs=found, entropy=zero, mean_logits=zero, is_top1=zero.bool())


def trainer(**said: Any) -> Any:
    """The settings that a loss of TRL reads from its trainer."""
    plain = {
        "accelerator": Device(),
        "aux_loss_enabled": False,
        "ld_alpha": None,
        "precompute_ref_logps": True,
        "f_divergence_type": "reverse_kl",
        "loss_weights": [1.0],
        "use_weighting": False,
        "label_smoothing": 0.0,
        "alpha": 0.0,
        "calculate_KL": True,
        "_metrics": {"train": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    return SimpleNamespace(**plain | said)


def drawn(seed: int, *, one_length: bool = False) -> dict[str, Tensor]:
    """Log-probabilities of the tokens of PAIRS better and PAIRS worse answers in float64, 0 where there is none; the reference's
    sums; which tokens are answers.
    """
    draw = torch.Generator().manual_seed(seed)
    counts = torch.randint(2, LENGTH, (2 * PAIRS,), generator=draw)
    counts = torch.full_like(counts, LENGTH // 2) if one_length else counts
    mask = torch.zeros(2 * PAIRS, LENGTH + 1)
    for row, count in enumerate(counts.tolist()):
        mask[row, 1 : 1 + count] = 1
    logprobs = -3 * torch.rand(2 * PAIRS, LENGTH, generator=draw, dtype=torch.float64) * mask[:, 1:]
    reference = logprobs.sum(1) + torch.randn(2 * PAIRS, generator=draw, dtype=torch.float64)
    return {"logprobs": logprobs.requires_grad_(), "reference": reference, "mask": mask, "counts": counts.double()}


def ours(loss: Any, data: dict[str, Tensor], knobs: Knobs) -> Tensor:
    sums = data["logprobs"].sum(1)
    gained = sums - data["reference"] if loss in ("sigmoid", "hinge", "ipo", "cdpo") else sums
    gained = gained / data["counts"] if loss in NORMALISED else gained
    nll = -sums[:PAIRS] / data["counts"][:PAIRS]
    return pair_losses(loss, gained[:PAIRS], gained[PAIRS:], nll, knobs).mean()


def dpo(loss: str, data: dict[str, Tensor], knobs: Knobs) -> Tensor:
    from trl import DPOTrainer

    ids = torch.ones(2 * PAIRS, LENGTH + 1, dtype=torch.int64)
    inputs = {"input_ids": ids, "attention_mask": ids, "completion_mask": data["mask"]}
    inputs |= {"ref_chosen_logps": data["reference"][:PAIRS], "ref_rejected_logps": data["reference"][PAIRS:]}
    model = Model(data["logprobs"])
    found: Tensor = DPOTrainer._compute_loss(
        trainer(model=model, beta=knobs.beta, loss_types=[loss]), model, inputs, False
    )
    return found


def cpo(loss: str, data: dict[str, Tensor], knobs: Knobs) -> Tensor:
    """CPO and SimPO; and cDPO, whose formula it has over differences of log-probabilities."""
    from trl.experimental.cpo import CPOTrainer

    sums = data["logprobs"].sum(1)
    gained = {"cdpo": sums - data["reference"], "simpo": sums / data["counts"], "cpo": sums}[loss]
    kind = "simpo" if loss == "simpo" else "sigmoid"
    said = trainer(loss_type=kind, beta=knobs.beta, simpo_gamma=knobs.gamma, label_smoothing=knobs.label_smoothing)
    losses, *_ = CPOTrainer.cpo_loss(said, gained[:PAIRS], gained[PAIRS:])
    nll = -(sums[:PAIRS].sum() / data["counts"][:PAIRS].sum())
    found: Tensor = losses.mean() + knobs.weight * nll
    return found


def orpo(_: str, data: dict[str, Tensor], knobs: Knobs) -> Tensor:
    """It computes in float32."""
    from trl.experimental.orpo import ORPOTrainer

    sums = data["logprobs"].sum(1)
    means = sums / data["counts"]
    losses, *_ = ORPOTrainer.odds_ratio_loss(trainer(beta=knobs.weight), means[:PAIRS], means[PAIRS:])
    found: Tensor = -(sums[:PAIRS].sum() / data["counts"][:PAIRS].sum()) - losses.mean()
    return found


def kto(data: dict[str, Tensor], knobs: Knobs) -> tuple[Tensor, Tensor]:
    """Ours and theirs, of answers of which each third was liked."""
    from trl import KTOTrainer

    good = torch.arange(2 * PAIRS) % 3 == 0
    strange, strange_reference = data["logprobs"].detach().flip(0), data["reference"].flip(0) - 0.4
    divergence = (strange.sum(1) - strange_reference).mean().clamp(min=0)
    mine = kto_losses(data["logprobs"].sum(1), data["reference"], good, divergence, knobs).mean()
    ids = torch.ones(2 * PAIRS, LENGTH + 1, dtype=torch.int64)
    inputs = {"input_ids": ids, "attention_mask": ids, "completion_mask": data["mask"], "label": good}
    inputs |= {"KL_input_ids": ids, "KL_attention_mask": ids, "KL_completion_mask": data["mask"]}
    inputs |= {"ref_logps": data["reference"], "ref_KL_logps": strange_reference}
    model = Model(strange, data["logprobs"])
    said = trainer(model=model, beta=knobs.beta, loss_type="kto")
    said.desirable_weight, said.undesirable_weight = knobs.desirable, knobs.undesirable
    said._compute_kl_logps = lambda *given: KTOTrainer._compute_kl_logps(said, *given)
    return mine, KTOTrainer._compute_loss(said, model, inputs, False)


def reward(data: dict[str, Tensor], center: float) -> tuple[Tensor, Tensor]:
    """Ours and theirs, with margins."""
    from trl import RewardTrainer

    scores = data["logprobs"].sum(1, keepdim=True)
    margins = data["counts"][:PAIRS] / LENGTH
    chosen, rejected = scores[:, 0].chunk(2)
    mine = reward_losses(chosen, rejected, margins, center)
    said = trainer(args=SimpleNamespace(center_rewards_coefficient=center))
    said.model = SimpleNamespace(training=True)
    inputs = {"attention_mask": torch.ones(1), "margin": margins}
    theirs: Tensor = RewardTrainer.compute_loss(said, lambda **_: SimpleNamespace(logits=scores), inputs)
    return mine.mean(), theirs


CASES: dict[str, tuple[Any, Knobs]] = {
    "sigmoid": (dpo, Knobs(beta=0.3)),
    "hinge": (dpo, Knobs(beta=0.3)),
    "ipo": (dpo, Knobs(beta=0.3)),
    "cdpo": (cpo, Knobs(beta=0.3, label_smoothing=0.1)),
    "simpo": (cpo, Knobs(beta=2.0, gamma=0.7)),
    "cpo": (cpo, Knobs(beta=0.3, weight=0.8)),
    "orpo": (orpo, Knobs(weight=0.2)),
}


def difference(mine: Tensor, theirs: Tensor, logprobs: Tensor) -> dict[str, float]:
    """Of the losses, and the largest of their gradients by a token's log-probability."""
    grads = [torch.autograd.grad(one, logprobs, retain_graph=True)[0] for one in (mine, theirs)]
    return {"loss": abs(float(mine) - float(theirs)), "gradient": float((grads[0] - grads[1]).abs().max())}


def measured(name: str, seed: int) -> dict[str, float]:
    data = drawn(seed, one_length=name in ("orpo", "cpo"))
    if name == "kto":
        mine, theirs = kto(data, Knobs(beta=0.3, desirable=1.3, undesirable=0.7))
    elif name == "reward":
        mine, theirs = reward(data, 0.01)
    else:
        other, knobs = CASES[name]
        mine, theirs = ours(name, data, knobs), other(name, data, knobs)
    return difference(mine, theirs, data["logprobs"])


def main() -> int:
    found: dict[str, dict[str, float]] = {}
    for name in (*CASES, "kto", "reward"):
        each = [measured(name, seed) for seed in range(SEEDS)]
        found[name] = {key: max(one[key] for one in each) for key in ("loss", "gradient")}
        print(f"{name:8} loss {found[name]['loss']:.1e}, gradient {found[name]['gradient']:.1e}")
    said = {"versions": {name: version(name) for name in ("trl", "torch", "transformers")}}
    said |= {"pairs": PAIRS, "seeds": SEEDS, "largest_difference": found}  # type: ignore[dict-item]
    (HERE / "results" / "alignment_losses.json").write_text(json.dumps(said, indent=1) + "\n", "utf-8")
    return int(any(value > MOST for one in found.values() for value in one.values()))


if __name__ == "__main__":
    sys.exit(main())
