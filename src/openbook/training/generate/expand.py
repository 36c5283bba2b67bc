"""Seeds in, more tasks with answers out: a model proposes, what is no use or not new is left out, a model answers.

Sources: Wang et al. 2022 (self-instruct), https://arxiv.org/abs/2212.10560; Xu et al. 2023 (WizardLM, evol),
https://arxiv.org/abs/2304.12244. Where we differ: tasks and answers are asked for in two requests, all tasks are new by the same
rule, those of evol too, and the output of every row is looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.messages import ChatModel, ChatRequest, Completion
from openbook.core.paths import replacing
from openbook.core.progress import Progress, silent
from openbook.lm.fresh import check_free
from openbook.training.data.contamination import TestSet
from openbook.training.data.row import Chat
from openbook.training.generate.budget import SPENT, Budget
from openbook.training.generate.expand_receipt import ExpandReceipt
from openbook.training.generate.expand_settings import ExpandSettings
from openbook.training.generate.identity import identity_of
from openbook.training.generate.journal import Journal, journal_of
from openbook.training.generate.pool import Pool
from openbook.training.generate.proposals import answer_requests, proposals
from openbook.training.generate.seeds import Task
from openbook.training.generate.select import Answer as Written
from openbook.training.generate.select import answer_of, message_of
from openbook.training.generate.validate import fault_of_answer, fault_of_task

FAILED, ALIKE, CONTAMINATED = "request: failed", "task: like another", "in the test set"
SURPLUS = "more than were wanted"
_VERSION = 1


def expand(
    seeds: Sequence[Task],
    teacher: ChatModel,
    settings: ExpandSettings,
    out: Path,
    *,
    tests: TestSet | None = None,
    budget: Budget | None = None,
    progress: Progress = silent,
) -> ExpandReceipt:
    """Writes `settings.rows` rows of chats to `out`, or as many as come before the budget ends or the model has nothing new to
    say, and says what became of everything. What was done before an interruption is not asked again. `tests`: rows of which
    anything is in there are left out.

    Raises UsageError where `out` is there, or belongs to another job; ModelUnavailable where a whole round failed.
    """
    unfinished = journal_of(out)
    if not unfinished.exists():
        check_free(out)
    if not seeds:
        raise UsageError("there are no seeds", "give some: they are what new tasks are like")
    job = _Expansion(seeds, teacher, settings, tests, budget or Budget(), ExpandReceipt(out, len(seeds)))
    with Journal(unfinished, _job(seeds, teacher, settings)) as journal:
        for entry in journal.entries:
            job.budget.take_over(*entry["cost"])
            job.take(entry)
        while not (job.receipt.stopped or len(job.pool.made) >= settings.rows):
            if (made := job.round()) is not None:
                journal.add(made)
                job.take(made)
            progress("expanding", min(len(job.pool.made), settings.rows), settings.rows, "")
        job.receipt.fates[SURPLUS] += max(len(job.pool.made) - settings.rows, 0)
        _write(out, seeds, job.pool.made[: settings.rows], settings, job.receipt)
        if not job.receipt.stopped:
            journal.remove()
    return job.finished()


def _job(seeds: Sequence[Task], teacher: ChatModel, settings: ExpandSettings) -> dict[str, Any]:
    whole = json.dumps([(one.text, one.answer) for one in seeds])
    key = hashlib.blake2b(whole.encode(), digest_size=12).hexdigest()
    return {"version": _VERSION, "seeds": key, "teacher": identity_of(teacher)} | settings.job()


class _Expansion:
    """`number`: of the next round. `dry`: rounds since the last that gave a row."""

    def __init__(
        self,
        seeds: Sequence[Task],
        teacher: ChatModel,
        settings: ExpandSettings,
        tests: TestSet | None,
        budget: Budget,
        receipt: ExpandReceipt,
    ) -> None:
        self.pool = Pool(seeds, settings.below)
        self.receipt, self.budget = receipt, budget
        self._teacher, self._settings, self._tests = teacher, settings, tests
        self._number = self._dry = 0

    def round(self) -> dict[str, Any] | None:
        """A line of the journal; None where it cannot be paid or nothing new comes any more, which the receipt then says."""
        if self._dry >= self._settings.patience:
            self.receipt.stopped = (
                f"{self._dry} rounds gave no new row: with more patience the same command goes on; more seeds, or a higher "
                "temperature, give it more to say"
            )
            return None
        before = self.budget.spent
        fates = Counter[str]()
        asked = proposals(self.pool, self._settings, self._number)
        room = self.budget.room([one.request for one in asked])
        if not room:
            self.receipt.stopped = SPENT
            return None
        answers = self._answers([one.request for one in asked[:room]], fates)
        if not any(answers):
            raise ModelUnavailable(
                f"all {room} requests of a round failed ({self.receipt.first_error})",
                "mend that: the same command goes on",
            )
        read = [one.read(answer) if answer else [] for one, answer in zip(asked, answers, strict=False)]
        fates["proposed"] += sum(map(len, read))
        new = self._new([task for tasks in read for task in tasks], fates)
        rows = self._answered(new, fates)
        cost = [late - early for early, late in zip(before, self.budget.spent, strict=True)]
        return {"round": self._number, "rows": [list(one) for one in rows], "fates": dict(fates), "cost": cost}

    def take(self, entry: dict[str, Any]) -> None:
        """What a round gave, now or before an interruption."""
        for one in entry["rows"]:
            self.pool.add(Task(*one))
        self.receipt.fates.update(entry["fates"])
        self.receipt.rounds += 1
        self._number = entry["round"] + 1
        self._dry = 0 if entry["rows"] else self._dry + 1

    def finished(self) -> ExpandReceipt:
        self.receipt.requests, self.receipt.prompt_tokens, self.receipt.completion_tokens = self.budget.spent
        return self.receipt

    def _new(self, tasks: Sequence[Task], fates: Counter[str]) -> list[Task]:
        """Those that are of use, and unlike each other and all that are kept."""
        found: list[Task] = []
        for task in tasks:
            fault = fault_of_task(task.text, task.language)
            if not fault and self._tests is not None and self._tests.holds(_chat(task)):
                fault = CONTAMINATED
            if not fault and not self.pool.is_new(task.text):
                fault = ALIKE
            if fault:
                fates[fault] += 1
            else:
                self.pool.add(task)
                found.append(task)
        self.pool.drop_last(len(found))
        return found

    def _answered(self, tasks: Sequence[Task], fates: Counter[str]) -> list[Task]:
        """Those to which the model has an answer that is one."""
        requests = answer_requests(tasks, self._settings)
        room = self.budget.room(requests)
        fates["task: not paid for"] += len(tasks) - room
        answers = self._answers(requests[:room], fates) if room else []
        found: list[Task] = []
        for task, completion in zip(tasks, answers, strict=False):
            if completion is None:
                continue
            answer = answer_of(completion)
            said = message_of(answer)["content"].strip() if isinstance(answer, Written) else ""
            fault = f"answer: {answer}" if not isinstance(answer, Written) else fault_of_answer(task.text, said)
            whole = task._replace(answer=said)
            if not fault and self._tests is not None and self._tests.holds(_chat(whole)):
                fault = CONTAMINATED
            if fault:
                fates[fault] += 1
            else:
                found.append(whole)
        return found

    def _answers(self, requests: Sequence[ChatRequest], fates: Counter[str]) -> list[Completion | None]:
        """In their order, None where one failed."""
        found: list[Completion | None] = [None] * len(requests)
        for place, answer in self._teacher.complete_many(requests):
            self.budget.pay(requests[place], answer)
            if isinstance(answer, Exception):
                fates[FAILED] += 1
                self.receipt.first_error = self.receipt.first_error or str(answer)
            else:
                found[place] = answer
        return found


def _chat(task: Task) -> Chat:
    messages = task.row()["messages"]
    return Chat(tuple(messages if task.answer else messages[:1]))


def _write(
    out: Path, seeds: Sequence[Task], made: Sequence[Task], settings: ExpandSettings, receipt: ExpandReceipt
) -> None:
    answered = [one for one in seeds if one.answer] if settings.with_seeds else []
    receipt.rows, receipt.seed_rows = len(made), len(answered)
    with replacing(out) as file:
        for task in spread(answered, made):
            file.write(json.dumps(task.row(), ensure_ascii=False).encode(errors="replace") + b"\n")


def spread(few: Sequence[Task], many: Sequence[Task]) -> list[Task]:
    """Both, each in its order, evenly mixed: any stretch has about the share of each that the whole has."""
    places = [
        ((at + 0.5) / len(part), number, one) for number, part in enumerate((few, many)) for at, one in enumerate(part)
    ]
    return [one for _, _, one in sorted(places, key=lambda place: place[:2])]
