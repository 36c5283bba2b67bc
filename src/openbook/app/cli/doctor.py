"""`openbook doctor`."""

from __future__ import annotations

import importlib.util
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from openbook.app.cli.options import JsonOption, LibraryOption, print_json, settings

_PARTS = {
    "torch": "models",
    "numba": "fast kernels",
    "apsw": "catalogue",
    "rjieba": "Chinese words",
    "pypdfium2": "PDF",
    "pdfplumber": "tables in PDF",
    "lxml": "docx, xlsx, pptx",
    "selectolax": "HTML",
    "python-oxmsg": "Outlook mail",
}


def doctor(library: LibraryOption = None, as_json: JsonOption = False) -> None:
    """Say what is installed, which models are found where, and what is missing and how to get it."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "openbook": version("openbook"),
        "parts": {name: _version(name) for name in _PARTS},
        "embedder": _embedder(),
        "ocr": "installed" if importlib.util.find_spec("rapidocr") else None,
        "library": _library(library),
        "generator": settings().model,
    }
    if as_json:
        print_json(facts)
        return
    print(f"openbook {facts['openbook']}, Python {facts['python']}")
    for name, found in facts["parts"].items():
        print(f"  {'ok ' if found else 'NO '} {name:14} {found or 'missing: pip install ' + name:12}  {_PARTS[name]}")
    print(f"  {facts['embedder']['line']}")
    print(
        "  ok  ocr            installed"
        if facts["ocr"]
        else "  --  ocr            optional: pip install rapidocr onnxruntime"
    )
    generator = facts["generator"]
    print(
        f"  ok  generator      {generator}"
        if generator
        else "  --  generator      none: `ask` quotes; --model names one"
    )
    for line in facts["library"]["lines"]:
        print(f"  {line}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _embedder() -> dict[str, object]:
    from openbook.core.errors import OpenbookError
    from openbook.library.embed.describe import describe_default

    try:
        found = describe_default()
    except OpenbookError as error:
        return {"line": f"NO  embedder       {error}"}
    if found is None:
        return {"line": "--  embedder       none: search uses BM25 alone; `openbook setup embedder` installs one"}
    languages = ", ".join(sorted(found.languages))
    note = "" if "zh" in found.languages else "; it has no Chinese: Chinese questions use BM25 alone"
    return {
        "name": found.name,
        "path": str(found.directory),
        "languages": sorted(found.languages),
        "line": f"ok  embedder       {found.name} ({languages}) in {found.directory}{note}",
    }


def _library(name: str | None) -> dict[str, object]:
    from openbook.core.paths import library_path
    from openbook.library.catalogue import reads
    from openbook.library.catalogue.catalogue import is_library
    from openbook.library.catalogue.scope import OWNER
    from openbook.library.store import LibraryStore

    directory = library_path(name or settings().library)
    if not is_library(directory):
        return {"path": str(directory), "lines": [f"--  library        none in {directory} yet: `openbook add PATH`"]}
    store = LibraryStore(directory)
    with store.catalogue.read() as connection:
        generation = store.generation()
        counts = reads.counts(connection, OWNER, generation.id)
    store.close()
    text = ", ".join(f"{count} {what}" for what, count in counts.items())
    lines = [f"ok  library        {directory}: {text}, embedder {generation.embedder or 'none'}"]
    if generation.embedder is None:
        lines.append("--  vectors        none: `openbook reembed default` adds them")
    return {"path": str(directory), "counts": counts, "lines": lines}
