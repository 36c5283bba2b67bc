"""Prompts in, training rows out: a teacher answers, a verifier decides, the rows are written once all is done.

In reading order: the job; asking; what becomes of the answers to a prompt; the file.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from openbook.core.errors import ModelUnavailable, RunStopped
from openbook.core.messages import ChatModel, ChatRequest
from openbook.core.paths import replacing
from openbook.core.progress import Progress, silent
from openbook.lm.fresh import check_free
from openbook.serving.sampling import Answers, sample_many, seeded
from openbook.training.data.contamination import TestSet
from openbook.training.data.row import Chat
from openbook.training.generate.budget import SPENT, Budget
from openbook.training.generate.identity import identity_of
from openbook.training.generate.journal import Journal, journal_of
from openbook.training.generate.prompts import Prompt, Prompts, chat_messages
from openbook.training.generate.receipt import GenerateReceipt
from openbook.training.generate.select import Answer, answer_of, judge, said_of
from openbook.training.generate.settings import GenerateSettings
from openbook.training.rewards.sampled import Sampled
from openbook.training.rewards.table import RewardTable

CONTAMINATED = "in the test set"
SAME = "a row says the same"
_VERSION = 1


class Verifier(Protocol):
    """What says how good answers are, e.g. `rewards.Rewards`."""

    def score(self, samples: Sequence[Sampled]) -> RewardTable: ...


def generate(
    prompts: Prompts,
    teacher: ChatModel,
    settings: GenerateSettings,
    out: Path,
    *,
    verifier: Verifier | None = None,
    verified_by: str = "",
    tests: TestSet | None = None,
    budget: Budget | None = None,
    progress: Progress = silent,
) -> GenerateReceipt:
    """Writes rows of chats to `out`, and says what became of everything. `verified_by`: names the verifier; a job that is
    gone on with has the same. What was done before an interruption is not asked again. `tests`: prompts and rows of which
    anything is in there are left out. Where the budget ends first, or the teacher or the verifier breaks down after something
    was done, `out` has the rows so far, and the receipt says why it stopped.

    Raises UsageError where `out` is there, or belongs to another job; where nothing at all is done yet, ModelUnavailable
    where every answer to the prompts that are asked together failed, RunStopped where none of them could be verified.
    """
    unfinished = journal_of(out)
    if not unfinished.exists():
        check_free(out)
    budget = budget or Budget()
    receipt = GenerateReceipt(out)
    for reason, count in prompts.left_out.items():
        receipt.leave_out(reason, prompts.places[reason], count)
    asked = [one for one in prompts.prompts if not _is_known(one, tests, receipt)]
    receipt.prompts = len(asked)
    with Journal(unfinished, _job(asked, teacher, settings, verified_by)) as journal:
        for entry in journal.entries:
            budget.take_over(*entry["cost"])
        done = {entry["prompt"]: entry for entry in journal.entries if _is_done(entry)}
        waiting = [one for one in asked if one.key not in done]
        is_begun = bool(done)
        try:
            for entry in _asked(waiting, teacher, settings, verifier, budget, receipt):
                done[entry["prompt"]] = entry
                journal.add(entry)
                is_begun = is_begun or _is_done(entry)
                progress("generating", len(done), len(asked), "")
        except (ModelUnavailable, RunStopped) as error:
            if not is_begun:
                raise
            receipt.stopped = str(error)
        _write(out, [done[one.key] for one in asked if one.key in done], asked, tests, receipt)
        if len(done) == len(asked) and not receipt.stopped:
            journal.remove()
    receipt.requests, receipt.prompt_tokens, receipt.completion_tokens = budget.spent
    return receipt


def _is_done(entry: dict[str, Any]) -> bool:
    """One of which no answer could be verified is asked again."""
    return set(entry["fates"]) != {"unscored"}


def _is_known(prompt: Prompt, tests: TestSet | None, receipt: GenerateReceipt) -> bool:
    if tests is None or not tests.holds(Chat(prompt.messages)):
        return False
    receipt.leave_out(CONTAMINATED, prompt.place)
    return True


def _job(asked: Sequence[Prompt], teacher: ChatModel, settings: GenerateSettings, verified_by: str) -> dict[str, Any]:
    keys = hashlib.blake2b("".join(one.key for one in asked).encode(), digest_size=12).hexdigest()
    named = {"version": _VERSION, "prompts": keys, "teacher": identity_of(teacher), "verifier": verified_by}
    return named | settings.job()


def _asked(
    waiting: Sequence[Prompt],
    teacher: ChatModel,
    settings: GenerateSettings,
    verifier: Verifier | None,
    budget: Budget,
    receipt: GenerateReceipt,
) -> Iterator[dict[str, Any]]:
    """What became of each prompt, as its answers come. One whose answers all failed is left for the next time.

    ModelUnavailable where that is so for all that were asked together, RunStopped where nothing of theirs could be verified.
    """
    for begin in range(0, len(waiting), settings.at_once):
        group = waiting[begin : begin + settings.at_once]
        requests = [_request(one, settings) for one in group]
        each = [seeded(request, answer) for request in requests for answer in range(settings.n)]
        room = budget.room(each) // settings.n
        group, requests = group[:room], requests[:room]
        errors: list[Exception] = []
        fates: set[str] = set()
        for place, answers in sample_many(teacher, requests, settings.n):
            failed = [one for one in answers if isinstance(one, Exception)]
            for number, answer in enumerate(answers):
                budget.pay(each[place * settings.n + number], answer)
            if len(failed) == len(answers):
                errors.append(failed[0])
                receipt.fates["failed"] += len(answers)
                receipt.first_error = receipt.first_error or str(failed[0])
            else:
                receipt.first_error = receipt.first_error or str(failed[0] if failed else "")
                entry = _entry(group[place], requests[place], answers, settings, verifier, receipt)
                fates.update(entry["fates"])
                yield entry
        if errors and len(errors) == len(group):
            raise ModelUnavailable(
                f"all answers to {len(group)} prompts failed ({errors[0]})", "mend that: the same command goes on"
            )
        if fates == {"unscored"}:
            raise RunStopped(
                f"no answer to {len(group)} prompts could be verified ({receipt.first_fault})",
                "mend that: the same command goes on",
            )
        if room < settings.at_once and begin + room < len(waiting):
            receipt.stopped = SPENT
            return


def _request(prompt: Prompt, settings: GenerateSettings) -> ChatRequest:
    """Its seed depends on the prompt, not on its place."""
    drawn = hashlib.blake2b(f"{settings.seed} {prompt.key}".encode(), digest_size=4).digest()
    sampling = settings.sampling(int.from_bytes(drawn))
    return ChatRequest(chat_messages(prompt.messages), sampling, reasoning=settings.reasoning)


def _entry(
    prompt: Prompt,
    request: ChatRequest,
    answers: Answers,
    settings: GenerateSettings,
    verifier: Verifier | None,
    receipt: GenerateReceipt,
) -> dict[str, Any]:
    """A line of the journal: the rows of a prompt, the fates of its answers, and what they cost."""
    spent = Budget()
    for answer in answers:
        spent.pay(request, answer)
    given = [answer_of(one) for one in answers]
    scores = None if verifier is None else _scores(prompt, given, verifier, receipt)
    judged = judge(given, scores, settings, prompt.key)
    rows = [
        {"messages": [*prompt.messages, message]} | ({} if scores is None else {"reward": scores[place]})
        for place, message in judged.kept
    ]
    return {"prompt": prompt.key, "rows": rows, "fates": dict(Counter(judged.fates)), "cost": list(spent.spent)}


def _scores(
    prompt: Prompt, given: Sequence[Answer | Any], verifier: Verifier, receipt: GenerateReceipt
) -> list[float | None]:
    """Of the answers that can be verified; None for those of which nothing can be said."""
    places = [place for place, one in enumerate(given) if isinstance(one, Answer)]
    samples = [
        Sampled(prompt.row, prompt.messages, said_of(one)[1], one.tokens, is_finished=True)
        for one in given
        if isinstance(one, Answer)
    ]
    found: list[float | None] = [None] * len(given)
    if samples:
        table = verifier.score(samples)
        receipt.first_fault = receipt.first_fault or "".join(map(str, table.faults[:1]))
        for place, score in zip(places, table.total.tolist(), strict=True):
            found[place] = None if math.isnan(score) else score
    return found


def _write(
    out: Path,
    entries: Sequence[dict[str, Any]],
    asked: Sequence[Prompt],
    tests: TestSet | None,
    receipt: GenerateReceipt,
) -> None:
    """All rows in the order of the prompts, each once."""
    places = {one.key: one.place for one in asked}
    said: set[str] = set()
    with replacing(out) as file:
        for entry in entries:
            receipt.done += 1
            receipt.fates.update(entry["fates"])
            before = receipt.rows
            for row in entry["rows"]:
                line = json.dumps(row, ensure_ascii=False)
                same = json.dumps(row["messages"])
                if tests is not None and tests.holds(Chat(tuple(row["messages"]))):
                    receipt.leave_out(CONTAMINATED, places[entry["prompt"]])
                elif same in said:
                    receipt.leave_out(SAME, places[entry["prompt"]])
                else:
                    said.add(same)
                    file.write(line.encode(errors="replace") + b"\n")
                    receipt.rows += 1
            receipt.answered += receipt.rows > before
