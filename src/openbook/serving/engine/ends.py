"""Which tokens end an answer, as a checkpoint says it."""

from __future__ import annotations

from pathlib import Path

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import read_json
from openbook.lm.families.base import Family


def end_tokens_of(directory: Path, model: Family) -> frozenset[int]:
    """The ids that end an answer, of generation_config.json and config.json, or of a GGUF file."""
    found: set[int] = set()
    path = directory / "generation_config.json"
    for said in (model.carried, read_json(path) if path.is_file() else {}):
        ids = said.get("eos_token_id")
        each = ids if isinstance(ids, list) else [] if ids is None else [ids]
        if odd := [one for one in each if not isinstance(one, int)]:
            raise ModelUnavailable(f"eos_token_id of {directory} holds {odd[0]!r}", "write the number of a token")
        found |= set(each)
    return frozenset(found)
