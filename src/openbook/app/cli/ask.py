"""`openbook ask` and `chat`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Annotated

import typer

from openbook.app.cli.options import (
    CollectionOption,
    FilterOption,
    JsonOption,
    LibraryOption,
    RerankDepthOption,
    RerankOption,
    opened,
    print_json,
    reranking,
    settings,
    shown_path,
    visible,
    warn,
)

if TYPE_CHECKING:
    from openbook.assistant.answer.answer import Answer, Citation

_ABSTAINED = 3
_WORDS = {
    "en": {
        "near": "near",
        "quotation": "a quotation",
        "written": "written by {}",
        "foot": "({}; confidence {:.2f})",
        "searched": "(searched for: {})",
        "welcome": "You're welcome. Ask on, or press Enter to end.",
    },
    "zh": {
        "near": "相近",
        "quotation": "原文摘录",
        "written": "由 {} 撰写",
        "foot": "（{}；置信度 {:.2f}）",
        "searched": "（检索的问题：{}）",
        "welcome": "不客气。可以接着问，直接按回车结束。",
    },
}
ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="DIR|URL|URL#NAME|NAME", help="Who writes the answer; without it, a quotation."),
]
MaxWrongOption = Annotated[
    float | None,
    typer.Option("--max-wrong", metavar="SHARE", help="Share of unanswerable questions that may be answered."),
]


def ask(
    question: Annotated[str, typer.Argument(help="In English or Chinese.")],
    model: ModelOption = None,
    max_wrong: MaxWrongOption = None,
    filter_: FilterOption = None,
    collection: CollectionOption = None,
    library: LibraryOption = None,
    rerank: RerankOption = None,
    rerank_depth: RerankDepthOption = None,
    fail_on_abstain: Annotated[bool, typer.Option("--fail-on-abstain", help="Exit with 3 without an answer.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Answer a question with citations that were checked, or say that the library has no answer."""
    chosen = settings()
    with opened(library) as desk:
        answer = desk.ask(
            question,
            model=model or chosen.model,
            max_wrong=chosen.max_wrong if max_wrong is None else max_wrong,
            filters=filter_ or (),
            collections=[collection] if collection else None,
            on_text=None if as_json else _stream_to_terminal(),
            **reranking(rerank, rerank_depth),
        )
    if as_json:
        print_json(answer.to_json())
    else:
        print_answer(answer)
    if answer.abstained and fail_on_abstain:
        sys.exit(_ABSTAINED)


def chat(
    model: ModelOption = None,
    max_wrong: MaxWrongOption = None,
    filter_: FilterOption = None,
    collection: CollectionOption = None,
    library: LibraryOption = None,
    rerank: RerankOption = None,
    rerank_depth: RerankDepthOption = None,
) -> None:
    """Ask in a conversation; follow-up questions are understood from what went before. An empty line ends it."""
    from openbook.assistant.answer.courtesy import without_courtesies

    chosen = settings()
    history: list[tuple[str, str]] = []
    said: set[str] = set()
    with opened(library) as desk:
        while True:
            try:
                question = input("? ").strip()
            except EOFError:
                break
            if not question:
                break
            if not without_courtesies(question):
                print(_WORDS["zh" if _is_chinese(question) else "en"]["welcome"])
                continue
            answer = desk.ask(
                question,
                model=model or chosen.model,
                max_wrong=chosen.max_wrong if max_wrong is None else max_wrong,
                history=history,
                filters=filter_ or (),
                collections=[collection] if collection else None,
                on_text=_stream_to_terminal(),
                **reranking(rerank, rerank_depth),
            )
            if answer.standalone and answer.standalone != question:
                print("  " + _WORDS["zh" if _is_chinese(question) else "en"]["searched"].format(answer.standalone))
            print_answer(answer, said)
            said |= set(answer.warnings)
            history.append((question, answer.answer))


def _stream_to_terminal() -> Callable[[str], None] | None:
    """Shows a model's words, dimmed, as they arrive; the checked answer follows. None where no person watches."""
    if not sys.stdout.isatty():
        return None

    def show(piece: str) -> None:
        print(f"\x1b[2m{piece}\x1b[0m", end="", flush=True)

    return show


def print_answer(answer: Answer, said: Collection[str] = ()) -> None:
    """The answer with its marks, then each citation with its place; or the abstention and what came near."""
    if answer.mode == "generative" and sys.stdout.isatty():
        print("\n")
    if answer.abstained:
        print(answer.answer)
        for hit in answer.nearest:
            text = visible(" ".join(hit.text.split()))
            place = f", page {hit.page}" if hit.page else ""
            near = _WORDS["zh" if _is_chinese(answer.question) else "en"]["near"]
            print(f"  {near}: {shown_path(hit.path)}{place}: {text[:160]}{' ...' if len(text) > 160 else ''}")
    else:
        print(visible(answer.marked))
        print()
        for citation in answer.citations:
            _print_citation(citation)
    words = _WORDS["zh" if _is_chinese(answer.question) else "en"]
    if not answer.abstained:
        who = words["quotation"] if answer.mode == "extractive" else words["written"].format(answer.model)
        print(words["foot"].format(who, answer.confidence))
    for warning in answer.warnings:
        if warning not in said:
            warn(warning)


def _is_chinese(text: str) -> bool:
    from openbook.library.lexical.language import detect_language

    return detect_language(text) == "zh"


def _print_citation(citation: Citation) -> None:
    places = [f"page {citation.page}"] if citation.page else []
    cells = [f"{anchor.sheet}!{anchor.cell}" for anchor in citation.anchors if anchor.sheet and anchor.cell]
    places += [", ".join(cells[:6])] if cells else []
    places += [visible(" > ".join(citation.heading))] if citation.heading else []
    stale = "  (the file has changed since)" if citation.stale else ""
    print(f"[{citation.n}] {shown_path(citation.path)}" + (f" ({'; '.join(places)})" if places else "") + stale)
    if citation.table_header:
        print(f"    | {' '.join(citation.table_header.split())}")
    print(f"    “{visible(' '.join(citation.quote.split()))}”")
    if citation.words is not None:
        start, end = (place - citation.start for place in citation.words)
        print(f"    → {visible(' '.join(citation.quote[start:end].split()))}")
    for failure in citation.failed:
        print(f"    ! {failure}")
