"""Preferences as samples: two for a pair, the better one first, or one for an answer that was liked or not.

They lie in shards as other samples do, a pair's two beside each other; `kinds` says what each is. In reading order: the samples
of a file, opened; how a row becomes samples; files to shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import BadData, UsageError
from openbook.core.progress import Progress, silent
from openbook.core.threads import available_cpus
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.dialogues import Ends, ends_of, without_first_turn
from openbook.training.data.prompts import alpaca_prompt, plain_prompt
from openbook.training.data.reading import DataFile, Placed, read_rows
from openbook.training.data.receipt import Receipt
from openbook.training.data.row import Chat, Message, Preference
from openbook.training.data.samples import SampleSettings, beginning_of, continued
from openbook.training.data.shards import Sample, Shards
from openbook.training.data.tokenised import MadeOf, ReadSettings, key_of, opened_or_made

CHOSEN, REJECTED, LIKED, DISLIKED = "cr10"
"""Of each sample: the two of a pair, or an answer by itself."""
SHORTENED = "prompts whose first turns were left out"
_VERSION = 1
_BATCH_ROWS = 256
_READING = ReadSettings()


@dataclass(frozen=True)
class Preferences:
    """`kinds`: of each sample of `shards`. `margins`: of each pair, or None where nobody said any."""

    shards: Shards
    kinds: str
    margins: tuple[float, ...] | None = None

    @classmethod
    def open(cls, shards: Shards) -> Preferences:
        """BadData for shards that hold none."""
        kinds, margins = shards.made_of.get("kinds"), shards.made_of.get("margins")
        if not isinstance(kinds, str) or len(kinds) != len(shards):
            raise BadData("these tokenised samples are no preferences", "name the files themselves in data.train")
        return cls(shards, kinds, None if margins is None else tuple(map(float, margins)))

    def __str__(self) -> str:
        pairs = self.kinds.count(CHOSEN)
        alone = len(self.kinds) - 2 * pairs
        return " and ".join([f"{pairs:,} pairs"] * bool(pairs or not alone) + [f"{alone:,} answers"] * bool(alone))

    @property
    def pairs(self) -> NDArray[np.int64]:
        """(P, 2) samples: the better one, the worse one."""
        first = np.array([place for place, kind in enumerate(self.kinds) if kind == CHOSEN], np.int64)
        return np.stack([first, first + 1], axis=1) if len(first) else np.empty((0, 2), np.int64)

    @property
    def is_good(self) -> NDArray[np.bool_]:
        """(S,) of each sample."""
        return np.array([kind in (CHOSEN, LIKED) for kind in self.kinds], np.bool_)

    def parted(self, share: float) -> tuple[Preferences, Preferences]:
        """All but the last `share` of the samples, and those; a pair stays together."""
        cut = int(len(self.kinds) * (1 - share))
        cut -= self.kinds[cut : cut + 1] == REJECTED
        if not 0 < cut < len(self.kinds):
            raise BadData("there is too little data to hold a part of it out", "give data.eval=FILE, or more data")
        token, pairs = int(self.shards.lengths[:cut].sum()), self.kinds[:cut].count(CHOSEN)
        margins = (None, None) if self.margins is None else (self.margins[:pairs], self.margins[pairs:])
        return (
            Preferences(self.shards.part(0, token), self.kinds[:cut], margins[0]),
            Preferences(self.shards.part(token, self.shards.num_tokens), self.kinds[cut:], margins[1]),
        )


class Made(NamedTuple):
    """Of one row: its samples, the better one first; how it was shortened; why it is dropped; what is wrong with it."""

    samples: tuple[Sample, ...] = ()
    is_good: tuple[bool, ...] = ()
    shortened: str = ""
    dropped: str = ""
    broken: str = ""


Draw = Callable[[Sequence[Message], Sequence[Message]], Sample]
"""(prompt, end) -> the sample, its end learned."""


class PreferenceMaker:
    """Makes samples of rows that prefer one answer. Thread-safe."""

    def __init__(self, tokenizer: Tokenizer, settings: SampleSettings, draw: Draw | None = None) -> None:
        self._tokenizer, self._settings = tokenizer, settings
        self._most = None if settings.max_len is None else settings.max_len + 1
        self._bos = beginning_of(tokenizer)
        self._draw = draw
        if settings.too_long == "cut":
            raise BadData(
                "an answer cannot be cut, its end would never be learned", "say data.too_long: truncate or drop"
            )

    def made(self, placed: Placed) -> Made:
        """BadData for a row that prefers nothing, and for one that is too long where that is an error."""
        if not isinstance(placed.row, Preference):
            raise BadData(
                f"{placed.place}: a {type(placed.row).__name__.lower()} prefers no answer to another",
                "give rows with chosen and rejected, or with a completion and its label",
            )
        found = ends_of(placed.row)
        if isinstance(found, str):
            return Made(dropped=found)
        try:
            return self._fitted(found, placed.place)
        except UsageError as error:
            return Made(broken=error.message)

    def _fitted(self, found: Ends, place: str) -> Made:
        """Both ends get the same prompt; of one that is too long the first turns are left out, never a part of an answer."""
        prompt: tuple[Message, ...] | None = found.prompt
        shortened = ""
        draw = self._draw or partial(self._drawn, place=place)
        while prompt is not None:
            samples = tuple(draw(prompt, end) for end in found.ends)
            longest = max(len(one.ids) for one in samples)
            if self._most is None or longest <= self._most:
                return Made(samples, found.is_good, shortened)
            if self._settings.too_long == "error":
                raise BadData(f"{place} has {longest - 1:,} tokens, a row {self._most - 1:,}", "raise max_seq_len")
            if self._settings.too_long != "truncate":
                break
            prompt, shortened = without_first_turn(prompt), SHORTENED
        return Made(dropped="too long")

    def _drawn(self, prompt: Sequence[Message], end: Sequence[Message], place: str) -> Sample:
        """Of a chat only the turns of `end` are learned: the last ones of those that the template marks."""
        chat = Chat((*prompt, *end))
        if self._settings.prompts != "chat":
            put = alpaca_prompt if self._settings.prompts == "alpaca" else plain_prompt
            return continued(put(chat, place), self._tokenizer, self._bos)
        made = self._tokenizer.render(chat.messages, literal=True)
        turns = sum(one["role"] == "assistant" for one in end)
        learned = [False] * len(made.ids)
        for span in made.spans[-turns:]:
            learned[span.first : span.last] = [True] * (span.last - span.first)
        return Sample(made.ids, learned)


def preferences(
    files: Sequence[DataFile],
    tokenizer: Tokenizer,
    settings: SampleSettings,
    cache: Path,
    *,
    reading: ReadSettings = _READING,
    progress: Progress = silent,
    draw: Draw | None = None,
) -> Preferences:
    """The samples of `files` in a folder of `cache`, which is made whole or not at all; `tokenised.receipt_of` its shards tells
    what became of the rows. `draw`: of a model that reads pairs of texts. Raises BadData for rows that cannot be samples, and
    where none is left.
    """
    kind = "preferences" if draw is None else "pairs"
    folder = cache / f"{key_of(files, tokenizer, settings, reading)}-{kind}-{_VERSION}"
    receipt, kinds, margins = Receipt(), list[str](), list[float | None]()

    def filed(said: MadeOf) -> Iterator[Sample]:
        maker = PreferenceMaker(tokenizer, settings, draw)
        for made, margin in made_of(files, maker, receipt, reading, progress):
            kinds.append(kinds_of(made))
            margins.extend([margin] if len(made.samples) == 2 else [])
            yield from made.samples
        said["receipt"], said["kinds"] = receipt.as_json(), "".join(kinds)
        if any(one is not None for one in margins):
            said["margins"] = [one or 0.0 for one in margins]

    return Preferences.open(opened_or_made(files, tokenizer, folder, filed))


def made_of(
    files: Sequence[DataFile],
    maker: PreferenceMaker,
    receipt: Receipt,
    reading: ReadSettings = _READING,
    progress: Progress = silent,
) -> Iterator[tuple[Made, float | None]]:
    """What rows become, with the margin of each, those that become nothing left out; `receipt` counts all of them."""
    with ThreadPoolExecutor(available_cpus()) as pool:
        for number, file in enumerate(files):
            progress("tokenise", number, len(files), str(file.path))
            rows = read_rows([file], receipt, reading.between)
            while batch := list(islice(rows, _BATCH_ROWS)):
                for placed, made in zip(batch, pool.map(maker.made, batch), strict=True):
                    if _is_counted(made, placed.place, receipt):
                        yield made, getattr(placed.row, "margin", None)
                progress("tokenise", number, len(files), f"{file.path}, {receipt.rows:,} rows")
    receipt.finish(reading.max_broken)
    if not receipt.samples:
        raise BadData("nothing is left to learn from", "; ".join(receipt.lines()))


def kinds_of(made: Made) -> str:
    """A letter for each of its samples."""
    return CHOSEN + REJECTED if len(made.samples) == 2 else LIKED if made.is_good[0] else DISLIKED


def _is_counted(made: Made, place: str, receipt: Receipt) -> bool:
    if made.broken:
        receipt.breaks(place, made.broken)
        return False
    dropped = made.dropped
    if not dropped and any(one.learned is None or not any(one.learned[1:]) for one in made.samples):
        dropped = "nothing in it is learned"
    if dropped:
        receipt.drop(dropped, place)
        return False
    if made.shortened:
        receipt.shorten(made.shortened, place)
    for one in made.samples:
        receipt.samples += 1
        receipt.tokens += len(one.ids)
        receipt.learned += sum(one.learned or ())
    return True
