"""A line about a checkpoint, whatever is in it: one that is broken spoils no list of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lm.checkpoints import byte_tokenizer, tiny
from openbook.core.errors import UsageError
from openbook.lm.convert import convert
from openbook.lm.describe import brief, describe
from openbook.lm.fresh import write_fresh


def test_a_line_of_a_checkpoint(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    found = brief(tmp_path, "tiny")
    assert (found.model_type, found.dtype) == ("llama", "F32")
    assert found.parameters == sum(one.numel() for one in model.parameters())


@pytest.mark.parametrize(
    "header",
    [
        [],
        "x",
        {"a": 1},
        {"a": {}},
        {"a": {"dtype": "F32", "shape": 3}},
        {"a": {"dtype": "F32", "shape": [10**12, "x"]}},
        {"a": {"dtype": [], "shape": [1]}},
        "[" * 50_000,
    ],
    ids=lambda header: str(header)[:30],
)
def test_a_header_that_cannot_be_is_told_in_its_line(tmp_path: Path, header: Any) -> None:
    tiny(tmp_path)
    text = header.encode() if isinstance(header, str) and header[0] == "[" else json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    found = brief(tmp_path, "tiny")
    assert (found.model_type, found.dtype) == ("?", "?")
    assert found.fault.startswith("model.safetensors cannot be read: ")


@pytest.mark.parametrize(("context", "cause"), [(1_000, "64 places"), (10**12, "64 places")])
def test_a_context_beyond_the_places_of_a_model_is_refused(tmp_path: Path, context: int, cause: str) -> None:
    write_fresh(tmp_path / "new", "gpt2", "1m", max_seq_len=64)
    with pytest.raises(UsageError, match=cause):
        describe(tmp_path / "new", context=context, batch=1)


def test_a_context_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    tiny(tmp_path)
    with pytest.raises(UsageError, match="more than 16,777,216"):
        describe(tmp_path, context=10**12, batch=1)


def test_without_a_context_it_is_what_the_model_has_places_for(tmp_path: Path) -> None:
    for family, size in (("gpt2", 64), ("bert", 512), ("llama", 8_192)):
        write_fresh(tmp_path / family, family, "1m", max_seq_len=size)
        assert describe(tmp_path / family).context == min(size, 4_096)
    write_fresh(tmp_path / "t5", "t5", "1m")
    assert describe(tmp_path / "t5").context == 4_096


def test_a_context_beyond_what_a_rotary_model_was_made_for_is_told(tmp_path: Path) -> None:
    tiny(tmp_path)
    assert describe(tmp_path, context=64).notes == ()
    (note,) = describe(tmp_path, context=65).notes
    assert "65 tokens are more than the 64 that the model was made for" in note
    assert f"  note          {note}" in list(describe(tmp_path, context=65).lines())
    write_fresh(tmp_path / "t5", "t5", "1m")
    assert describe(tmp_path / "t5", context=100_000).notes == (), "distances have no end"


def test_the_type_in_the_file_is_told_where_it_is_computed_in_another(tmp_path: Path) -> None:
    tiny(tmp_path / "model")
    assert describe(tmp_path / "model", context=8).stored == ""
    assert describe(tmp_path / "model", context=8, dtype="bfloat16").stored == "F32"
    byte_tokenizer(tmp_path / "model")
    for dtype, said in (("q8_0", "Q8_0"), ("bfloat16", "")):
        convert(tmp_path / "model", tmp_path / f"{dtype}.gguf", "gguf", dtype)
        found = describe(tmp_path / f"{dtype}.gguf", context=8)
        assert found.stored == said
    lines = list(describe(tmp_path / "q8_0.gguf", context=8).lines())
    assert "  architecture  llama, float32 (stored as Q8_0)" in lines


def test_a_line_of_a_gguf_file(tmp_path: Path) -> None:
    model = tiny(tmp_path / "model")
    byte_tokenizer(tmp_path / "model")
    path = tmp_path / "small.gguf"
    convert(tmp_path / "model", path, "gguf", "q8_0")
    parameters = sum(one.numel() for one in model.parameters())
    assert brief(path, "small.gguf") == ("small.gguf", "llama", parameters, "Q8_0", path.stat().st_size, "")
    path.write_bytes(path.read_bytes()[:200])
    assert "GGUF" in brief(path, "small.gguf").fault
