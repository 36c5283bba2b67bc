"""GGUF files in and out: equal logits where nothing is quantized, near where it is, and broken ones refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.checkpoints import byte_tokenizer, tiny
from openbook.core.errors import ModelUnavailable
from openbook.lm.dense import dense
from openbook.lm.gguf import write
from openbook.lm.gguf.check import check_header
from openbook.lm.gguf.metadata import to_keys
from openbook.lm.gguf.names import to_halves, to_neighbours
from openbook.lm.gguf.read import GgufFile
from openbook.lm.gguf.vocabulary import write_tokenizer
from openbook.lm.gguf.write import write_gguf
from openbook.lm.load import load_model

IDS = torch.tensor([[5, 9, 200, 3, 77, 41]])
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}
KINDS = {
    "llama": {},
    "llama, tied, biases": {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    "llama, linear": {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    "llama, llama3": {"rope_scaling": LLAMA3},
    "llama, yarn": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}},
    "mistral": {"model_type": "mistral", "head_dim": 16},
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3", "head_dim": 16, "tie_word_embeddings": True},
}


def written(tmp_path: Path, dtype: str = "f32", **changes: object) -> tuple[torch.nn.Module, Path]:
    model = tiny(tmp_path / "model", **changes)
    byte_tokenizer(tmp_path / "model")
    path = tmp_path / "model.gguf"
    write_gguf(model, tmp_path / "model", path, dtype)  # type: ignore[arg-type]
    return model, path


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_holds_the_model(tmp_path: Path, kind: str) -> None:
    model, path = written(tmp_path, **KINDS[kind])
    again = load_model(path)
    assert again.config.num_kv_heads == 2
    torch.testing.assert_close(dense(again, IDS), dense(model, IDS), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "most"), [("f16", 2e-3), ("bf16", 2e-2), ("q8_0", 2e-2), ("q4_0", 0.3)])
def test_smaller_types_are_near_and_small(tmp_path: Path, dtype: str, most: float) -> None:
    model, path = written(tmp_path, dtype)
    wanted = dense(model, IDS)
    apart = (dense(load_model(path, "float32"), IDS) - wanted).norm() / wanted.norm()
    assert 0 < apart < most
    large = written(tmp_path / "plain")[1]
    assert path.stat().st_size < {"q8_0": 0.5, "q4_0": 0.45}.get(dtype, 0.7) * large.stat().st_size


def test_the_tokenizer_travels(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    _, path = written(tmp_path)
    keys = GgufFile(path).keys_read
    assert keys["tokenizer.ggml.pre"] == "qwen2"
    assert keys["tokenizer.ggml.eos_token_id"] == 257
    write_tokenizer(keys, tmp_path / "again")
    before = Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json"))
    after = Tokenizer.from_file(str(tmp_path / "again" / "tokenizer.json"))
    for text in ("The thing, 1234 times!\n\n  over", "天下大事，合久必分 🚢", "<|user|>so<|end|>", "  \t x\r\n"):
        assert after.encode(text).ids == before.encode(text).ids
        assert after.decode(after.encode(text).ids) == before.decode(before.encode(text).ids)
    said = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert said["chat_template"] == "{{ messages[0].content }}"
    assert said["eos_token"] == "<|end|>"


def test_a_window_limits_the_context(tmp_path: Path) -> None:
    _, path = written(tmp_path, model_type="mistral", sliding_window=16)
    assert GgufFile(path).keys_read["llama.context_length"] == 16


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "no rope scaling 'dynamic'"),
        ({"hidden_act": "gelu"}, "has no 'gelu'"),
        ({"vocab_size": 200}, "ids up to 258, the model has 200"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(tmp_path: Path, change: dict, cause: str) -> None:
    with pytest.raises(ModelUnavailable, match=cause):
        written(tmp_path, **change)
    assert not list(tmp_path.glob("*.gguf"))


def test_a_tokenizer_that_has_no_name_is_refused(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    byte_tokenizer(tmp_path)
    said = json.loads((tmp_path / "tokenizer.json").read_text())
    said["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "x+"
    (tmp_path / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(ModelUnavailable, match="no name for"):
        write_gguf(model, tmp_path, tmp_path / "a.gguf")


@given(heads=st.integers(1, 4), half=st.integers(1, 4), columns=st.integers(1, 3))
def test_the_order_of_channels_is_turned_and_turned_back(heads: int, half: int, columns: int) -> None:
    rows = torch.arange(heads * 2 * half * columns).view(-1, columns)
    turned = to_neighbours(rows, heads)
    assert turned[1].tolist() == rows[half].tolist()
    assert torch.equal(to_halves(turned, heads), rows)


@given(data=st.data())
def test_a_broken_file_is_refused_and_nothing_hangs(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("gguf")
    whole = bytearray(written(folder)[1].read_bytes())
    header = 4_000
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, header))
        whole[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
    path = folder / "broken.gguf"
    path.write_bytes(whole)
    try:
        load_model(path)
    except ModelUnavailable as error:
        assert error.remedy


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"GGML" + bytes(40), "does not begin as one"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version is 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "claims"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 40), "cut off"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"a", 9, 4, 9_000_000), "cut off"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"a", 9, 9, 9_000_000), "array of type 9"),
        (b"GGUF", "no valid GGUF file"),
        (b"", "no valid GGUF file"),
    ],
)
def test_headers_that_lie_are_named(tmp_path: Path, content: bytes, cause: str) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=cause):
        check_header(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.block_count", 10**9),
        ("llama.block_count", "many"),
        ("llama.attention.head_count", 0),
        ("llama.attention.head_count", [4, 4]),
        ("llama.embedding_length", [32]),
        ("llama.rope.freq_base", "x"),
        ("llama.context_length", "x"),
        ("llama.vocab_size", [300]),
    ],
)
def test_settings_of_a_file_that_cannot_be_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: object
) -> None:
    monkeypatch.setattr(write, "to_keys", lambda config: to_keys(config) | {key: value})
    with pytest.raises(ModelUnavailable) as raised:
        load_model(written(tmp_path)[1])
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tokenizer.ggml.tokens", ["a"]),
        ("tokenizer.ggml.tokens", 7),
        ("tokenizer.ggml.token_type", [1]),
        ("tokenizer.ggml.merges", 7),
        ("tokenizer.ggml.eos_token_id", 10**6),
        ("tokenizer.ggml.eos_token_id", "x"),
    ],
)
def test_a_broken_tokenizer_of_a_file_is_refused(tmp_path: Path, key: str, value: object) -> None:
    keys = GgufFile(written(tmp_path)[1]).keys_read
    with pytest.raises(ModelUnavailable, match="is broken"):
        write_tokenizer(keys | {key: value}, tmp_path / "out")
    del keys["tokenizer.ggml.tokens"]
    with pytest.raises(ModelUnavailable, match="is broken"):
        write_tokenizer(keys, tmp_path / "out")
    assert not (tmp_path / "out").exists()
