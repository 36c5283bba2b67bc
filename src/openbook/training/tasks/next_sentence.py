"""Whether one passage follows another: choices are built from documents."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from openbook.core.errors import BadData
from openbook.core.progress import Progress
from openbook.lm.tokenizers.encoder import Encoded
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.continuations import Writing, choice, read_writings
from openbook.training.data.reading import data_files
from openbook.training.data.receipt import Receipt
from openbook.training.objectives.choice import NextChoice
from openbook.training.objectives.rerank import PairGroups
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, data_paths
from openbook.training.tasks.drawn import Drawn, drawn_task
from openbook.training.tasks.grouped import group_tokenizer
from openbook.training.tasks.task import Task


def next_sentence_task(recipe: Recipe, tokenizer: Tokenizer, ranks: Ranks, progress: Progress) -> Task:
    """BadData where documents are both learned from and evaluated on."""
    progress("read", 0, None, "documents")
    train, lines = _writings(recipe, recipe.data.train)
    held = list[Writing]()
    if recipe.data.eval:
        held, told = _writings(recipe, recipe.data.eval)
        lines += told
    elif recipe.data.eval_share:
        cut = round(len(train) * (1 - recipe.data.eval_share))
        train, held = train[:cut], train[cut:]
    if shared := {one.title for one in train} & {one.title for one in held}:
        raise BadData(f"{min(shared)!r} is both learned from and evaluated on", "hold out whole documents")
    if not train or (recipe.has_evaluation and not held):
        raise BadData("there are too few documents to hold some of them out", "give data.eval=FILE, or more data")
    part = recipe.next_sentence
    learned = drawing(train, tokenizer, recipe.max_seq_len, recipe.seed, part.others, part.strangers)
    shown = drawing(held, tokenizer, recipe.max_seq_len, recipe.seed)
    note = f"{len(train):,} documents, {learned.count:,} places to cut them at; {len(held):,} documents held out"
    return drawn_task(recipe, ranks, (learned, shown), NextChoice(), (note, *lines))


def drawing(
    writings: list[Writing],
    tokenizer: Tokenizer,
    max_seq_len: int,
    seed: int,
    others: int = 1,
    strangers: float = 0.0,
) -> Drawn[list[Encoded], PairGroups]:
    """The pairs of a choice, the right one first, for each paragraph that has one behind it."""
    places = [(one, place) for one in writings for place in range(len(one.paragraphs) - 1)]
    reader = group_tokenizer(tokenizer, max_seq_len)

    def draw(epoch: int, number: int) -> list[Encoded]:
        random = Random(f"{seed} {epoch} {number}")
        found = choice(*places[number], random, others, writings, strangers)
        return reader.encode_seams([(found.first, second) for second in (found.following, *found.others)])

    return Drawn(draw, len(places), _together)


def _together(choices: Sequence[list[Encoded]]) -> PairGroups:
    return PairGroups.joined([pair for one in choices for pair in one], [len(one) for one in choices])


def _writings(recipe: Recipe, names: tuple[str, ...]) -> tuple[list[Writing], list[str]]:
    """With lines for a person: what was left out, and why."""
    receipt = Receipt()
    found = read_writings(data_files(data_paths(names), recipe.data.format), receipt)
    receipt.finish(recipe.data.max_broken)
    return found, receipt.lines()[1:]
