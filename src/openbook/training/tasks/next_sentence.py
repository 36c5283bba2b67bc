"""Whether one passage follows another: pairs are built from documents."""

from __future__ import annotations

from random import Random

from openbook.core.errors import BadData, UsageError
from openbook.core.progress import Progress
from openbook.lm.tokenizers.pair_layout import PairLayout
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.continuations import Writing, continuation, read_writings
from openbook.training.data.reading import data_files
from openbook.training.data.receipt import Receipt
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, data_paths
from openbook.training.sources.labelled import Sample
from openbook.training.tasks.labelled import Drawn, labelled_task
from openbook.training.tasks.task import Task


def next_sentence_task(recipe: Recipe, tokenizer: Tokenizer, ranks: Ranks, progress: Progress) -> Task:
    """BadData where documents are both learned from and evaluated on."""
    if recipe.data.layout != "auto":
        raise UsageError(f"data.layout={recipe.data.layout} is for plain text", "leave it out")
    progress("read", 0, None, "documents")
    train, held = _writings(recipe, recipe.data.train), list[Writing]()
    if recipe.data.eval:
        held = _writings(recipe, recipe.data.eval)
    elif recipe.data.eval_share:
        cut = round(len(train) * (1 - recipe.data.eval_share))
        train, held = train[:cut], train[cut:]
    if shared := {one.title for one in train} & {one.title for one in held}:
        raise BadData(f"{min(shared)!r} is both learned from and evaluated on", "hold out whole documents")
    if not train or (recipe.has_evaluation and not held):
        raise BadData("there are too few documents to hold some of them out", "give data.eval=FILE, or more data")
    learned = drawing(train, tokenizer, recipe.max_seq_len, recipe.seed, recipe.next_sentence.strangers)
    shown = drawing(held, tokenizer, recipe.max_seq_len, recipe.seed)
    note = f"{len(train):,} documents, {learned[1]:,} places to cut them at; {len(held):,} documents held out"
    return labelled_task(recipe, ranks, learned, shown, note)


def drawing(
    writings: list[Writing], tokenizer: Tokenizer, max_seq_len: int, seed: int, strangers: float = 0.0
) -> Drawn:
    """How a pair is drawn, and the number of paragraphs that have one behind them."""
    places = [(one, place) for one in writings for place in range(len(one.paragraphs) - 1)]
    layout = PairLayout.of(tokenizer.backend)

    def draw(epoch: int, number: int) -> Sample:
        writing, place = places[number]
        first, second, label = continuation(writing, place, Random(f"{seed} {epoch} {number}"), writings, strangers)
        before, after = tokenizer.encode_batch([first, second], add_special_tokens=False)
        return Sample(*layout.join(*fitted(before, after, max_seq_len - layout.specials)), label)

    return draw, len(places)


def fitted(first: list[int], second: list[int], room: int) -> tuple[list[int], list[int]]:
    """The end of the first and the beginning of the second, the longer one cut more."""
    over = len(first) + len(second) - room
    if over <= 0:
        return first, second
    half = room // 2
    keep = max(room - len(second), half) if len(first) > half else len(first)
    return first[len(first) - keep :], second[: room - keep]


def _writings(recipe: Recipe, names: tuple[str, ...]) -> list[Writing]:
    receipt = Receipt()
    return read_writings(data_files(data_paths(names), recipe.data.format), receipt)
