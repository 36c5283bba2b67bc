"""Why a question has no answer here: it is in another language than the documents, and no embedder knows both."""

from __future__ import annotations

import apsw

from openbook.library.catalogue.languages import document_languages
from openbook.library.catalogue.scope import Scope
from openbook.library.retrieve.hit import SearchResult
from openbook.library.store import LibraryStore

_NAMES = {"zh": "Chinese", "en": "English", "ja": "Japanese", "ko": "Korean", "de": "German", "fr": "French"}
_NAMES_ZH = {"zh": "中文", "en": "英文", "ja": "日文", "ko": "韩文", "de": "德文", "fr": "法文"}
_FEW = 0.1
"""Below this share of the documents a language is not one that the library can be asked in."""


def foreign_passages(store: LibraryStore, result: SearchResult) -> str | None:
    """Why no passage that was found can be compared with the question; None when one can, or none was found."""
    found = {hit.language for hit in result.hits}
    if not found or found & _understood(store, result.language):
        return None
    return _words(result.language, found, "找到的段落是", "the passages found are in")


def foreign_library(store: LibraryStore, connection: apsw.Connection, scope: Scope, result: SearchResult) -> str | None:
    """Why the documents themselves can hardly answer a question in this language; None when enough of them can.

    It holds also where nothing was found, or only a stray passage in the language of the question.
    """
    languages = document_languages(connection, scope)
    total = sum(languages.values())
    understood = _understood(store, result.language)
    near = sum(count for language, count in languages.items() if language in understood)
    if not total or near >= _FEW * total:
        return None
    others = {one for one, count in languages.items() if one not in understood and count >= _FEW * total}
    return _words(result.language, others, "文档是", "the documents are in") if others else None


def _understood(store: LibraryStore, language: str) -> frozenset[str]:
    """The languages of passages that can be compared with a question in `language`."""
    known = store.languages(store.generation())
    return (known if language in known else frozenset()) | {language}


def _words(asked: str, found: set[str], verb_zh: str, verb: str) -> str:
    if asked == "zh":
        held = "、".join(sorted(_NAMES_ZH.get(one, one) for one in found))
        return (
            f"问题是中文，{verb_zh}{held}，而资料库的向量模型不同时懂这些语言："
            "请用文档的语言提问，或用 `openbook reembed` 换一个都懂的向量模型"
        )
    held = ", ".join(sorted(_NAMES.get(one, one) for one in found))
    return (
        f"the question is in {_NAMES.get(asked, asked)}, {verb} {held}, and the library's embedder does not know both: "
        "ask in the language of the documents, or `openbook reembed` with an embedder for both"
    )
