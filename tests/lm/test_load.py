"""A checkpoint directory in and out: equal numbers, little memory, and a clear word before memory is spent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lm.checkpoints import TINY, tiny
from openbook.core.errors import ModelUnavailable
from openbook.lm.dense import dense
from openbook.lm.load import load_model, new_model, save_model

IDS = torch.tensor([[5, 9, 200, 3, 77, 41]])


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_was_saved_is_loaded(tmp_path: Path, tied: bool, dtype: torch.dtype) -> None:
    model = tiny(tmp_path, dtype=dtype, tie_word_embeddings=tied)
    again = load_model(tmp_path)
    assert again.dtype == dtype
    with torch.no_grad():  # the fresh model could be learned from, and bfloat16 is then rounded at other places
        assert torch.equal(dense(again, IDS), dense(model, IDS))
    assert not any(one.requires_grad for one in again.parameters())
    assert ("lm_head.weight" in load_file(tmp_path / "model.safetensors")) is not tied


def test_settings_that_we_do_not_read_are_carried_along(tmp_path: Path) -> None:
    tiny(tmp_path, some_setting=[1, 2])
    save_model(load_model(tmp_path), tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["some_setting"] == [1, 2]


def test_shards_are_written_and_read_and_replace_an_older_save(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    save_model(model, tmp_path, max_shard_bytes=20_000)
    shards = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert len(shards) > 2
    assert "model.safetensors" not in shards
    assert torch.equal(dense(load_model(tmp_path), IDS), dense(model, IDS))
    save_model(model, tmp_path)
    assert [path.name for path in tmp_path.glob("model*")] == ["model.safetensors"]
    assert not list(tmp_path.glob(".*"))


def test_a_dtype_is_converted_on_the_way(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    loaded = load_model(tmp_path, "bfloat16")
    assert torch.equal(loaded.tokens.weight, model.tokens.weight.bfloat16())


def broken(tmp_path: Path, change: dict[str, torch.Tensor | None], **config: object) -> Path:
    tiny(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors") | {k: v for k, v in change.items() if v is not None}
    save_file({k: v for k, v in tensors.items() if change.get(k, v) is not None}, tmp_path / "model.safetensors")
    said = json.loads((tmp_path / "config.json").read_text()) | config
    (tmp_path / "config.json").write_text(json.dumps(said))
    return tmp_path


@pytest.mark.parametrize(
    ("change", "config", "cause"),
    [
        ({"model.norm.weight": None}, {}, r"lacks 1 tensors: model\.norm\.weight"),
        ({"model.extra.weight": torch.ones(3)}, {}, r"holds 1 tensors: model\.extra\.weight, of which a llama model"),
        ({"model.norm.weight": torch.ones(33)}, {}, r"model\.norm\.weight \(wanted \(32,\), got \(33,\)\)"),
        ({"model.norm.weight": torch.ones(32, dtype=torch.int8)}, {}, r"no floats: 1 tensors: model\.norm\.weight"),
        ({"model.norm.weight": torch.ones(32).to(torch.float8_e4m3fn)}, {}, "no floats"),
        ({}, {"vocab_size": 10**12}, r"wanted \(1000000000000, 32\)"),
        ({}, {"vocab_size": 299}, r"embed_tokens\.weight \(wanted \(299, 32\), got \(300, 32\)\)"),
        ({}, {"model_type": "mamba"}, "model_type 'mamba' is not known"),
        ({}, {"num_key_value_heads": 3}, "cannot share"),
        ({}, {"hidden_size": "wide"}, "wide"),
        ({}, {"quantization_config": {"quant_method": "gptq"}}, "quantized by 'gptq'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict, config: dict, cause: str) -> None:
    with pytest.raises(ModelUnavailable, match=cause) as raised:
        load_model(broken(tmp_path, change, **config))
    assert raised.value.remedy


def test_a_tied_head_that_was_saved_all_the_same_is_not_read(tmp_path: Path) -> None:
    model = tiny(tmp_path, tie_word_embeddings=True)
    tensors = load_file(tmp_path / "model.safetensors") | {"lm_head.weight": model.tokens.weight.detach().clone()}
    save_file(tensors, tmp_path / "model.safetensors")
    assert torch.equal(dense(load_model(tmp_path), IDS), dense(model, IDS))


@pytest.mark.parametrize("keep", [3, 100, -10])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, keep: int) -> None:
    tiny(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors cannot be read"):
        load_model(tmp_path)


def test_pickled_weights_are_refused_with_the_conversion_named(tmp_path: Path) -> None:
    tiny(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match=r"only pytorch_model\.bin") as raised:
        load_model(tmp_path)
    assert "openbook model convert" in raised.value.remedy


def test_an_index_that_points_outside_is_refused(tmp_path: Path) -> None:
    tiny(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../b.safetensors"}}))
    with pytest.raises(ModelUnavailable, match="outside its directory"):
        load_model(tmp_path)


def test_a_fused_model_is_not_saved(tmp_path: Path) -> None:
    model = new_model(TINY)
    model.layers[0].attention.qkv = torch.nn.Linear(32, 64)
    with pytest.raises(ValueError, match="belongs to no checkpoint"):
        save_model(model, tmp_path)


MEASURE = """
import sys, torch
from openbook.lm.load import load_model
def anonymous():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("RssAnon"))
import threading
load_model(sys.argv[1], sys.argv[2])  # what the first call imports
before = anonymous()
peak, stop = 0, threading.Event()
def watch():
    global peak
    while not stop.is_set():
        peak = max(peak, anonymous())
thread = threading.Thread(target=watch); thread.start()
model = load_model(sys.argv[3], sys.argv[2])
stop.set(); thread.join()
print(max(peak, anonymous()) - before, sum(p.numel() * p.element_size() for p in model.parameters()))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_loading_takes_the_memory_of_the_model(tmp_path: Path, dtype: str) -> None:
    # Seen to fail at 2.0 (bfloat16: 3.0) with every tensor read beforehand, and at 1.7 (2.5) with one copied at a time.
    tiny(tmp_path / "small")
    tiny(tmp_path / "large", vocab_size=40_000, hidden_size=256, intermediate_size=1024, tie_word_embeddings=True)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "small"), dtype, str(tmp_path / "large")]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    taken, size = map(int, said.stdout.split())
    assert taken <= 1.15 * size + 2_000_000


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": []},
        {"model_type": {"llama": 1}},
        {"quantization_config": "int8"},
        {"quantization_config": [1]},
        {"num_attention_heads": 0},
        {"hidden_size": float("inf")},
        {"num_hidden_layers": float("nan")},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": -(10**30)},
        {"vocab_size": 10**30},
        {"rope_parameters": "yarn"},
        {
            "model_type": "t5",
            "feed_forward_proj": 7,
            "d_model": 8,
            "d_kv": 8,
            "d_ff": 8,
            "num_layers": 1,
            "num_heads": 1,
        },
        {"model_type": "mixtral", "num_local_experts": 10**9, "num_experts_per_tok": 1},
    ],
    ids=lambda config: str(config)[:50],
)
def test_an_absurd_config_is_refused_at_once(tmp_path: Path, config: dict) -> None:
    with pytest.raises(ModelUnavailable) as raised:
        load_model(broken(tmp_path, {}, **config))
    assert raised.value.remedy


def test_a_config_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    tiny(tmp_path)
    (tmp_path / "config.json").write_text('{"a":' * 100_000)
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        load_model(tmp_path)


@pytest.mark.parametrize("places", [[], "x", {"a": 1}, {"a": ["b"]}, None])
def test_an_index_without_names_is_refused(tmp_path: Path, places: object) -> None:
    tiny(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ModelUnavailable, match="no weight_map"):
        load_model(tmp_path)


def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    save_model(tiny(tmp_path), tmp_path, max_shard_bytes=20_000)
    sorted(tmp_path.glob("*.safetensors"))[1].unlink()
    with pytest.raises(ModelUnavailable, match=r"model-00002-of-.*cannot be read"):
        load_model(tmp_path)


def test_a_tensor_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    save_model(tiny(tmp_path), tmp_path, max_shard_bytes=20_000)
    first, second = sorted(tmp_path.glob("*.safetensors"))[:2]
    save_file(load_file(second) | dict([next(iter(load_file(first).items()))]), second)
    with pytest.raises(ModelUnavailable, match="is there twice"):
        load_model(tmp_path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"])
def test_a_save_that_breaks_off_leaves_the_older_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    # Seen to fail when each shard took its place as soon as it was written: old and new weights were mixed.
    import safetensors.torch

    model = tiny(tmp_path)
    save_model(model, tmp_path, max_shard_bytes=20_000)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    real, written = safetensors.torch.save_file, []

    def full(*given: object, **named: object) -> None:
        if len(written) == 2:
            raise error
        written.append(real(*given, **named))  # type: ignore[arg-type]

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises((ModelUnavailable, KeyboardInterrupt)) as raised:
        save_model(new_model(TINY, seed=9), tmp_path, max_shard_bytes=20_000)
    assert "make room" in str(raised.value) or isinstance(error, KeyboardInterrupt)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
