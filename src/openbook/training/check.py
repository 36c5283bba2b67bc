"""Whether a run can be right: checks before the first step, and all that `openbook train --check` prints.

In reading order: the checks of step 0; the sample that is shown; the check of a recipe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from openbook.core.errors import RunStopped
from openbook.lm.adapters.attach import activate
from openbook.lm.adapters.settings import PrefixSettings, PromptSettings
from openbook.lm.adapters.slot import find_table
from openbook.lm.room import available_bytes
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.begin import ADAPTER, Begun
from openbook.training.data.overview import marked
from openbook.training.estimate import estimate, total_bytes
from openbook.training.evaluate import Evaluation, evaluate
from openbook.training.loop import Loop, tokens_of
from openbook.training.objectives.objective import KnowsFirstLoss
from openbook.training.parallel import is_sharded
from openbook.training.sources.answers import Answers
from openbook.training.sources.step import Shown, ShownBeside, Tokens

if TYPE_CHECKING:
    from openbook.training.run import Run
    from openbook.training.tasks.task import Task

GUESS_TOLERANCE = 0.1
"""Share of ln V by which the loss of a fresh model may differ from that of a guess."""
GUESS_LEAST = 1.0
"""Nats by which it may at any rate: a tied table likes the token that it stands on, which shows among a few characters."""
FIRST_TOLERANCE, FIRST_TOLERANCE_16 = 1e-3, 5e-2
"""Share by which a loss that is known beforehand may be another, in float32 and in 16 bits, where sums depend on their order."""
_SHOWN_TOKENS = 400


def first_checks(loop: Loop[Any], begun: Begun, task: Task) -> Iterator[str]:
    """Lines on the first step's data and loss; RunStopped, with the reason, for a run that cannot be right.

    The source is left as it was.
    """
    state = loop.source.state()
    micros = loop.source.next_step()
    loop.source.resume(state)
    read, learned = loop.ranks.sum([sum(map(tokens_of, micros)), sum(map(loop.objective.weight, micros))])
    if read:
        yield f"first step: {read:,.0f} tokens, the loss counts {learned:,.0f} ({100 * learned / read:.1f} %)"
    _check_beginnings(micros, begun.tokenizer)
    found = evaluate(loop.model, loop.objective, micros[:1], loop.ranks, loop.pace.precision)
    yield f"loss before training: {found.loss:.4f}"
    guess = math.log(loop.model.config.vocab_size)
    most = max(GUESS_TOLERANCE * guess, GUESS_LEAST)
    if begun.is_fresh and task.begins_at_guess and abs(found.loss - guess) > most:
        raise RunStopped(
            f"a fresh model has a loss of {found.loss:.3f}, a guess among its tokens {guess:.3f}",
            "its first weights or its targets are wrong: look at them with `openbook train --check`",
        )
    _check_first_loss(loop, micros, found)
    yield from _adapter_check(loop, micros, found)


def _check_first_loss(loop: Loop[Any], micros: Sequence[Any], found: Evaluation) -> None:
    """RunStopped where the objective knows what the loss must be, and it is not."""
    knows = loop.objective if isinstance(loop.objective, KnowsFirstLoss) else None
    said = knows.first_loss(micros[0]) if knows is not None and micros and not _has_virtual_tokens(loop.model) else None
    own = loop.objective.weight(micros[0]) if micros else 0.0
    total, weight, unknown = loop.ranks.sum([said or 0.0, own, float(said is None and bool(micros))])
    if unknown or not weight:
        return
    share = FIRST_TOLERANCE if loop.pace.precision == "float32" else FIRST_TOLERANCE_16
    expected = total / weight
    if not abs(found.loss - expected) <= share * max(expected, 1.0):
        raise RunStopped(
            f"the loss before training is {found.loss:.6f} and must be {expected:.6f}",
            "the model is not its own reference, or its head is not zero: remove the folder of tokenised data, run again",
        )


def _has_virtual_tokens(model: Any) -> bool:
    """Whether its adapter changes the model before it is trained."""
    table = find_table(model)
    return table is not None and isinstance(table.settings.get(ADAPTER), PrefixSettings | PromptSettings)


def _check_beginnings(micros: Sequence[Any], tokenizer: Tokenizer) -> None:
    """RunStopped where a sequence begins with two tokens of beginning."""
    for micro in micros:
        if not isinstance(micro, Tokens | Answers) or tokenizer.bos_id is None:
            continue
        starts = torch.tensor([0, *micro.lengths[:-1]]).cumsum(0)
        begun = micro.ids[starts] == tokenizer.bos_id
        following = micro.ids[(starts + 1).clamp_max(len(micro.ids) - 1)] == tokenizer.bos_id
        if bool((begun & following & (torch.tensor(micro.lengths) > 1)).any()):
            raise RunStopped(
                "a sequence begins with the token of beginning twice",
                "the chat template writes it already: let nothing else add it",
            )


def _adapter_check(loop: Loop[Any], micros: Sequence[Any], found: Evaluation) -> Iterator[str]:
    """A fresh adapter changes nothing. Virtual tokens do from the first step on: of these both losses are told."""
    table = find_table(loop.model)
    if table is None or ADAPTER not in table.settings:
        return
    activate(loop.model, None)
    base = evaluate(loop.model, loop.objective, micros[:1], loop.ranks, loop.pace.precision)
    activate(loop.model, ADAPTER)
    if isinstance(table.settings[ADAPTER], PrefixSettings | PromptSettings):
        yield f"the base alone: {base.loss:.4f}"
    elif abs(base.loss - found.loss) > 1e-5 * max(abs(base.loss), 1.0):
        raise RunStopped(
            f"the fresh adapter changes the loss from {base.loss:.6f} to {found.loss:.6f}",
            "an adapter must begin as nothing: load the base again",
        )
    else:
        yield "the adapter begins equal to the base"


def check_run(run: Run, say: Callable[[str], None]) -> None:
    """Prints a sample, the first checks, memory, and the time of the whole run by two steps that are taken and thrown away.

    RunStopped for what cannot work: more memory than there is, nothing that is learned, a loss that cannot be.
    """
    loop, recipe = run.loop, run.recipe
    for line in (*run.begun.notes, *run.task.notes):
        say(line)
    _say_sample(run, say)
    for line in first_checks(loop, run.begun, run.task):
        say(line)
    rows = recipe.micro_batch_size or math.ceil(recipe.batch_size / run.ranks.world_size)
    needed = total_bytes(estimate(recipe, loop.model, rows))
    there = available_bytes()
    weights = sum(one.numel() * one.element_size() for one in loop.model.parameters())
    is_spread = is_sharded(loop.model)
    say(
        f"memory: {needed / 1e9:.2f} GB by the estimate"
        + (" if one process had the whole model" if is_spread else "")
        + (f", {there / 1e9:.2f} GB are free" if there else "")
    )
    if there is not None and not is_spread and needed - weights > there:
        from openbook.training.stopped import memory_remedy

        raise RunStopped("a step does not fit into memory", memory_remedy(recipe, loop.model))
    loop.model.train()
    period = getattr(loop.source, "steps_a_rollout", 1)  # of which the first one writes
    for _ in range(period):
        loop.step()
    taken = [loop.step() for _ in range(period)]
    steps, seconds = loop.pace.steps, sum(step.seconds for step in taken) / period
    say(f"{steps:,} steps of {taken[0].tokens:,} tokens, {seconds:.3f} s each: {_span(steps * seconds)}")


def _say_sample(run: Run, say: Callable[[str], None]) -> None:
    """The first sequence of the first step."""
    source = run.loop.source
    state = source.state()
    micros = source.next_step()
    source.resume(state)
    first = micros[0] if micros else None
    if isinstance(first, ShownBeside):
        sequences = first.shown_beside()
    elif isinstance(first, Shown):
        sequences = {"a sample": first.shown()}
    else:
        return
    for name, (ids, is_learned) in sequences.items():
        shown = min(len(ids), _SHOWN_TOKENS)
        say(f"{name} of {len(ids):,} tokens" + (f", of which {shown} are shown:" if shown < len(ids) else ":"))
        for kind, text in marked(ids[:shown], is_learned[:shown], run.begun.tokenizer):
            say(f"  {kind:15} {text!r}")


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
