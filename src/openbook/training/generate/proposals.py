"""What a round of an expansion asks for, and what came of it: tasks that nobody has looked at yet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from openbook.core.messages import ChatRequest, Completion, Message
from openbook.training.generate.ask_tasks import (
    OPERATIONS,
    Operation,
    harder_request,
    more_request,
    read_harder,
    read_tasks,
)
from openbook.training.generate.expand_settings import ExpandSettings
from openbook.training.generate.language import Language
from openbook.training.generate.pool import Pool
from openbook.training.generate.seeds import Task


class Asked(NamedTuple):
    """`parent`, `how`: of evol."""

    request: ChatRequest
    language: Language
    parent: Task | None = None
    how: Operation | None = None

    def read(self, answer: Completion) -> list[Task]:
        """The tasks in an answer, without their own answers."""
        is_cut = answer.finish_reason != "stop"
        if self.parent is None or self.how is None:
            return [Task(one, "", self.language, "self-instruct") for one in read_tasks(answer.text, is_cut)]
        return [
            Task(one, "", self.language, "evol", self.how, self.parent.text) for one in read_harder(answer.text, is_cut)
        ]


def proposals(pool: Pool, settings: ExpandSettings, number: int) -> list[Asked]:
    """The requests of round `number`. They depend on the seed, the round and what was kept before it."""
    return [_asked(pool, settings, Random(f"{settings.seed} {number} {place}")) for place in range(settings.at_once)]


def _asked(pool: Pool, settings: ExpandSettings, draw: Random) -> Asked:
    sampling = settings.sampling(draw.getrandbits(31))
    if settings.method == "self-instruct":
        examples, language = pool.examples(draw, settings.examples, settings.seed_share)
        text = more_request(examples, settings.wanted, language)
        return Asked(ChatRequest((Message.of("user", text),), sampling), language)
    parent, how = pool.parent(draw), draw.choice(OPERATIONS)
    text = harder_request(parent.text, how, parent.language)
    return Asked(ChatRequest((Message.of("user", text),), sampling), parent.language, parent, how)


def answer_requests(tasks: Sequence[Task], settings: ExpandSettings) -> list[ChatRequest]:
    """Each task as a chat of its own. Its seed depends on the task."""
    return [
        ChatRequest((Message.of("user", one.text),), settings.sampling(_seed(one, settings), is_answer=True))
        for one in tasks
    ]


def _seed(task: Task, settings: ExpandSettings) -> int:
    drawn = hashlib.blake2b(f"{settings.seed} {task.text}".encode(), digest_size=4).digest()
    return int.from_bytes(drawn)
