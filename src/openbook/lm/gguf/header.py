"""The head of a GGUF file, without its weights and without torch: its settings, and of each tensor name, shape and type."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from openbook.core.errors import ModelUnavailable
from openbook.lm.gguf.check import check_header


class Header(NamedTuple):
    """`keys`: the file's settings. `tensors`: by llama.cpp's names, as the `gguf` package has them (mapped, not read)."""

    keys: dict[str, Any]
    tensors: dict[str, Any]


def read_header(path: Path) -> Header:
    """Raises ModelUnavailable for a file that is no GGUF file, cut off, or broken."""
    from gguf import GGUFReader

    check_header(path)
    try:
        reader = GGUFReader(path)
        keys = {name: field.contents() for name, field in reader.fields.items()}
        return Header(keys, {one.name: one for one in reader.tensors})
    except Exception as error:  # the library trusts its input and fails in many ways
        raise ModelUnavailable(f"{path} is no valid GGUF file: {error}", "get a complete copy") from error
