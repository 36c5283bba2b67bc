"""A question answered from the library: searched, weighed, and quoted or written; or honestly not answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from openbook.assistant.answer.answer import Answer, Sentence
from openbook.assistant.answer.articles import own_articles, with_references
from openbook.assistant.answer.confidence import probability, threshold
from openbook.assistant.answer.evidence import gather
from openbook.assistant.answer.extract import SENTENCES, Quotation, quote
from openbook.assistant.answer.foreign import foreign_library, foreign_passages
from openbook.assistant.answer.reading import shipped_reader
from openbook.core.errors import UsageError
from openbook.library.catalogue.scope import OWNER, Scope
from openbook.library.lexical.language import detect_language
from openbook.library.retrieve.hit import SearchResult
from openbook.library.retrieve.reranker import Wanted
from openbook.library.retrieve.search import Stopwatch, search
from openbook.library.store import LibraryStore

if TYPE_CHECKING:
    from openbook.core.messages import ChatModel

_HITS = 10
_USUAL = Wanted(purpose="ask")
_NEAREST = 3
_NO_ANSWER = {
    "en": "The library has no answer to this question.",
    "zh": "文库中没有这个问题的答案。",
}


@runtime_checkable
class Closeable(Protocol):
    def close(self) -> None: ...


def ask(
    store: LibraryStore,
    question: str,
    *,
    model: str | ChatModel | None = None,
    max_wrong: float = 0.10,
    history: Sequence[tuple[str, str]] = (),
    scope: Scope = OWNER,
    sentences: int = SENTENCES,
    on_text: Callable[[str], None] | None = None,
    reranking: Wanted = _USUAL,
) -> Answer:
    """An answer with checked citations, or an abstention with the nearest passages.

    `on_text` gets the pieces of a model's answer as they arrive, before they are checked.

    Without `model` it is one quotation of at most `sentences` sentences. `max_wrong`: the share of the questions
    whose answer is missing in the library that may be answered all the same. Raises `UsageError`.
    """
    if not 0.0 < max_wrong <= 1.0:
        raise UsageError(f"max_wrong {max_wrong!r} is out of range", "a share above 0 and up to 1, such as 0.05")
    watch = Stopwatch()
    with watch.stage("rewrite"):
        standalone = _standalone(question, history)
    with _opened(model) as chat:
        with store.catalogue.read() as connection:  # one state of the library for searching, weighing and quoting
            with watch.stage("search"):
                found = search(store, with_references(standalone), _HITS, scope=scope, reranking=reranking)
                result = own_articles(standalone, found)
            with watch.stage("weigh"):
                evidence = gather(store, standalone, result, scope=scope, reader=shipped_reader)
                confidence = probability(evidence)
            warnings = [*result.warnings, *_unfitted(result)]
            foreign = foreign_passages(store, result)
            abstains = not evidence.units or confidence < threshold(evidence.point, max_wrong)
            if foreign or abstains:
                reason = foreign or foreign_library(store, connection, scope, result)
                sure = 0.0 if foreign or not evidence.units else confidence
                return _abstained(question, standalone, sure, result, watch, [*warnings, *([reason] if reason else [])])
            if chat is None:
                with watch.stage("quote"):
                    quotation = quote(store, evidence, sentences=sentences)
                assert quotation is not None, "there are units"
                return _quoted(question, standalone, quotation, confidence, result, watch, warnings)
        from openbook.assistant.answer.generate import generate_answer

        return generate_answer(
            store,
            question,
            standalone,
            result,
            chat,
            confidence=confidence,
            watch=watch,
            warnings=warnings,
            on_text=on_text,
        )


@contextmanager
def _opened(model: str | ChatModel | None) -> Iterator[ChatModel | None]:
    """The model, opened by name before anything else, so that a wrong name is said at once; closed at the end."""
    if not isinstance(model, str):
        yield model
        return
    from openbook.serving.models import open_chat_model

    chat = open_chat_model(model)
    try:
        yield chat
    finally:
        if isinstance(chat, Closeable):
            chat.close()


def _unfitted(result: SearchResult) -> Iterator[str]:
    """What to know where passages were reranked: the thresholds of abstention were fitted on the order of the search alone."""
    if result.rerank is None or not result.rerank.scored:
        return
    if result.language == "zh":
        yield "段落已重排，而置信度和 max_wrong 的阈值是在不重排时拟合的：没有答案的问题被回答的比例可能不同"
    else:
        yield (
            "the passages were reranked, but confidence and the thresholds of max_wrong were fitted without: "
            "more or fewer questions without an answer may be answered than max_wrong says"
        )


def _standalone(question: str, history: Sequence[tuple[str, str]]) -> str:
    """The question as it would be asked without what went before."""
    if not history:
        return question
    from openbook.assistant.answer.rewrite import standalone

    return standalone(question, history)


def _quoted(
    question: str,
    standalone: str,
    found: Quotation,
    confidence: float,
    result: SearchResult,
    watch: Stopwatch,
    warnings: list[str],
) -> Answer:
    citation = found.citation
    return Answer(
        question=question,
        answer=citation.quote,
        abstained=False,
        confidence=confidence,
        mode="extractive",
        model=None,
        generation=result.generation,
        sentences=(Sentence(0, len(citation.quote), (citation.n,), True),),
        citations=(citation,),
        standalone=standalone,
        timings_ms=_timings(result, watch),
        warnings=tuple(warnings),
    )


def _abstained(
    question: str, standalone: str, confidence: float, result: SearchResult, watch: Stopwatch, warnings: list[str]
) -> Answer:
    """That the library has no answer, in the language of the question, with the passages that came near."""
    language = "zh" if detect_language(question) == "zh" else "en"
    return Answer(
        question=question,
        answer=_NO_ANSWER[language],
        abstained=True,
        confidence=confidence,
        mode="extractive",
        model=None,
        generation=result.generation,
        nearest=tuple(result.hits[:_NEAREST]),
        standalone=standalone,
        timings_ms=_timings(result, watch),
        warnings=tuple(warnings),
    )


def _timings(result: SearchResult, watch: Stopwatch) -> dict[str, float]:
    """Milliseconds of the stages; those within the search by their own names."""
    inner = {f"search.{name}": spent for name, spent in result.timings_ms.items() if name != "total"}
    return inner | watch.total()
