"""Labels of texts and of pairs of texts, as rows of the data name them."""

from __future__ import annotations

from openbook.core.errors import BadData
from openbook.core.progress import Progress
from openbook.lm.tokenizers.pair_layout import PairLayout, around
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.labelled import LabelledRow, check_labels, known_labels, read_labelled
from openbook.training.data.receipt import Receipt
from openbook.training.objectives.labels import Labels
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, data_paths
from openbook.training.sources.drawn import Draw
from openbook.training.sources.labelled import Sample, labelled
from openbook.training.tasks.drawn import Drawn, drawn_task
from openbook.training.tasks.task import Task


def classifier_task(recipe: Recipe, tokenizer: Tokenizer, ranks: Ranks, progress: Progress) -> Task:
    """BadData for a label that the recipe does not name."""
    progress("read", 0, None, "rows")
    receipt = Receipt()
    train, held = read_labelled(data_paths(recipe.data.train), receipt), list[LabelledRow]()
    if recipe.data.eval:
        held = read_labelled(data_paths(recipe.data.eval), receipt)
    elif recipe.data.eval_share:
        cut = int(len(train) * (1 - recipe.data.eval_share))
        train, held = train[:cut], train[cut:]
        if not train or not held:
            raise BadData("there are too few rows to hold some of them out", "give data.eval=FILE, or more data")
    receipt.finish(recipe.data.max_broken)
    check_labels([*train, *held], recipe.classifier.labels)
    note = f"{receipt.rows:,} rows, {receipt.broken:,} broken; labels: {', '.join(known_labels(train))}"
    both = [Drawn(_drawing(recipe, rows, tokenizer), len(rows), labelled) for rows in (train, held)]
    return drawn_task(recipe, ranks, both, Labels(), (note,))


def _drawing(recipe: Recipe, rows: list[LabelledRow], tokenizer: Tokenizer) -> Draw[Sample]:
    """Each row as it is; a text that is too long is cut at its end, of a pair the first at its beginning."""
    numbers = {label: number for number, label in enumerate(recipe.classifier.labels)}
    special = len(tokenizer.encode(""))
    layout = PairLayout.of(tokenizer.backend) if any(one.second is not None for one in rows) else None

    def draw(_: int, number: int) -> Sample:
        row = rows[number]
        if row.second is None or layout is None:
            ids = tokenizer.encode(row.text)
            over = max(len(ids) - recipe.max_seq_len, 0)
            if over:
                inner = tokenizer.encode(row.text, add_special_tokens=False)
                before = ids.index(inner[0]) if inner else 0
                ids = ids[:before] + inner[: recipe.max_seq_len - special] + ids[before + len(inner) :]
            return Sample(ids, [0] * len(ids), numbers[row.label])
        first, second = tokenizer.encode_batch([row.text, row.second], add_special_tokens=False)
        room = recipe.max_seq_len - layout.specials
        return Sample(*layout.join(*around(first, second, room)), numbers[row.label])

    return draw
