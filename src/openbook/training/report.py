"""`report.html`: the curves of a run and its settings on one page that needs nothing else, and the runs of a folder compared."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from openbook.core.paths import replacing
from openbook.training.forgetting_report import forgetting_part
from openbook.training.log import NAME as LOG
from openbook.training.log import read_log
from openbook.training.rollouts.samples import NAME as SAMPLES
from openbook.training.rollouts.samples import read_samples

_WIDTH, _HEIGHT, _LEFT, _BELOW = 640, 220, 64, 26
_MOST_POINTS = 600
_CURVES = (
    ("loss", ("loss", "eval_loss")),
    ("reward", ("reward", "eval_reward")),
    ("divergence, nats a token", ("kl", "approx_kl")),
    ("entropy, nats a token", ("entropy",)),
    ("tokens of a completion", ("length", "eval_length")),
    ("share of groups without signal", ("no_signal",)),
    ("share of tokens that are clipped", ("clip_fraction",)),
    ("explained variance of values", ("explained_variance",)),
    ("learning rate", ("rate",)),
    ("norm of the gradient", ("norm",)),
    ("tokens a second", ("tokens_per_s",)),
    ("memory, GB", ("memory_gb",)),
)
_COLOURS = ("#2563eb", "#d97706", "#059669", "#7c3aed")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:720px;margin:2rem auto;padding:0 1rem;color:#111;background:#fff}"
    "h2{font-size:1rem;margin:1.6rem 0 .2rem}svg{width:100%;height:auto}text{font-size:11px;fill:#555}"
    "pre{background:#f4f4f5;padding:1rem;overflow:auto;font-size:12px}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#111}pre{background:#1c1c1f}text{fill:#aaa}}"
)
Point = tuple[float, float]


class Summary(NamedTuple):
    """A run of a folder. `settings`: those of its recipe, "key.path" -> value. `reward`: of the last rollout, of runs that have
    one; `best_reward`: of held-out prompts, whose loss is its negative.
    """

    name: str
    step: int
    loss: float | None
    best_loss: float | None
    best_step: int | None
    tokens: int
    seconds: float
    settings: Mapping[str, Any]
    reward: float | None = None
    best_reward: float | None = None


def write_report(run: Path) -> Path:
    """The page of a run, from its log and its recipe."""
    rows = [_with_speed(row) for row in read_log(run / LOG)]
    found = summary(run)
    parts = [f"<title>{html.escape(run.name)}</title><style>{_STYLE}</style><h1>{html.escape(run.name)}</h1>"]
    parts.append(f"<p>{html.escape(sentence(found))}</p>")
    for title, names in _CURVES:
        lines = {name: [(row["step"], row[name]) for row in rows if _is_number(row.get(name))] for name in names}
        if drawn := {name: points for name, points in lines.items() if points}:
            parts.append(f"<h2>{html.escape(title)}</h2>{chart(drawn)}")
    parts += [samples_part(run), forgetting_part(run)]
    recipe = run / "recipe.yaml"
    if recipe.is_file():
        parts.append(f"<h2>settings</h2><pre>{html.escape(recipe.read_text('utf-8'))}</pre>")
    path = run / "report.html"
    with replacing(path) as file:
        file.write(("<!doctype html><meta charset=utf-8>" + "\n".join(parts) + "\n").encode())
    return path


def samples_part(run: Path) -> str:
    """The newest completions of a run that learns from its own, with their rewards."""
    rows = read_samples(run / SAMPLES) if (run / SAMPLES).is_file() else []
    if not rows:
        return ""
    last = [row for row in rows if row["rollout"] == rows[-1]["rollout"]]
    shown = "\n\n".join(f"{row.get('prompt')}\n=> {row.get('completion')}\nreward {row.get('reward')}" for row in last)
    return f"<h2>completions of rollout {last[0]['rollout']:,}</h2><pre>{html.escape(shown)}</pre>"


def chart(lines: Mapping[str, Sequence[Point]]) -> str:
    """Curves over one pair of axes, as SVG; each begins with what it is called."""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    left, right, low, high = min(xs), max(xs), min(ys), max(ys)
    if high == low:
        low, high = low - abs(low) * 0.05 - 1e-12, high + abs(high) * 0.05 + 1e-12
    across, up = _WIDTH - _LEFT - 8, _HEIGHT - _BELOW - 18

    def place(point: Point) -> str:
        x = _LEFT + across * (point[0] - left) / max(right - left, 1e-12)
        return f"{x:.1f},{18 + up * (high - point[1]) / (high - low):.1f}"

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">']
    for share in (0.0, 0.5, 1.0):
        y, value = 18 + up * share, high - (high - low) * share
        parts.append(f'<path d="M{_LEFT},{y:.1f}h{across}" stroke="#8884" fill="none"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
        x, step = _LEFT + across * share, left + (right - left) * share
        anchor = ("start", "middle", "end")[round(share * 2)]
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{step:,.0f}</text>')
    for number, (name, points) in enumerate(lines.items()):
        path, colour = " ".join(place(one) for one in thinned(points)), _COLOURS[number % len(_COLOURS)]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        last = f"{name.replace('_', ' ')} {points[-1][1]:.4g}"
        parts.append(f'<text x="{_LEFT + 150 * number}" y="11" style="fill:{colour}">{html.escape(last)}</text>')
    return "".join(parts) + "</svg>"


def thinned(points: Sequence[Point], most: int = _MOST_POINTS) -> list[Point]:
    """At most about `most` points: of each stretch its least and its largest, so that no peak is lost."""
    size = math.ceil(2 * len(points) / most)
    if size <= 2:
        return list(points)
    kept: list[Point] = []
    for at in range(0, len(points), size):
        part = points[at : at + size]
        kept += sorted({min(part, key=lambda one: one[1]), max(part, key=lambda one: one[1])})
    return kept


def summary(run: Path) -> Summary:
    """What the log and the recipe of a run say."""
    steps: dict[int, dict[str, Any]] = {}
    best: tuple[float, int] | None = None
    reward, is_reward = None, False
    for row in read_log(run / LOG):
        if _is_number(row.get("loss")):
            steps[row["step"]] = row
        if _is_number(row.get("reward")):
            reward = row["reward"]
        is_reward |= _is_number(row.get("eval_reward"))
        if _is_number(row.get("eval_loss")) and (best is None or row["eval_loss"] < best[0]):
            best = row["eval_loss"], row["step"]
    last = max(steps, default=0)
    return Summary(
        run.name,
        last,
        steps[last]["loss"] if steps else None,
        best[0] if best else None,
        best[1] if best else None,
        sum(int(row.get("tokens", 0)) for row in steps.values()),
        sum(float(row.get("seconds", 0)) for row in steps.values()),
        settings_of(run),
        reward,
        0.0 - best[0] if best and is_reward else None,
    )


def summaries(folder: Path) -> list[Summary]:
    """The runs in a folder, and the folder itself where it is one; by name."""
    found = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())] if folder.is_dir() else []
    return [summary(path) for path in found if (path / LOG).is_file()]


def differing(runs: Sequence[Summary]) -> list[str]:
    """Settings in which the runs are not alike."""
    names = sorted({name for run in runs for name in run.settings} - {"out", "data.cache"})
    return [name for name in names if len({repr(run.settings.get(name)) for run in runs}) > 1]


def settings_of(run: Path) -> dict[str, Any]:
    path = run / "recipe.yaml"
    try:
        return dict(_flat(yaml.safe_load(path.read_text("utf-8")) or {})) if path.is_file() else {}
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}


def sentence(run: Summary) -> str:
    loss = "" if run.loss is None else f", loss {run.loss:.4f}"
    if run.reward is not None:
        loss = f", reward {run.reward:.4f}"
    best = "" if run.best_loss is None else f", best held-out loss {run.best_loss:.4f} after step {run.best_step:,}"
    if run.best_reward is not None:
        best = f", best held-out reward {run.best_reward:.4f} after step {run.best_step:,}"
    return f"{run.step:,} steps{loss}{best}; {run.tokens:,} tokens in {run.seconds / 60:.1f} min"


def _with_speed(row: dict[str, Any]) -> dict[str, Any]:
    """What is drawn but not written."""
    if _is_number(row.get("memory_bytes")):
        row["memory_gb"] = row["memory_bytes"] / 1e9
    if _is_number(row.get("tokens")) and _is_number(row.get("seconds")) and row["seconds"] > 0:
        row["tokens_per_s"] = row["tokens"] / row["seconds"]
    return row


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _said(value)


def _said(value: Any) -> Any:
    """A list of parts without what nobody has said."""
    if not isinstance(value, list):
        return value
    return [{k: v for k, v in one.items() if v is not None} if isinstance(one, dict) else one for one in value]
