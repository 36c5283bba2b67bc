"""Synthetic preferences whose better answer can be known: it names more colours. And a small model that can write both answers.

Answers are words drawn from two lists; how many of them are colours is what is preferred, whatever else is said and in which
order. Both answers of a pair have as many words, so that losses over sums and over means can both be right. Beside them the model
learns a skill that no preference is about, so that forgetting can be seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

Row = dict[str, Any]
COLOURS = "red blue green white black pink grey gold".split()
THINGS = "stone river house bread horse paper glass field".split()
PLACES = "north south east west here there".split()
NUMBERS = "one two three four five six seven eight nine ten".split()


def answer(draw: Random, colours: int, words: int) -> str:
    said = [draw.choice(COLOURS) for _ in range(colours)] + [draw.choice(THINGS) for _ in range(words - colours)]
    draw.shuffle(said)
    return " ".join(said)


def pairs(count: int, seed: int) -> Iterator[Row]:
    """Both answers have 3 to 6 words, the better one at least one colour more."""
    draw = Random(f"pairs {seed}")
    while count:
        words = draw.randint(3, 6)
        colours = [draw.randint(0, words) for _ in range(2)]
        if colours[0] > colours[1]:
            chosen, rejected = (answer(draw, one, words) for one in colours)
            yield {"prompt": f"say {draw.choice(PLACES)}", "chosen": chosen, "rejected": rejected}
            count -= 1


def halves(count: int, seed: int) -> Iterator[Row]:
    """Unpaired rows: of each pair one answer, by turns the better and the worse one."""
    for place, one in enumerate(pairs(count, seed)):
        side = "rejected" if place % 2 else "chosen"
        yield {"prompt": one["prompt"], "completion": one[side], "label": side == "chosen"}


def solutions(count: int, seed: int) -> Iterator[Row]:
    """Counting in steps, some of them wrong: a step is right where it says the number behind the last one."""
    draw = Random(f"steps {seed}")
    for _ in range(count):
        place, steps, labels = draw.randint(0, 4), list[str](), list[bool]()
        for _ in range(draw.randint(2, 5)):
            is_right = draw.random() < 0.6
            wanted = NUMBERS[place + 1]
            said = wanted if is_right else draw.choice([one for one in NUMBERS if one != wanted])
            steps.append(f"{NUMBERS[place]} then {said}")
            labels.append(is_right)
            place = min(place + 1, len(NUMBERS) - 2)
        yield {"prompt": "count", "steps": steps, "labels": labels}


def chats(count: int, seed: int) -> Iterator[Row]:
    """What the model is trained on first: answers without any preference, and counting, the skill."""
    draw = Random(f"chats {seed}")
    for _ in range(count):
        words = draw.randint(3, 6)
        yield _chat(f"say {draw.choice(PLACES)}", answer(draw, draw.randint(0, words), words))
        yield next(skills(1, draw.random()))


def skills(count: int, seed: object) -> Iterator[Row]:
    draw = Random(f"skills {seed}")
    for _ in range(count):
        place = draw.randint(0, 5)
        yield _chat(f"after {NUMBERS[place]}", " ".join(NUMBERS[place + 1 : place + 5]))


def _chat(asked: str, said: str) -> Row:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}


def written(path: Path, rows: Iterable[Row]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)
