"""Two answers to each prompt, for a judge to compare: written by the model that is to learn from the labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from openbook.core.errors import BadData
from openbook.core.messages import ChatModel, ChatRequest, Completion, SamplingParams
from openbook.core.progress import Progress, silent
from openbook.training.data.records import Record
from openbook.training.generate.budget import SPENT, Budget
from openbook.training.generate.identity import identity_of
from openbook.training.generate.journal import Journal
from openbook.training.generate.prompts import Prompt, Prompts, chat_messages, read_prompts
from openbook.training.judge.label import DRY_PAIRS, everywhere
from openbook.training.judge.pairs import Pairs, pairs_of
from openbook.training.judge.settings import JudgeSettings

UNENDED = "an answer that did not come to its end"
_AT_ONCE = 32
Entry = dict[str, Any]


@dataclass(frozen=True)
class AnswerSettings:
    """`max_tokens`: of an answer; a longer one is none. The draws depend on `seed` and the prompt, on nothing else."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int = 0

    def requests(self, prompt: Prompt) -> list[ChatRequest]:
        first = (int(prompt.key[:12], 16) + 2 * self.seed) % (1 << 62)
        return [
            ChatRequest(
                chat_messages(prompt.messages),
                SamplingParams(self.temperature, self.top_p, self.max_tokens, seed=first + which),
            )
            for which in range(2)
        ]


@dataclass
class Answered:
    """`stopped`: why not all prompts were answered. `failed`: prompts without answers, by reason; they are asked again."""

    pairs: Pairs
    failed: dict[str, int]
    stopped: str = ""
    error: Exception | None = None


def answered(
    prompts: Prompts,
    model: ChatModel,
    path: Path | None,
    settings: AnswerSettings,
    budget: Budget,
    progress: Progress = silent,
) -> Answered:
    """Pairs of answers to `prompts`. With a `path` each is kept there as soon as it is written, and a call after one that was
    broken off goes on; None keeps nothing. Raises what the model raises where nothing is answered; BadData where no pair is left,
    or the disk is full.
    """
    found = Answered(Pairs(), {})
    if path is None:
        fresh = _written(prompts.prompts, model, settings, budget, found, progress)
        rows = {prompt.key: entry for prompt, entry in fresh}
    else:
        job = {"answers of": identity_of(model)} | asdict(settings)
        try:
            with Journal(path, job) as journal:
                rows = {entry["key"]: entry for entry in journal.entries}
                for entry in journal.entries:
                    budget.take_over(*entry["spent"])
                left = [one for one in prompts.prompts if one.key not in rows]
                for prompt, entry in _written(left, model, settings, budget, found, progress):
                    journal.add(entry)
                    rows[prompt.key] = entry
        except OSError as error:
            raise BadData(
                f"{path} could not be written: {error}", "make room, and give the same command again"
            ) from None
    if found.error is not None and not rows:
        raise found.error
    records = (_record(one, rows[one.key]) for one in prompts.prompts if one.key in rows)
    found.pairs = pairs_of(records, "what the model answered")
    for reason, count in prompts.left_out.items():
        found.pairs.left_out[reason] += count
    return found


def _written(
    prompts: Sequence[Prompt],
    model: ChatModel,
    settings: AnswerSettings,
    budget: Budget,
    found: Answered,
    progress: Progress,
) -> Iterator[tuple[Prompt, Entry]]:
    """Each prompt with its entry as soon as both answers are there."""
    for begin in range(0, len(prompts), _AT_ONCE):
        progress("answers", begin, len(prompts), "")
        batch = prompts[begin : begin + _AT_ONCE]
        requests = [request for prompt in batch for request in settings.requests(prompt)]
        room = budget.room(requests) // 2
        got: dict[int, Completion | Exception] = {}
        for place, one in model.complete_many(requests[: 2 * room]):
            got[place] = one
            budget.pay(requests[place], one)
            places = (place - place % 2, place - place % 2 + 1)
            both = [got[at] for at in places if at in got]
            if len(both) == 2:
                answers = [each for each in both if isinstance(each, Completion)]
                if len(answers) == 2:
                    yield batch[place // 2], _entry(batch[place // 2], answers, [requests[at] for at in places])
                else:
                    reason = next(str(each) for each in both if isinstance(each, Exception))
                    found.failed[reason] = found.failed.get(reason, 0) + 1
        errors = [one for one in got.values() if isinstance(one, Exception)]
        if errors and len(errors) == len(got):
            found.stopped, found.error = f"the model answers nothing any more ({errors[0]})", errors[0]
            return
        if room < len(batch):
            found.stopped = SPENT
            return


def _entry(prompt: Prompt, answers: Sequence[Completion], requests: Sequence[ChatRequest]) -> Entry:
    """As the journal keeps it. `spent`: see `Budget.spent`. An answer that came to no end is None."""
    cost = Budget()
    for request, answer in zip(requests, answers, strict=True):
        cost.pay(request, answer)
    said = [answer.text.strip() if answer.finish_reason == "stop" else None for answer in answers]
    return {"key": prompt.key, "completions": said, "spent": cost.spent}


def _record(prompt: Prompt, entry: Entry) -> Record:
    """As the row of a file."""
    if None in entry["completions"]:
        return Record(prompt.place, None, UNENDED)
    return Record(prompt.place, {"prompt": list(prompt.messages), "completions": entry["completions"]})


class Prepared(NamedTuple):
    """`settings`: with what is left of the caps. `lines`: what a person is told. `share`: of the prompts, that were looked at."""

    pairs: Pairs
    settings: JudgeSettings
    lines: tuple[str, ...]
    share: float


def read_and_answer(
    path: Path,
    model: ChatModel,
    out: Path | None,
    drawn: AnswerSettings,
    settings: JudgeSettings,
    progress: Progress = silent,
) -> Prepared:
    """The pairs of a file of prompts. Answers are kept beside `out`, in OUT.answers; without one only `DRY_PAIRS` prompts, from
    everywhere in the file, are answered, and nothing is kept. At most a third of what may be spent goes to answers: to judge two
    costs about twice as much as to write them. BadData where there is no pair.
    """
    prompts = read_prompts([path])
    count = len(prompts.prompts)
    if out is None:
        prompts = replace(prompts, prompts=tuple(everywhere(prompts.prompts, DRY_PAIRS)))
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
    most_requests, most_tokens = settings.max_requests, settings.max_tokens
    budget = Budget(most_requests and max(1, most_requests // 3), most_tokens and max(1, most_tokens // 3))
    kept = None if out is None else out.with_name(f"{out.name}.answers")
    got = answered(prompts, model, kept, drawn, budget, progress)
    left = replace(
        settings,
        max_requests=most_requests and max(0, most_requests - budget.requests),
        max_tokens=most_tokens and max(0, most_tokens - budget.tokens),
    )
    share = len(prompts.prompts) / count
    return Prepared(got.pairs, left, _lines(got, budget, share), share)


def _lines(got: Answered, budget: Budget, share: float) -> tuple[str, ...]:
    lines = [f"answers: {budget.requests:,} requests and {budget.tokens:,} tokens for {len(got.pairs.pairs):,} pairs"]
    if share < 1:
        lines.append(
            f"all answers would take about {budget.requests / share:,.0f} requests and {budget.tokens / share:,.0f} tokens"
        )
    lines += [
        f"{count:,} prompts have no answers, and are asked again next time: {why}" for why, count in got.failed.items()
    ]
    return tuple(lines + ([got.stopped] if got.stopped else []))
