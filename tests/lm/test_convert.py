"""Checkpoints in other forms, and from pickles: tensors come over, code does not run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lm.checkpoints import byte_tokenizer, tiny
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.compare import differences
from openbook.lm.convert import convert
from openbook.lm.dense import dense
from openbook.lm.gguf.read import GgufFile
from openbook.lm.load import load_model, new_model, save_model
from openbook.lm.presets import new_config

IDS = torch.tensor([[5, 9, 200, 3]])


def test_there_and_back_through_gguf(tmp_path: Path) -> None:
    model = tiny(tmp_path / "model")
    byte_tokenizer(tmp_path / "model")
    made = convert(tmp_path / "model", tmp_path / "model.gguf", "gguf", "float32")
    assert made.bytes == made.path.stat().st_size
    convert(made.path, tmp_path / "again", "safetensors")
    assert (tmp_path / "again" / "tokenizer.json").is_file()
    assert torch.allclose(dense(load_model(tmp_path / "again"), IDS), dense(model, IDS), atol=1e-6)


def test_another_dtype_with_what_belongs_to_it(tmp_path: Path) -> None:
    tiny(tmp_path / "model")
    byte_tokenizer(tmp_path / "model")
    convert(tmp_path / "model", tmp_path / "half", "safetensors", "bfloat16")
    assert load_model(tmp_path / "half").dtype == torch.bfloat16
    assert (tmp_path / "half" / "tokenizer.json").read_bytes() == (tmp_path / "model" / "tokenizer.json").read_bytes()


def pickled(tmp_path: Path, dtype: str | None = None) -> Path:
    tiny(tmp_path / "old", tie_word_embeddings=True)
    tensors = load_file(tmp_path / "old" / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]  # shares its storage
    (tmp_path / "old" / "model.safetensors").unlink()
    torch.save(tensors, tmp_path / "old" / "pytorch_model.bin")
    return tmp_path / "old"


def test_pickled_weights_become_safetensors(tmp_path: Path) -> None:
    old = pickled(tmp_path)
    wanted = torch.load(old / "pytorch_model.bin", weights_only=True)["model.norm.weight"]
    made = convert(old, tmp_path / "new", "safetensors", "bfloat16")
    assert made.notes
    loaded = load_model(tmp_path / "new")
    assert loaded.dtype == torch.bfloat16
    assert torch.equal(loaded.norm.weight.float(), wanted)


class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ("touch " + os.environ["EVIL_MARK"],)


def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVIL_MARK", str(tmp_path / "mark"))
    old = pickled(tmp_path)
    (old / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Evil()}))
    with pytest.raises(ModelUnavailable, match="something else than tensors") as raised:
        convert(old, tmp_path / "new", "safetensors")
    assert "weights_only" not in str(raised.value)
    assert not (tmp_path / "mark").exists()
    assert not (tmp_path / "new").exists()
    pickle.loads(pickle.dumps(Evil()))  # it would have
    assert (tmp_path / "mark").exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    tiny(tmp_path / "model")
    with pytest.raises(UsageError, match="exists already"):
        convert(tmp_path / "model", tmp_path / "model", "safetensors")
    with pytest.raises(UsageError, match="'q3' is not written"):
        convert(tmp_path / "model", tmp_path / "new", "safetensors", "q3")
    known = "'q5_k' is not written as GGUF: known are float32, float16, bfloat16, q8_0, q4_0"
    with pytest.raises(UsageError, match=known):
        convert(tmp_path / "model", tmp_path / "new.gguf", "gguf", "q5_k")


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'q3' is not written"):
        convert(pickled(tmp_path), tmp_path / "new", "safetensors", "q3")
    save_model(new_model(new_config("bert", "1m", 300, 64)), tmp_path / "bert")
    with pytest.raises(ModelUnavailable, match="a 'bert' model cannot be written as GGUF"):
        convert(tmp_path / "bert", tmp_path / "new", "gguf")
    tiny(tmp_path / "without tokenizer")
    with pytest.raises(ModelUnavailable, match=r"tokenizer\.json is missing"):
        convert(tmp_path / "without tokenizer", tmp_path / "new", "gguf")
    assert not (tmp_path / "new").exists()


def test_a_gguf_file_in_a_directory_has_the_name_of_the_model_and_float16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(tmp_path / "model")
    byte_tokenizer(tmp_path / "model")
    monkeypatch.chdir(tmp_path / "model")
    made = convert(Path(), tmp_path / "out", "gguf")
    assert made.path == tmp_path / "out" / "model.gguf"
    assert GgufFile(made.path).file_type == "F16"
    assert GgufFile(made.path).keys_read["general.name"] == "model"


def test_differences_are_named_and_measured(tmp_path: Path) -> None:
    model = tiny(tmp_path / "a")
    tiny(tmp_path / "b")
    assert list(differences(tmp_path / "a", tmp_path / "b")) == []
    model.layers[0].attention.q.weight.data[0, 0] += 0.5
    save_model(model, tmp_path / "c")
    (found,) = differences(tmp_path / "a", tmp_path / "c")
    assert found.name == "model.layers.0.self_attn.q_proj.weight"
    assert found.largest == pytest.approx(0.5)
    tiny(tmp_path / "d", vocab_size=299, attention_bias=True)
    kinds = {one.name: one.kind for one in differences(tmp_path / "a", tmp_path / "d")}
    assert kinds["model.embed_tokens.weight"] == "shape (300, 32) and (299, 32)"
    assert kinds["model.layers.1.self_attn.q_proj.bias"] == "only in the second"
