from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import read_arrays, read_config, weight_files


def test_bfloat16_is_read_as_float32_without_torch(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_tensors

    held = {"a": torch.randn(2, 3).bfloat16(), "b": torch.randn(4), "c": torch.arange(3), "d": torch.randn(2).half()}
    save_tensors(held, tmp_path / "model.safetensors")
    for name, array in read_arrays(tmp_path).items():
        assert torch.equal(torch.from_numpy(array.copy()), held[name].float() if name == "a" else held[name])


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "1.safetensors")
    save_file({"b": np.zeros(3, np.float32)}, tmp_path / "2.safetensors")
    index = {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert {name: array.tolist() for name, array in read_arrays(tmp_path).items()} == {"a": [1, 1], "b": [0, 0, 0]}


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ModelUnavailable, match="may run code"):
        weight_files(tmp_path)


def test_a_shard_outside_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../x.safetensors"}}))
    with pytest.raises(ModelUnavailable, match="outside"):
        weight_files(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x08\0\0\0\0\0\0\0{}"])
def test_broken_weights_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors"):
        read_arrays(tmp_path)


def test_config_that_is_missing_or_no_object(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="is missing"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ModelUnavailable, match="not an object"):
        read_config(tmp_path)
    with pytest.raises(ModelUnavailable, match="not a directory"):
        read_config(tmp_path / "nothing")
