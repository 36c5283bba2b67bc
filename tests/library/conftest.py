"""Small libraries to test on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from doubles import HashEmbedder
from openbook.assistant.desk import Library
from openbook.library.split.settings import SplitSettings

OpenLibrary = Callable[..., Library]


@pytest.fixture
def open_library(tmp_path: Path) -> Iterator[OpenLibrary]:
    """Opens (and makes) libraries with the hash embedder; all are closed at the end."""
    opened: list[Library] = []

    def open_(name: str = "library", **options: object) -> Library:
        options.setdefault("embedder", HashEmbedder())
        options.setdefault("split", SplitSettings(chunk_tokens=32))
        library = Library.open(tmp_path / name, **options)  # type: ignore[arg-type]
        opened.append(library)
        return library

    yield open_
    for library in opened:
        library.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three small documents in two languages."""
    root = tmp_path / "docs"
    root.mkdir()
    (root / "ferry.md").write_text(
        "# Ferry\n\nThe ferry leaves at 08:15 from pier 3.\n\n## Price\n\nA ticket costs 12 euros.\n"
    )
    (root / "hall.txt").write_text("The hall is painted blue.\n\nIts key is kept by the warden.\n")
    (root / "渡轮.md").write_text("# 渡轮\n\n渡轮早上八点从三号码头出发。\n")
    return root
