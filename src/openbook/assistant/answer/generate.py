"""An answer written by a language model from the passages found: asked, cited, checked; or an honest abstention."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from openbook.assistant.answer.answer import Answer
from openbook.assistant.answer.candidates import units_of
from openbook.assistant.answer.cite import Cited, cite
from openbook.assistant.answer.prompt import (
    NOT_ANSWERED,
    Language,
    Passage,
    Prompt,
    build_prompt,
    is_abstention,
    language_of,
)
from openbook.core.messages import ChatModel, ChatRequest, Completion
from openbook.library.catalogue import reads
from openbook.library.retrieve.hit import Hit, SearchResult
from openbook.library.retrieve.search import Stopwatch
from openbook.library.store import LibraryStore
from openbook.serving.models import open_chat_model
from openbook.serving.remote import RemoteChatModel

NEAREST = 3
MOST_CHARACTERS = 20_000
_LONGEST_RUN = 24
_LONG_RUN = re.compile(r"[^\S\n]{25,}|[\d.,\-\[\]]{25,}")
_THOUGHT = re.compile(r"^\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)


class _Written(NamedTuple):
    text: str
    is_cut: bool


def generate_answer(
    store: LibraryStore,
    question: str,
    standalone: str,
    result: SearchResult,
    model: str | ChatModel,
    *,
    confidence: float,
    watch: Stopwatch,
    warnings: Sequence[str] = (),
    on_text: Callable[[str], None] | None = None,
) -> Answer:
    """What `model` writes to `standalone` from the hits of `result`, with citations that were resolved and checked.

    An abstention where the model says that there is no answer, writes none, or one that nothing supports. `on_text` is called
    with each piece as it comes, marks included. Raises `ModelUnavailable`, `UsageError`.
    """
    chat = open_chat_model(model) if isinstance(model, str) else model
    try:
        with watch.stage("prompt"):
            prompt = build_prompt(standalone, _passages(store, result.hits), chat.limits)
        with watch.stage("generate"):
            written = _written(chat, prompt.request, on_text)
        with watch.stage("cite"):
            hits = result.hits[: prompt.used]
            found = None if not written.text or is_abstention(written.text) else cite(store, written.text, hits)
        said = [*warnings, *_warnings(chat, prompt, written, found, language_of(standalone))]
        name = chat.name
    finally:
        if isinstance(model, str) and isinstance(chat, RemoteChatModel):
            chat.close()
    abstained = found is None or not found.citations
    timings = {
        f"search.{stage}": spent for stage, spent in result.timings_ms.items() if stage != "total"
    } | watch.total()
    return Answer(
        question=question,
        answer=NOT_ANSWERED[language_of(standalone)] if abstained or found is None else found.text,
        abstained=abstained,
        confidence=confidence,
        mode="generative",
        model=name,
        generation=result.generation,
        sentences=() if abstained or found is None else found.sentences,
        citations=() if abstained or found is None else found.citations,
        nearest=tuple(result.hits[:NEAREST]) if abstained else (),
        standalone=standalone,
        timings_ms=timings,
        warnings=tuple(dict.fromkeys(said)),
    )


def _passages(store: LibraryStore, hits: Sequence[Hit]) -> list[Passage]:
    """The hits, with the header of a table of which they hold only later rows."""
    with store.catalogue.read() as connection:
        headers: dict[int, str] = {}
        for unit in units_of(connection, hits):
            if unit.header is not None and unit.header[0] < hits[unit.hit].start:
                document = int(hits[unit.hit].document_id[1:])
                headers.setdefault(unit.hit, " ".join(reads.text_between(connection, document, *unit.header).split()))
    return [Passage(hit, headers.get(place, "")) for place, hit in enumerate(hits)]


def _written(chat: ChatModel, request: ChatRequest, on_text: Callable[[str], None] | None) -> _Written:
    """The answer without what a reasoning model thought before it; empty where it wrote nothing but blanks or thoughts."""
    completion = chat.complete(request) if on_text is None else _streamed(chat, request, on_text)
    text = bounded(_THOUGHT.sub("", completion.text).strip())
    is_cut = completion.finish_reason == "length" or len(completion.text) > MOST_CHARACTERS
    return _Written(text, is_cut)


def bounded(text: str) -> str:
    """At most `MOST_CHARACTERS`, without lone surrogates, and with long runs of blanks or digits shortened: no answer is
    worth minutes of checking, whoever wrote it.
    """
    text = text[:MOST_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    return _LONG_RUN.sub(lambda run: run[0][:_LONGEST_RUN], text)


def _streamed(chat: ChatModel, request: ChatRequest, on_text: Callable[[str], None]) -> Completion:
    """Passes the pieces on; a stream that returns its completion tells why it ended."""
    pieces: list[str] = []
    stream: Iterator[str] = chat.stream(request)
    while True:
        try:
            piece = next(stream)
        except StopIteration as end:
            whole = "".join(pieces)
            return end.value if isinstance(end.value, Completion) else Completion(whole, "stop")
        pieces.append(piece)
        on_text(piece)


def _warnings(
    chat: ChatModel, prompt: Prompt, written: _Written, found: Cited | None, language: Language
) -> Iterator[str]:
    """What the user should know, in the language of the question."""
    zh = language == "zh"
    used, left_out = prompt.used, prompt.left_out
    if isinstance(chat, RemoteChatModel) and not chat.endpoint.is_loopback:
        host, is_plain = chat.endpoint.host, not chat.endpoint.is_encrypted
        yield (
            f"问题和 {used} 段资料已发送到 {host}{'（未加密）' if is_plain else ''}"
            if zh
            else f"the question and {_passages_said(used)} were sent to {host}{', unencrypted' if is_plain else ''}"
        )
    if left_out:
        were = "was" if left_out == 1 else "were"
        yield (
            f"有 {left_out} 段资料放不进提示，没有发送"
            if zh
            else f"{_passages_said(left_out)} did not fit into the prompt and {were} left out"
        )
    if not written.text:
        cut_zh, cut_en = (
            ("，就达到了长度上限", " before it was cut off at the longest length") if written.is_cut else ("", "")
        )
        yield f"模型没有写出回答{cut_zh}" if zh else f"the model wrote no answer{cut_en}"
    elif written.is_cut:
        yield "回答达到长度上限，被截断" if zh else "the answer was cut off at the longest length"
    if found is None:
        return
    if found.unknown:
        numbers = ", ".join(f"[{n}]" for n in found.unknown)
        yield (
            f"回答引用了没有提供的 {numbers}：已去掉"
            if zh
            else f"the answer cited {numbers}, which it was not given: dropped"
        )
    count, of = found.unsupported, len(found.sentences)
    if not found.citations:
        yield (
            "模型写的回答没有任何资料支持：不予显示"
            if zh
            else "the model wrote an answer that no passage supports: it is not shown"
        )
    elif count:
        yield (
            f"{of} 句中有 {count} 句与所引资料不符"
            if zh
            else f"{count} of {of} sentences {'is' if count == 1 else 'are'} not borne out by the passages cited"
        )


def _passages_said(count: int) -> str:
    return f"{count} passage{'' if count == 1 else 's'}"
