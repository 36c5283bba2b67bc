"""What became of a request, as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from openbook.serving.engine.events import Chosen, Event, FinishReason

if TYPE_CHECKING:
    from openbook.serving.engine.loop import Ticket


class Output(NamedTuple):
    """What became of a request: its new tokens, an end token left out. `prompt`: see `Event`. `mean_logprob`: of the chosen
    tokens, the end token among them, where `logprobs` were asked for.
    """

    tokens: list[int]
    finish_reason: FinishReason
    num_prompt: int
    num_cached: int
    prompt: tuple[Chosen, ...] = ()
    mean_logprob: float = 0.0


def outputs(ticket: Ticket, num_prompt: int) -> list[Output]:
    """Waits for all answers of a ticket; those to a prompt of `num_prompt` tokens, by index."""
    tokens: list[list[int]] = [list(ticket.begun) for _ in range(ticket.n)]
    logprobs: list[list[float]] = [[] for _ in range(ticket.n)]
    scores: tuple[Chosen, ...] = ()
    last: dict[int, Event] = {}
    for event in ticket:
        scores = scores or event.prompt
        if event.chosen.logprob is not None:
            logprobs[event.answer].append(event.chosen.logprob)
        if not event.is_end:
            tokens[event.answer].append(event.chosen.token)
        if event.finish_reason is not None:
            last[event.answer] = event
    found = []
    for index in range(ticket.n):
        reason = last[index].finish_reason
        assert reason is not None, "the last event of an answer has a finish reason"
        mean = sum(logprobs[index]) / max(len(logprobs[index]), 1)
        found.append(Output(tokens[index], reason, num_prompt, last[index].num_cached, scores, mean))
    return found
