"""Jupyter notebooks: text cells as Markdown, code cells with their text output."""

from __future__ import annotations

import json
import re
from typing import Any

from openbook.library.documents.build import Builder
from openbook.library.documents.model import Document
from openbook.library.documents.readers.markdown import add_markdown
from openbook.library.documents.readers.plain import decoded_text
from openbook.library.documents.source import Source

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MAX_OUTPUT = 20_000


def read(source: Source) -> Document:
    builder = Builder("ipynb")
    try:
        notebook = json.loads(decoded_text(source, builder))
        cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
    except (json.JSONDecodeError, KeyError, IndexError, TypeError) as error:
        raise source.unreadable(f"it is no valid notebook ({error})", "open it in Jupyter and save it again") from None
    pictures = 0
    for cell in cells:
        text = _joined(cell.get("source", cell.get("input", "")))
        if cell.get("cell_type") == "code":
            builder.add("code", text)
            for output in cell.get("outputs", []):
                pictures += _add_output(builder, output)
        else:
            add_markdown(builder, text)
    if pictures:
        builder.missing(f"{pictures} output pictures were not read")
    metadata = notebook.get("metadata", {})
    title = metadata.get("title", "") if isinstance(metadata, dict) else ""
    return builder.document(title if isinstance(title, str) else "", otherwise=source.stem)


def _add_output(builder: Builder, output: dict[str, Any]) -> int:
    """Adds the text of an output; returns how many pictures it holds."""
    data = output.get("data", {})
    text = _joined(output.get("text") or data.get("text/plain") or output.get("traceback") or "")
    if len(text) > _MAX_OUTPUT:
        builder.missing(f"an output of {len(text):,} characters was cut to {_MAX_OUTPUT:,}")
        text = text[:_MAX_OUTPUT]
    builder.add("code", _COLOUR.sub("", text), part="output")
    return sum(kind.startswith("image/") for kind in data)


def _joined(text: Any) -> str:
    return "".join(map(str, text)) if isinstance(text, list) else str(text)
