"""How policies are changed by rewards, by name, and the settings of each way: free of torch, so that recipes can name them."""

from __future__ import annotations

from typing import Literal, NamedTuple

Baseline = Literal["grpo", "dr_grpo", "rloo", "reinforce++", "reinforce++_baseline"]
"""What is taken from a reward, and what it is divided by (`advantages.group_advantages`)."""
Aggregation = Literal["sequence", "token", "constant"]
"""Of the losses of tokens: each sequence counts 1, each token does, or a sequence is divided by the same number always."""
Level = Literal["token", "sequence", "sequence_token", "product"]
"""Whose ratio of probabilities is clipped: a token's, the geometric mean of a sequence, the same with gradients of each token, or
that of a whole sequence."""
KlEstimate = Literal["k1", "k2", "k3"]
Variant = Literal["grpo", "dr_grpo", "dapo", "rloo", "reinforce++", "reinforce++_baseline", "gspo", "gspo_token"]


class PolicyKnobs(NamedTuple):
    """`clip_low`, `clip_high`: how far below and above 1 a ratio has an effect. `dual_clip`: the largest ratio that counts
    against a bad answer, above 1; None: any. `beta`: of the divergence from the reference, estimated by `kl`.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = None
    level: Level = "token"
    aggregation: Aggregation = "sequence"
    beta: float = 0.0
    kl: KlEstimate = "k3"


class Recommended(NamedTuple):
    """What a paper recommends. `is_dynamic`: groups without signal are left out and others drawn in their place."""

    baseline: Baseline
    knobs: PolicyKnobs
    is_dynamic: bool = False


VARIANTS: dict[Variant, Recommended] = {
    "grpo": Recommended("grpo", PolicyKnobs(beta=0.04)),
    "dr_grpo": Recommended("dr_grpo", PolicyKnobs(aggregation="constant")),
    "dapo": Recommended("grpo", PolicyKnobs(clip_high=0.28, aggregation="token"), is_dynamic=True),
    "rloo": Recommended("rloo", PolicyKnobs(level="product")),
    "reinforce++": Recommended("reinforce++", PolicyKnobs(aggregation="token")),
    "reinforce++_baseline": Recommended("reinforce++_baseline", PolicyKnobs(aggregation="token", beta=0.01, kl="k2")),
    "gspo": Recommended("grpo", PolicyKnobs(clip_low=3e-4, clip_high=4e-4, level="sequence")),
    "gspo_token": Recommended("grpo", PolicyKnobs(clip_low=3e-4, clip_high=4e-4, level="sequence_token")),
}
"""Sources: Shao et al. 2024, https://arxiv.org/abs/2402.03300, section 4.2 (grpo); Liu et al. 2025,
https://arxiv.org/abs/2503.20783, section 3.2 (dr_grpo); Yu et al. 2025, https://arxiv.org/abs/2503.14476, sections 3 and 4.1
(dapo); Ahmadian et al. 2024, https://arxiv.org/abs/2402.14740 (rloo); Hu et al. 2025, https://arxiv.org/abs/2501.03262
(reinforce++); Zheng et al. 2025, https://arxiv.org/abs/2507.18071, sections 4.1 and 5.1 (gspo)."""
