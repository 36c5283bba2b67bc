"""The tasks that are kept, seeds first: no two of those that were made are too much alike, nor one of them and a seed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from openbook.training.generate.language import Language
from openbook.training.generate.rouge import KeptTexts
from openbook.training.generate.seeds import Task


class Pool:
    """`seeds` stay as they are; `made` grows."""

    def __init__(self, seeds: Sequence[Task], below: float) -> None:
        self.seeds, self.made = tuple(seeds), list[Task]()
        self._below = below
        self._texts = KeptTexts([one.text for one in seeds])

    def is_new(self, text: str) -> bool:
        """Whether it is unlike everything here."""
        return self._texts.most_alike(text).score < self._below

    def add(self, task: Task) -> None:
        self.made.append(task)
        self._texts.add(task.text)

    def drop_last(self, count: int) -> None:
        """The last that were added are not kept after all."""
        if count:
            del self.made[-count:]
            self._texts.truncate(len(self.seeds) + len(self.made))

    def examples(self, draw: Random, count: int, seed_share: float) -> tuple[list[str], Language]:
        """Tasks of one language, which is drawn by its share of the seeds: seeds, and `1 - seed_share` that were made, as far as
        there are some; in any order.
        """
        language = draw.choice(self.seeds).language
        made = [one.text for one in self.made if one.language == language]
        seeds = [one.text for one in self.seeds if one.language == language]
        from_made = min(len(made), count - round(seed_share * count))
        found = draw.sample(made, from_made) + draw.sample(seeds, min(len(seeds), count - from_made))
        draw.shuffle(found)
        return found, language

    def parent(self, draw: Random) -> Task:
        """Of all, seeds and made alike."""
        place = draw.randrange(len(self.seeds) + len(self.made))
        return self.seeds[place] if place < len(self.seeds) else self.made[place - len(self.seeds)]
