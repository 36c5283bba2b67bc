"""`openbook train` and `openbook runs`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openbook.app.cli.options import JsonOption, print_json, visible

if TYPE_CHECKING:
    from openbook.core.progress import Progress
    from openbook.training.loop import Step
    from openbook.training.parallel import Ranks
    from openbook.training.recipe import Recipe
    from openbook.training.status import Outcome, Status

_INTERRUPTED = 130


def train(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A YAML file, or a name from `openbook train --list`.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings over those of the recipe: lr=1e-3.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on behind the newest checkpoint of the run.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Show a sample, the settings, memory and time; train nothing."),
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the recipes.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a model, or an adapter for one, by a recipe.

    The run is written to the recipe's `out`: checkpoints, log.jsonl, report.html, and at the end `model`. Ctrl-C ends it
    after the step at hand; --resume goes on as if it had never ended. Several processes: torchrun --nproc-per-node N -m
    openbook train ...
    """
    from openbook.core.errors import UsageError

    if list_:
        _list(as_json)
        return
    if recipe is None:
        raise UsageError("no recipe is named", "give a YAML file, or see `openbook train --list`")
    from openbook.core.threads import set_thread_environment, share_processors

    share_processors()
    set_thread_environment()
    from openbook.training.recipe import as_yaml, read_recipe

    path = _recipe_path(recipe)
    chosen = read_recipe(path, overrides or ())
    is_first = os.environ.get("RANK", "0") == "0"
    if is_first and not as_json:
        print(as_yaml(chosen), end="")
    if check:
        _check(chosen)
        return
    outcome = _run(chosen, resume, is_quiet=as_json or not is_first)
    if is_first:
        _say_outcome(outcome, recipe, overrides or [], as_json, of_rewards=chosen.objective in ("grpo", "ppo"))
    if outcome.ended == "interrupted":
        raise typer.Exit(_INTERRUPTED)


def runs(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Runs, or folders of runs.")],
    as_json: JsonOption = False,
) -> None:
    """Compare runs: steps, losses, tokens, time, and the settings in which they differ."""
    from openbook.core.errors import UsageError
    from openbook.training.report import differing, sentence, summaries

    found = [one for folder in folders for one in summaries(folder)]
    if not found:
        raise UsageError(f"there are no runs in {', '.join(map(str, folders))}", "name the `out` of a recipe")
    names = differing(found)
    if as_json:
        print_json([one._asdict() for one in found])
        return
    for one in found:
        own = "  ".join(f"{name}={one.settings.get(name)}" for name in names)
        print(f"{visible(one.name):24} {sentence(one)}" + (f"\n{'':24} {visible(own)}" if own else ""))


def _check(recipe: Recipe) -> None:
    from openbook.training.parallel import join_ranks, leave_ranks

    ranks = join_ranks()
    try:
        _checked(recipe, ranks)
    finally:
        leave_ranks()


def _checked(recipe: Recipe, ranks: Ranks) -> None:
    """What holds the ranks is gone when this returns."""
    from openbook.training.check import check_run
    from openbook.training.run import open_run

    def say(line: str) -> None:
        if ranks.is_first:
            print(visible(line))

    run = open_run(recipe, ranks, progress=_progress())
    try:
        check_run(run, say)
    finally:
        run.task.close()


def _run(recipe: Recipe, resume: bool, *, is_quiet: bool) -> Outcome:
    from openbook.training.run import train as run

    def watch(status: Status) -> None:
        number = status.step.number
        if status.evaluation is not None or number % recipe.log_every == 0 or number in (1, status.steps):
            print(_line(status), flush=True)

    if is_quiet:
        return run(recipe, resume=resume)
    return run(
        recipe,
        resume=resume,
        watch=watch,
        say=lambda line: print(visible(line), flush=True),
        progress=_progress(),
    )


def _progress() -> Progress:
    """Lines, since a bar would stand among those of the steps."""
    from openbook.core.progress import Lines

    return Lines(lambda line: print(visible(line), file=sys.stderr, flush=True))


def _line(status: Status) -> str:
    step = status.step
    held_out = "" if status.evaluation is None else f"  held out {status.evaluation.loss:.4f}"
    if status.evaluation is not None and "reward" in status.evaluation.metrics:
        held_out = f"  held out reward {status.evaluation.metrics['reward']:.4f}"
    return (
        f"step {step.number:>{len(str(status.steps))}}/{status.steps}  loss {step.loss:.4f}{_rolled(step)}{held_out}  "
        f"rate {step.rate:.2e}  norm {step.norm:.2f}  {status.tokens_per_s:,.0f} tokens/s  {status.memory_bytes / 1e9:.2f} GB  "
        f"left {_span(status.left_s)}"
    )


def _rolled(step: Step) -> str:
    """Of a step that begins a rollout: what its completions were worth, which the loss does not say."""
    known = {name: step.metrics[name] for name in ("reward", "length") if name in step.metrics}
    return "".join(f"  {name} {value:.{3 if name == 'reward' else 0}f}" for name, value in known.items())


def _say_outcome(outcome: Outcome, recipe: str, overrides: list[str], as_json: bool, *, of_rewards: bool) -> None:
    """`of_rewards`: the held-out loss is the negative of a reward."""
    if as_json:
        print_json(outcome._asdict() | {"model": None if outcome.model is None else str(outcome.model)})
        return
    if outcome.ended == "interrupted":
        again = " ".join(["openbook train", recipe, *overrides, "--resume"])
        print(f"stopped after step {outcome.done} of {outcome.steps}; go on with: {visible(again)}", file=sys.stderr)
        return
    best = ""
    if outcome.best_loss is not None:
        told = f"reward {0.0 - outcome.best_loss:.4f}" if of_rewards else f"loss {outcome.best_loss:.4f}"
        best = f", best held-out {told} (step {outcome.best_step})"
    print(f"{outcome.ended} after step {outcome.done}{best}: {outcome.model}")


def _span(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"


def _list(as_json: bool) -> None:
    rows = [{"name": path.stem, "path": str(path), "what": _first_line(path)} for path in _recipes()]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['name']:24} {visible(row['what'])}")
    print(f"{len(rows)} recipes")


def _recipes() -> Iterator[Path]:
    """Those of the working directory, then those that ship; a name once."""
    here = Path(__file__).resolve()
    known: set[str] = set()
    for folder in (Path("recipes"), here.parents[2] / "recipes", here.parents[4] / "recipes"):
        for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
            if path.stem not in known:
                known.add(path.stem)
                yield path


def _recipe_path(name: str) -> Path:
    """A file, or the recipe of this name."""
    from openbook.core.config import nearest
    from openbook.core.errors import UsageError

    path = Path(name).expanduser()
    if path.is_file():
        return path
    found = {one.stem: one for one in _recipes()}
    if name not in found:
        raise UsageError(f"{name!r} is no file and no recipe", nearest(name, sorted(found)))
    return found[name]


def _first_line(path: Path) -> str:
    """What the recipe says of itself: its first comment."""
    lines = path.read_text("utf-8").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), "")
