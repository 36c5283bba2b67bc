"""The tables of alignment, of both languages: speed beside TRL, and what each recipe comes to in three seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean
from typing import Any

Found = dict[str, Any]
Language = str


def say(language: Language, english: str, chinese: str) -> str:
    return english if language == "en" else chinese


def table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(map(str, head)) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def speed(found: Found, language: Language) -> str:
    """GRPO and DPO beside TRL's trainers."""
    parts = {
        "grpo1": say(language, "GRPO, 1 prompt x 8", "GRPO，1 个提示 x 8"),
        "grpo8": say(language, "GRPO, 8 prompts x 8", "GRPO，8 个提示 x 8"),
    }
    rows = []
    for part, name in parts.items():
        for system, one in found.get(part, {}).items():
            shares = ", ".join(f"{key} {100 * share:.0f} %" for key, share in one["shares"].items())
            rows.append(
                [
                    name,
                    system,
                    f"{one['steps_per_s']:.3g}",
                    f"{one['rollout_tokens_per_s']:,.0f}",
                    f"{one['peak_gb']:.2f}",
                ]
                + [_ratios(one, peer, ("steps_per_s", "rollout_tokens_per_s", "peak_gb")) for peer in _PEERS]
                + [shares]
            )
    head = [
        "",
        say(language, "system", "系统"),
        say(language, "steps/s", "步/秒"),
        say(language, "rollout tokens/s", "rollout 词元/秒"),
        say(language, "peak memory, GB", "内存峰值，GB"),
        *(say(language, f"steps, tokens, memory to {peer}", f"步、词元、内存与 {peer} 之比") for peer in _PEERS),
        say(language, "share of a step", "一步中的份额"),
    ]
    said = table(head, rows)
    if dpo := found.get("dpo"):
        rows = [
            [system, f"{one['pairs_per_s']:.3g}", f"{one['peak_gb']:.2f}"]
            + [_ratios(one, peer, ("pairs_per_s", "peak_gb")) for peer in _PEERS]
            for system, one in dpo.items()
        ]
        head = [
            "DPO",
            say(language, "pairs/s", "对/秒"),
            say(language, "peak memory, GB", "内存峰值，GB"),
            *(say(language, f"pairs, memory to {peer}", f"对、内存与 {peer} 之比") for peer in _PEERS),
        ]
        said += f"\n\n{table(head, rows)}"
    return said


_PEERS = ("trl, default", "trl, best")


def _ratios(one: Found, peer: str, keys: Iterable[str]) -> str:
    ratios = one.get(f"ratio to {peer}")
    return "–" if ratios is None else ", ".join(f"{ratios[key]:.2f}" for key in keys)


def grpo(found: Found, language: Language) -> str:
    """Addition, before and after."""
    rows = []
    for name, seeds in found["runs"].items():
        if name.endswith("rollouts"):
            continue
        runs = list(seeds.values())
        reached = [one["steps_to_reward_0.9"] for one in runs]
        rows.append(
            [f"`{name}`", len(runs)]
            + [
                f"{100 * mean(one['before'][kind] for one in runs):.0f} → {100 * mean(one['after'][kind] for one in runs):.0f}"
                f" ({100 * min(one['after'][kind] for one in runs):.0f})"
                for kind in ("drawn", "likeliest")
            ]
            + [", ".join("–" if step is None else str(step) for step in reached)]
            + [f"{max(one['most_rollout_difference'] for one in runs):.1e}"]
            + [f"{mean(one['cpu_seconds'] for one in runs) / 60:.1f}"]
        )
    head = [
        say(language, "addition", "加法"),
        say(language, "seeds", "种子"),
        say(language, "drawn at temperature 1, right, % (lowest)", "温度 1 抽取的正确率，%（最低）"),
        say(language, "likeliest, right, % (lowest)", "最可能的正确率，%（最低）"),
        say(language, "steps until a rollout's reward is .9", "rollout 奖励到 .9 的步数"),
        say(language, "largest difference of log p", "log p 的最大差"),
        say(language, "minutes of one core", "单核分钟"),
    ]
    return table(head, rows)


def precision(found: Found, language: Language) -> str:
    """What rollouts of less precision cost."""
    rows = []
    for name, seeds in found["runs"].items():
        if "rollouts" not in name and name != "grpo, 400 steps":
            continue
        runs = list(seeds.values())
        rows.append(
            [
                name.removeprefix("grpo, ").removesuffix(" rollouts").replace("400 steps", "shared"),
                len(runs),
                f"{100 * mean(one['after']['drawn'] for one in runs):.0f}",
                f"{max(one['most_rollout_difference'] for one in runs):.1e}",
                f"{mean(one['rollout_difference'] for one in runs):.1e}",
                f"{mean(one.get('renew_s', 0.0) for one in runs) * 1000:.1f}",
                f"{mean(one.get('renew_mb', 0.0) for one in runs):.1f}",
            ]
        )
    head = [
        say(language, "rollouts", "rollout"),
        say(language, "seeds", "种子"),
        say(language, "right, %", "正确率，%"),
        say(language, "largest difference of log p of any step", "各步 log p 最大差的最大值"),
        say(language, "its mean", "其均值"),
        say(language, "renewed in, ms", "更新，毫秒"),
        "MB",
    ]
    return table(head, rows)


def ppo(found: Found, language: Language) -> str:
    rows = []
    for name, seeds in found["runs"].items():
        runs = list(seeds.values())
        rows.append(
            [
                name,
                len(runs),
                f"{mean(one['reward'][0] for one in runs):.2f} → {mean(one['reward'][1] for one in runs):.2f}"
                f" ({min(one['reward'][1] for one in runs):.2f})",
                ", ".join(str(one["above_0.9_from_step"]) for one in runs),
                f"{mean(one['kl_answer'] for one in runs):.1f}",
                f"{mean(one['explained_variance'][1] for one in runs):.2f}",
                f"{mean(one['skill_cross_entropy'][1] for one in runs):.2f}",
                f"{mean(one['cpu_seconds'] for one in runs):.0f}",
            ]
        )
    head = [
        "PPO",
        say(language, "seeds", "种子"),
        say(language, "reward, first → last rollout (lowest)", "奖励，首 → 末（最低）"),
        say(language, "above .9 from step", "超过 .9 的步"),
        say(language, "divergence, nats an answer", "散度，每个回答的奈特"),
        say(language, "explained variance", "解释方差"),
        say(language, "cross-entropy of the skill (0.00 before)", "技能的交叉熵（之前 0.00）"),
        say(language, "seconds of one core", "单核秒"),
    ]
    return table(head, rows)
