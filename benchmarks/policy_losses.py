"""Losses, gradients and advantages of policies beside TRL's own code, on the same random numbers.

`PYTHON_WITH_TRL benchmarks/policy_losses.py --ppo DIR`: a Python that has trl and torch, and a folder made by
`pip install --no-deps --target DIR trl==0.11.4`, the last one whose PPO is made of functions (newer ones have none). Of Openbook
only the formulas are imported, from the checkout. GRPO and its kin: `GRPOTrainer._compute_loss` with a model that gives the
numbers it is told; RLOO: `RLOOTrainer`'s lines of the loss, over sums of an answer; PPO: `PPOTrainer.loss` and
`.compute_advantages`, taken out of their file (rewards not whitened: in padded rows that gives padding a reward, which leaks into
the answer; here nothing is padded). All in float64. Writes `results/policy_losses.json`; ends with 1 where a number differs by
more than 1e-6.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent / "src")  # in the place of this folder, whose datasets.py is not the package

from openbook.training.advantages import gae, group_advantages, whiten  # noqa: E402
from openbook.training.objectives.policy_losses import (  # noqa: E402
    kl_estimates,
    summed,
    surrogate,
    truncated_weights,
    value_losses,
    weight_of,
)
from openbook.training.objectives.policy_names import Baseline, PolicyKnobs  # noqa: E402

ANSWERS, LENGTH, GROUP = 32, 20, 8
SEEDS = 5
MOST = 1e-6
CAP = 2.0
Data = dict[str, Tensor]


class Device:
    """What TRL asks its accelerator for, of one process."""

    device = torch.device("cpu")
    num_processes = 1

    def gather(self, value: Tensor) -> Tensor:
        return value

    def reduce(self, value: Tensor, reduction: str) -> Tensor:
        return value


def drawn(seed: int) -> Data:
    """ANSWERS rows of LENGTH places, of which `mask` says which are tokens; `advantages` of each answer."""
    draw = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, LENGTH + 1, (ANSWERS,), generator=draw)
    mask = (torch.arange(LENGTH) < counts[:, None]).long()

    def near(values: Tensor, spread: float) -> Tensor:
        return values + spread * torch.randn(values.shape, generator=draw, dtype=torch.float64)

    old = -3 * torch.rand(ANSWERS, LENGTH, generator=draw, dtype=torch.float64)
    found = {"mask": mask, "counts": counts.double(), "old": old}
    found |= {"logprobs": near(old, 0.3).requires_grad_(), "reference": near(old, 0.4), "sampled": near(old, 0.5)}
    zeros = torch.zeros(ANSWERS, LENGTH, dtype=torch.float64)
    found |= {"values": near(zeros, 1), "returns": near(zeros, 1), "token_rewards": near(zeros, 1)}
    found |= {"advantages": near(zeros[:, 0], 1), "rewards": torch.rand(ANSWERS, generator=draw, dtype=torch.float64)}
    return found | {"new_values": near(found["values"], 0.3).requires_grad_()}


def flat(data: Data, name: str) -> Tensor:
    """(M,): the tokens alone."""
    found: Tensor = data[name][data["mask"].bool()]
    return found


def owners(data: Data) -> Tensor:
    return torch.repeat_interleave(torch.arange(ANSWERS), data["mask"].sum(1))


def ours(data: Data, knobs: PolicyKnobs, *, is_truncated: bool) -> Tensor:
    logprobs, whose = flat(data, "logprobs"), owners(data)
    losses = surrogate(logprobs, flat(data, "old"), data["advantages"][whose], whose, data["counts"], knobs).losses
    if is_truncated:
        losses = losses * truncated_weights(flat(data, "old"), flat(data, "sampled"), CAP)
    if knobs.beta:
        losses = losses + knobs.beta * kl_estimates(logprobs, flat(data, "reference"), knobs.kl)
    total = summed(losses, whose, data["counts"], knobs.aggregation)
    return total / weight_of(data["counts"], knobs.aggregation, LENGTH)


def grpo(data: Data, knobs: PolicyKnobs, loss: str, *, is_truncated: bool) -> Tensor:
    from trl import GRPOTrainer

    args = SimpleNamespace(delta=knobs.dual_clip, use_bias_correction_kl=False, steps_per_generation=1)
    said = SimpleNamespace(
        accelerator=Device(),
        args=args,
        model=SimpleNamespace(training=True),
        loss_type=loss,
        beta=knobs.beta,
        epsilon_low=knobs.clip_low,
        epsilon_high=knobs.clip_high,
        importance_sampling_level="token" if knobs.level == "token" else "sequence",
        max_completion_length=LENGTH,
        current_gradient_accumulation_steps=1,
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=is_truncated,
        vllm_importance_sampling_correction=is_truncated,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
    )
    zeros = torch.zeros_like(data["logprobs"])
    said._get_per_token_logps_and_entropies = lambda *_, **__: (data["logprobs"], zeros, None)
    inputs = {f"{part}_{kind}": data["mask"] for part in ("prompt", "completion") for kind in ("ids", "mask")}
    inputs |= {"advantages": data["advantages"], "old_per_token_logps": data["old"]}
    inputs |= {"ref_per_token_logps": data["reference"], "num_items_in_batch": data["mask"].sum()}
    inputs |= {"importance_sampling_ratio": (data["old"] - data["sampled"]).exp().clamp(max=CAP)}
    found: Tensor = GRPOTrainer._compute_loss(said, said.model, inputs)
    return found


def rloo(data: Data, knobs: PolicyKnobs) -> Tensor:
    """The four lines of `RLOOTrainer._compute_loss` that make its loss of sums."""
    ratio = ((data["logprobs"] - data["old"]) * data["mask"]).sum(1).exp()
    held = torch.clamp(ratio, 1 - knobs.clip_low, 1 + knobs.clip_high)
    return -torch.min(ratio * data["advantages"], held * data["advantages"]).mean()


CASES: dict[str, tuple[str, PolicyKnobs]] = {
    "grpo": ("grpo", PolicyKnobs(beta=0.04)),
    "grpo, two clips": ("grpo", PolicyKnobs(0.2, 0.28, dual_clip=1.6, beta=0.1)),
    "dapo": ("dapo", PolicyKnobs(clip_high=0.28, aggregation="token")),
    "bnpo": ("bnpo", PolicyKnobs(aggregation="token", beta=0.1)),
    "dr_grpo": ("dr_grpo", PolicyKnobs(aggregation="constant")),
    "gspo": ("grpo", PolicyKnobs(0.02, 0.03, level="sequence", beta=0.1)),
    "dapo, truncated weights": ("dapo", PolicyKnobs(aggregation="token", beta=0.1)),
}


def difference(mine: Tensor, theirs: Tensor, by: Tensor) -> dict[str, float]:
    """Of the losses, and the largest of their gradients by a token's number."""
    grads = [torch.autograd.grad(one, by, retain_graph=True)[0] for one in (mine, theirs)]
    return {"loss": most(mine.detach(), theirs.detach()), "gradient": float((grads[0] - grads[1]).abs().max())}


def ppo_of(folder: Path) -> SimpleNamespace:
    """The functions of TRL's last PPO, without the rest of its package, which needs a transformers of its time."""
    names = ("masked_mean", "masked_var", "masked_whiten", "clip_by_value", "entropy_from_logits", "flatten_dict")
    scope: dict[str, Any] = vars(__import__("typing")) | {"torch": torch, "Dict": dict}
    source = "from __future__ import annotations\n"
    for path, wanted in (("core.py", names), ("trainer/ppo_trainer.py", ("loss", "compute_advantages"))):
        text = (folder / "trl" / path).read_text("utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name in wanted:
                source += ast.unparse(node) + "\n"
    exec(compile(source, "ppo", "exec"), scope)  # the file of a package that was installed for this
    return SimpleNamespace(loss=scope["loss"], compute_advantages=scope["compute_advantages"])


def ppo(theirs: SimpleNamespace, data: Data) -> dict[str, dict[str, float]]:
    said = SimpleNamespace(
        config=SimpleNamespace(
            cliprange=0.2,
            cliprange_value=0.2,
            vf_coef=0.1,
            ratio_threshold=1e9,
            whiten_rewards=False,
            gamma=0.99,
            lam=0.95,
        )
    )
    mask, counts = data["mask"], data["mask"].sum(1).numpy()
    mine = gae(flat(data, "token_rewards").numpy(), flat(data, "values").numpy(), counts, 0.99, 0.95)
    _, gained, returns = theirs.compute_advantages(said, data["values"], data["token_rewards"], mask)
    found = {
        "gae, whitened": {"values": most(whiten(mine.advantages), flat({"x": gained, "mask": mask}, "x"))},
        "gae, returns": {"values": most(mine.returns, flat({"x": returns, "mask": mask}, "x"))},
    }
    logits = torch.zeros(*mask.shape, 3, dtype=torch.float64)
    policy, value, _ = theirs.loss(
        said, data["old"], data["values"], logits, data["new_values"], data["logprobs"], mask, gained, data["returns"]
    )
    whose, m = owners(data), flat({"x": gained, "mask": mask}, "x")
    losses = surrogate(flat(data, "logprobs"), flat(data, "old"), m, whose, data["counts"], PolicyKnobs()).losses
    held, _ = value_losses(flat(data, "new_values"), flat(data, "values"), flat(data, "returns"), 0.2)
    found["ppo, policy"] = difference(losses.mean(), policy, data["logprobs"])
    found["ppo, values"] = difference(0.1 * held.mean(), value, data["new_values"])
    return found


def most(mine: Any, theirs: Tensor) -> float:
    return float((torch.as_tensor(mine) - theirs).abs().max())


def groups(data: Data) -> dict[str, dict[str, float]]:
    """Group advantages beside the lines of `GRPOTrainer` and `RLOOTrainer` that make them."""
    from trl.trainer.utils import nanstd

    rewards = data["rewards"]
    table = rewards.view(-1, GROUP)
    gained = rewards - table.mean(1).repeat_interleave(GROUP)
    others = (table.sum(1, keepdim=True) - table) / (GROUP - 1)
    theirs: dict[Baseline, Tensor] = {
        "grpo": gained / (nanstd(table, dim=1).repeat_interleave(GROUP) + 1e-4),
        "dr_grpo": gained,
        "rloo": rewards - others.view(-1),
    }
    whose = torch.arange(ANSWERS).numpy() // GROUP
    return {
        f"advantages, {name}": {"values": most(group_advantages(name, rewards.numpy(), whose).values, one)}
        for name, one in theirs.items()
    }


def measured(seed: int, ppo_code: SimpleNamespace | None) -> dict[str, dict[str, float]]:
    data = drawn(seed)
    found = {}
    for name, (loss, knobs) in CASES.items():
        cut = "truncated" in name
        both = ours(data, knobs, is_truncated=cut), grpo(data, knobs, loss, is_truncated=cut)
        found[name] = difference(*both, data["logprobs"])
    knobs = PolicyKnobs(level="product")
    found["rloo"] = difference(ours(data, knobs, is_truncated=False), rloo(data, knobs), data["logprobs"])
    return found | groups(data) | (ppo(ppo_code, data) if ppo_code is not None else {})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ppo", type=Path, default=None, help="folder with trl 0.11.4")
    chosen = parser.parse_args()
    code = None if chosen.ppo is None else ppo_of(chosen.ppo)
    each = [measured(seed, code) for seed in range(SEEDS)]
    pick: Callable[[str, str], float] = lambda name, key: max(one[name][key] for one in each)  # noqa: E731
    found = {name: {key: pick(name, key) for key in keys} for name, keys in each[0].items()}
    for name, values in found.items():
        print(f"{name:24} " + ", ".join(f"{key} {value:.1e}" for key, value in values.items()))
    said: dict[str, Any] = {"versions": {name: version(name) for name in ("trl", "torch", "transformers")}}
    said |= {"answers": ANSWERS, "seeds": SEEDS, "has_ppo": code is not None, "largest_difference": found}
    (HERE / "results" / "policy_losses.json").write_text(json.dumps(said, indent=1) + "\n", "utf-8")
    return int(any(value > MOST for one in found.values() for value in one.values()))


if __name__ == "__main__":
    sys.exit(main())
