"""The part of `report.html` that tells what a fine-tune has forgotten."""

from __future__ import annotations

import html
import json
from pathlib import Path

NAME = "forgetting.json"


def forgetting_part(run: Path) -> str:
    """A table of the measures before and after; nothing where the run has none."""
    try:
        rows = json.loads((run / NAME).read_text("utf-8"))["measures"]
        cells = [(str(row["name"]), float(row["before"]), float(row["after"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    lines = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{old:.4g}</td><td>{new:.4g}</td></tr>" for name, old, new in cells
    )
    return f"<h2>what was known before</h2><table><tr><th></th><th>before</th><th>after</th></tr>{lines}</table>"
