"""Facts that were made up, the documents that state them, and the questions that a model learns to answer from them.

Names and values are random, so that nothing can be learned by heart: what answers must read. `prompt_of` writes what the library
asks a model, with `build_prompt` itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple
from zlib import crc32

from openbook.assistant.answer.prompt import Passage, build_prompt
from openbook.core.messages import ChatRequest, ModelLimits
from openbook.library.retrieve.hit import Hit

ATTRIBUTES = ("password", "nickname", "colour", "emblem", "motto", "sponsor", "founder", "symbol")
KINDS = (
    "archive",
    "bridge",
    "depot",
    "garage",
    "harbour",
    "hotel",
    "mill",
    "museum",
    "school",
    "station",
    "tower",
    "yard",
)
NAMES = tuple(
    "Amsel Arden Bexley Birk Brandt Calder Cobalt Corvin Dalby Denholm Dorset Dunmore Eddison Elgin Falk Farrow Fenwick Galen "
    "Garrick Glover Hadley Halden Harlow Heron Hollis Ingram Jarrow Jasper Kelso Kendal Kestrel Lambert Larch Lindon Lorimer "
    "Maddox Marlow Merrick Morven Nairn Newall Norland Oakley Orford Osprey Pelham Perrin Quarry Radley Ramsay Rowan Selby "
    "Sheldon Sorrel Tarrant Thorne Tilden Ulmer Varley Wexford Whitby Yarrow".split()
)
VALUES = (
    "acorn amber anchor apple badger basil beacon birch bison button candle canyon cedar cherry cobra copper coral cotton "
    "crimson crystal dagger dolphin eagle ember falcon feather fennel ferry flint forest fox garnet ginger glacier granite "
    "hammer harvest hazel helmet hornet indigo island ivory jaguar jasmine juniper kettle lagoon lantern lemon lilac lobster "
    "magnet maple marble meadow mirror nectar needle nettle ocean olive onyx orchid otter oyster panther pebble pepper pigeon "
    "pilot planet plum prairie quartz rabbit raven ribbon river saddle saffron salmon sapphire scarlet shadow silver sparrow "
    "spiral summit sunset teapot thunder tiger timber topaz trumpet tulip turtle umbrella vanilla velvet violet walnut willow "
    "winter wolf zebra"
).split()
FACTS_A_DOCUMENT = 1
HELD_OUT = 10
"""One place of so many is kept from training."""
_DAYS = 86_400
_FIRST_DAY, _LAST_DAY = 18_262, 22_645  # 2020 to 2031


class Fact(NamedTuple):
    attribute: str
    place: str
    value: str

    @property
    def sentence(self) -> str:
        return f"The {self.attribute} of the {self.place} is {self.value}."

    @property
    def question(self) -> str:
        return f"What is the {self.attribute} of the {self.place}?"

    def answer(self, passage: int) -> str:
        """The sentence with its mark, as the rules of the prompt ask for it."""
        return f"{self.sentence[:-1]} [{passage}]."


class Document(NamedTuple):
    place: str
    facts: tuple[Fact, ...]

    @property
    def text(self) -> str:
        return " ".join(fact.sentence for fact in self.facts)


def documents(random: Random, count: int, *, held_out: bool = False, alike: bool = False) -> list[Document]:
    """`count` places with their facts. A place is for training or is `held_out`, never both.

    `alike`: with few names or few kinds among them, as what a search finds has. ValueError where they would be held out too:
    of so few, too few are held out.
    """
    if alike and held_out:
        raise ValueError("places are alike or held out, not both: leave one away")
    names, kinds = NAMES, KINDS
    if alike:
        few, many = 2, count + 2
        names, kinds = random.choice(
            [
                (_some(random, NAMES, few), _some(random, KINDS, many)),
                (_some(random, NAMES, many), _some(random, KINDS, few)),
            ]
        )
    places: dict[str, None] = {}
    while len(places) < count:
        place = f"{random.choice(names)} {random.choice(kinds)}"
        if (crc32(place.encode()) % HELD_OUT == 0) == held_out:
            places[place] = None
    return [Document(place, _facts(random, place)) for place in places]


def write_documents(found: Sequence[Document], folder: Path) -> None:
    """A Markdown file for each, its place the heading."""
    folder.mkdir(parents=True, exist_ok=True)
    for document in found:
        path = folder / file_name(document.place)
        path.write_text(f"# {document.place}\n\n{document.text}\n", "utf-8")


def file_name(place: str) -> str:
    return f"{place.replace(' ', '-').lower()}.md"


def prompt_of(question: str, shown: Sequence[Document], modified: Sequence[float]) -> ChatRequest:
    """What the library asks when it has found the documents `shown`, in this order; `modified`: seconds since 1970."""
    hits = [_hit(rank, document, when) for rank, (document, when) in enumerate(zip(shown, modified, strict=True), 1)]
    return build_prompt(question, [Passage(hit) for hit in hits], ModelLimits()).request


def some_days(random: Random, count: int) -> list[float]:
    """When files were changed: often all on one day."""
    days = [float(random.randint(_FIRST_DAY, _LAST_DAY) * _DAYS) for _ in range(count)]
    return days if random.random() < 0.5 else days[:1] * count


def _facts(random: Random, place: str) -> tuple[Fact, ...]:
    attributes = random.sample(ATTRIBUTES, FACTS_A_DOCUMENT)
    return tuple(Fact(attribute, place, random.choice(VALUES)) for attribute in attributes)


def _some(random: Random, words: Sequence[str], count: int) -> list[str]:
    return random.sample(words, min(count, len(words)))


def _hit(rank: int, document: Document, modified: float) -> Hit:
    text = f"{document.place}\n\n{document.text}"
    return Hit(
        rank=rank,
        id=f"p{rank}",
        document_id=f"d{rank}",
        collection="default",
        path=file_name(document.place),
        also_in=(),
        title=document.place,
        page=None,
        heading=(document.place,),
        start=0,
        end=len(text),
        text=text,
        anchors=(),
        sha256="",
        modified=modified,
        stale=False,
        language="en",
        score=0.0,
        scores={},
    )
