"""Rows as samples: ids, and which of them the loss counts.

The template owns the special tokens of a chat, the tokenizer those of a text; neither is added twice. In reading order:
settings, what makes a row a sample, then text, chats, completions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple

from openbook.core.errors import BadData, ModelUnavailable, UsageError
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.prompts import alpaca_prompt, plain_prompt, question_chat
from openbook.training.data.reading import Placed
from openbook.training.data.receipt import Receipt
from openbook.training.data.row import (
    Chat,
    Completion,
    Message,
    Pair,
    Preference,
    Question,
    Solution,
    Text,
    as_text,
)
from openbook.training.data.shards import Sample

TooLong = Literal["auto", "cut", "truncate", "drop", "error"]
Prompts = Literal["chat", "alpaca", "text"]


@dataclass(frozen=True)
class SampleSettings:
    """`max_len`: tokens that a row reads, None where a row is any window of the text. A sample has one more: its last token is
    only learned. `too_long`: what becomes of longer ones: text is cut into pieces ("cut"), of a chat the first turns stay that
    fit ("truncate"), "drop", "error"; "auto": the one that goes with the row, for completions "drop". `prompts`: questions are
    put by the tokenizer's chat template, as Alpaca put them, or as they are, as a text that goes on. `is_text`: rows of all
    forms are read as plain text.
    """

    max_len: int | None = None
    too_long: TooLong = "auto"
    prompts: Prompts = "chat"
    is_text: bool = False


class Made(NamedTuple):
    """Of one row: its sample; how it was shortened; why it is dropped; what is wrong with it."""

    sample: Sample | None
    shortened: str = ""
    dropped: str = ""
    broken: str = ""


class SampleMaker:
    """Makes samples of rows, and counts in `receipt` what is dropped or shortened. Thread-safe but for the receipt."""

    def __init__(self, tokenizer: Tokenizer, settings: SampleSettings, receipt: Receipt) -> None:
        self._tokenizer, self._settings, self._receipt = tokenizer, settings, receipt
        self._most = None if settings.max_len is None else settings.max_len + 1
        self._bos = beginning_of(tokenizer)
        self._seen_context = ""

    def many(self, rows: Sequence[Placed], pool: ThreadPoolExecutor) -> Iterator[Sample]:
        """The samples of `rows`, in order. BadData where one cannot be, ModelUnavailable without a chat template."""
        rows = self._as_asked(rows)
        texts = [one.row.text for one in rows if isinstance(one.row, Text)]
        encoded = iter(self._tokenizer.encode_batch(texts, add_special_tokens=False) if texts else [])
        others = pool.map(self._encoded, (one for one in rows if not isinstance(one.row, Text)))
        for placed in rows:
            if isinstance(placed.row, Text):
                yield from self._text(placed.row, next(encoded), placed.place)
            else:
                made = next(others)
                if made.broken:
                    self._receipt.breaks(placed.place, made.broken)
                    continue
                if made.shortened:
                    self._receipt.shorten(made.shortened, placed.place)
                yield from self._kept(made.sample, placed.place, made.dropped)

    def _as_asked(self, rows: Sequence[Placed]) -> list[Placed]:
        """As plain text where that is wanted; a passage with many questions is one text. Text that is no Unicode is broken."""
        found: list[Placed] = []
        for place, row in rows:
            if self._settings.is_text and isinstance(row, Question):
                if row.context == self._seen_context:
                    continue
                self._seen_context = row.context
            one = Text(as_text(row)) if self._settings.is_text and not isinstance(row, Text) else row
            if isinstance(one, Text) and (reason := _unsound(one.text)):
                self._receipt.breaks(place, reason)
            else:
                found.append(Placed(place, one))
        return found

    def _text(self, row: Text, ids: list[int], place: str) -> Iterator[Sample]:
        """With the token of beginning where the tokenizer puts it, and that of the end behind each document."""
        eos = self._tokenizer.eos_id
        if not ids:
            self._receipt.drop("empty", place)
            return
        if row.begins and ids[:1] != self._bos:
            ids = self._bos + ids
        if row.ends and eos is not None and ids[-1] != eos:
            ids = [*ids, eos]
        if self._most is None:
            yield from self._counted(Sample(ids))
        elif len(ids) <= self._most:
            yield from self._kept(Sample(ids), place)
        else:
            yield from self._long_text(ids, self._most, place)

    def _long_text(self, ids: list[int], most: int, place: str) -> Iterator[Sample]:
        match self._settings.too_long:
            case "auto" | "cut":
                self._receipt.shorten("text that was cut into pieces", place)
                for at in range(0, len(ids) - 1, most - 1):  # the last token of a piece is the first of the next
                    yield from self._kept(Sample(ids[at : at + most]), place)
            case "truncate":
                self._receipt.shorten("text that lost its end", place)
                yield from self._kept(Sample(ids[:most]), place)
            case "drop":
                self._receipt.drop("too long", place)
            case "error":
                raise _too_long(place, len(ids) - 1, most - 1)

    def _kept(self, sample: Sample | None, place: str, dropped: str = "") -> Iterator[Sample]:
        if sample is None or dropped:
            self._receipt.drop(dropped or "empty", place)
        elif len(sample.ids) < 2:
            self._receipt.drop("empty", place)
        elif sample.learned is not None and not any(sample.learned[1:]):
            self._receipt.drop("nothing in it is learned", place)
        else:
            yield from self._counted(sample)

    def _counted(self, sample: Sample) -> Iterator[Sample]:
        self._receipt.samples += 1
        self._receipt.tokens += len(sample.ids)
        self._receipt.learned += len(sample.ids) if sample.learned is None else sum(sample.learned)
        yield sample

    def _encoded(self, placed: Placed) -> Made:
        """Of a row that is no text. What the template refuses is broken."""
        row = self._as_question(placed)
        try:
            if isinstance(row, Completion):
                return self._completion(row, placed.place)
            return self._chat(row, placed.place)
        except UsageError as error:
            return Made(None, broken=error.message)

    def _as_question(self, placed: Placed) -> Chat | Completion:
        row = placed.row
        if isinstance(row, Pair | Preference | Solution):
            name = {Pair: "pairs", Preference: "preference", Solution: "steps"}[type(row)]
            raise BadData(
                f"{placed.place}: rows of {name} are not learned from word by word",
                "use them with the objective that they are for, or `openbook data convert FILE --to messages`",
            )
        chat = question_chat(row) if isinstance(row, Question) else row
        if self._settings.prompts != "chat" and isinstance(chat, Chat):
            put = alpaca_prompt if self._settings.prompts == "alpaca" else plain_prompt
            return put(chat, placed.place)
        assert isinstance(chat, Chat | Completion)
        return chat

    def _completion(self, row: Completion, place: str) -> Made:
        """The completion is learned, and the end behind it; a token that reaches over the border is."""
        if not row.completion:
            return Made(None, dropped="empty")
        made = continued(row, self._tokenizer, self._bos)
        if self._most is None or len(made.ids) <= self._most:
            return Made(made)
        if self._settings.too_long == "error":
            raise _too_long(place, len(made.ids) - 1, self._most - 1)
        if self._settings.too_long in ("cut", "truncate"):
            raise BadData(
                f"{place}: a completion cannot be cut, its end would never be learned",
                "say data.too_long: drop or auto",
            )
        return Made(None, dropped="too long")

    def _chat(self, row: Chat, place: str) -> Made:
        """Every turn of the assistant is learned, its end included, and nothing else."""
        made = self._rendered(row.messages, row)
        if self._most is None or len(made.ids) <= self._most:
            return Made(made)
        if self._settings.too_long == "error":
            raise _too_long(place, len(made.ids) - 1, self._most - 1)
        if self._settings.too_long == "cut":
            raise BadData(f"{place}: a chat cannot be cut into pieces", "say data.too_long: truncate, drop or auto")
        if self._settings.too_long == "drop":
            return Made(None, dropped="too long")
        turns = [place for place, one in enumerate(row.messages) if one["role"] == "assistant"]
        for turn in reversed([one for one in turns if one + 1 < len(row.messages)]):
            made = self._rendered(row.messages[: turn + 1], row)
            if len(made.ids) <= self._most:
                return Made(made, shortened="chats whose last turns were left out")
        return Made(None, dropped="too long")

    def _rendered(self, messages: Sequence[Message], row: Chat) -> Sample:
        """Special tokens that stand in what is said are text: nobody's words end a turn."""
        try:
            made = self._tokenizer.render(messages, list(row.tools) or None, literal=True)
        except ModelUnavailable as error:
            if self._tokenizer.templates:
                raise
            raise ModelUnavailable(
                error.message, f"{error.remedy}, or data.prompts=alpaca for rows of one question"
            ) from None
        return Sample(made.ids, made.mask)


def beginning_of(tokenizer: Tokenizer) -> list[int]:
    """The token of beginning, where the tokenizer puts one before a text."""
    around = tokenizer.encode("", add_special_tokens=True)
    return [tokenizer.bos_id] if tokenizer.bos_id is not None and around[:1] == [tokenizer.bos_id] else []


def continued(row: Completion, tokenizer: Tokenizer, bos: list[int]) -> Sample:
    """A prompt with its completion, which is learned, and the end behind it. `bos`: what stands before a text."""
    found = tokenizer.locate(row.prompt + row.completion)
    ids, eos = list(found.ids), tokenizer.eos_id
    learned = [end > len(row.prompt) for _, end in found.offsets]
    if ids[:1] != bos:
        ids, learned = bos + ids, [False] * len(bos) + learned
    if eos is not None and ids[-1] != eos:
        ids, learned = [*ids, eos], [*learned, True]
    return Sample(ids, learned)


def _too_long(place: str, tokens: int, most: int) -> BadData:
    return BadData(
        f"{place} has {tokens:,} tokens, a row {most:,}", "raise max_seq_len, or say data.too_long: auto, cut or drop"
    )


def _unsound(text: str) -> str:
    """Why a text has no UTF-8, as JSON can make one; empty where it has."""
    if text.isascii():
        return ""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"a lone surrogate {text[error.start]!r} at {error.start}"
    return ""
