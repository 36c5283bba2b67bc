"""The engine from a checkpoint directory, in every precision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lm.checkpoints import TINY, byte_tokenizer, tiny
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.messages import ChatRequest, Message
from openbook.lm.fresh import write_fresh
from openbook.lm.generate import generate
from openbook.lm.gguf.write import write_gguf
from openbook.lm.load import load_model, save_model
from openbook.serving import Engine, SamplingParams


def checkpoint(directory: Path, dtype: torch.dtype = torch.float32) -> Path:
    model = tiny(directory, seed=3, hidden_size=64, intermediate_size=128).requires_grad_(False)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "tokens" not in name:
            parameter *= 5
    save_model(model.to(dtype), directory)
    return directory


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_answers_are_those_of_the_plain_loop(tmp_path: Path, dtype: torch.dtype) -> None:
    directory = checkpoint(tmp_path, dtype)
    prompts = [[1, 2, 3], [7] * 20, [250, 251]]
    with Engine.load(directory, max_num_seqs=2) as engine:
        found = engine.generate(prompts, SamplingParams(max_tokens=6, ignore_eos=True))
        assert engine.generate(prompts[1:2], SamplingParams(max_tokens=6, ignore_eos=True))[0].num_cached == 16
    assert [one.tokens for one in found] == generate(load_model(directory, "float32"), prompts, 6)


@pytest.mark.parametrize("quantize", ["int8", "int4", None])
@pytest.mark.parametrize("kv_dtype", ["bf16", "fp32"])
def test_a_request_alone_and_in_company(tmp_path: Path, quantize: str | None, kv_dtype: str) -> None:
    directory = checkpoint(tmp_path)
    prompts = [[1, 2, 3], [7, 7, 9], [250, 251, 4]]
    params = SamplingParams(max_tokens=8, ignore_eos=True)
    with Engine.load(directory, quantize=quantize, kv_dtype=kv_dtype) as engine:  # type: ignore[arg-type]
        together = [one.tokens for one in engine.generate(prompts, params)]
        assert [engine.generate([prompt], params)[0].tokens for prompt in prompts] == together


def test_memory_decides_how_many_blocks_there_are(tmp_path: Path) -> None:
    directory = checkpoint(tmp_path)
    with Engine.load(directory, max_num_seqs=3) as engine:
        assert engine.loop.engine.blocks.num_blocks == 3 * TINY["max_position_embeddings"] // 16
    block = 2 * 2 * 2 * 16 * 16 * 4  # two layers, two key heads of 16
    with Engine.load(directory, kv_cache_gb=5 * block / 1e9) as engine:
        assert engine.loop.engine.blocks.num_blocks == 5
    with pytest.raises(UsageError, match="hold no block"):
        Engine.load(directory, kv_cache_gb=1e-9)


@pytest.mark.parametrize("setting", [{"quantize": "int2"}, {"kv_dtype": "fp8"}])
def test_settings_that_cannot_be(tmp_path: Path, setting: dict) -> None:
    with pytest.raises(UsageError, match="is not known"):
        Engine.load(checkpoint(tmp_path), **setting)


def test_an_encoder_is_refused(tmp_path: Path) -> None:
    write_fresh(tmp_path / "bert", "bert", "1m", max_seq_len=64)
    with pytest.raises(ModelUnavailable, match="does not write from left to right"):
        Engine.load(tmp_path / "bert")


def test_a_fresh_model_chats_at_once(tmp_path: Path) -> None:
    write_fresh(tmp_path / "new", "qwen3", "1m", max_seq_len=256)
    with Engine.load(tmp_path / "new") as engine:
        chat = engine.chat()
        assert chat.limits.context_tokens == 256
        answer = chat.complete(
            ChatRequest((Message.of("user", "你好?"),), SamplingParams(max_tokens=5, ignore_eos=True))
        )
    assert answer.completion_tokens == 5


def test_a_model_of_a_gguf_file_stops_at_its_end_token(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    byte_tokenizer(tmp_path)
    write_gguf(model, tmp_path, tmp_path / "tiny.gguf")
    with Engine.load(tmp_path / "tiny.gguf") as engine:
        assert engine.loop.engine.end_tokens == {257}


@pytest.mark.parametrize("said", ["<|end|>", [1, "x"], [[1]], {"id": 1}, 1.5])
def test_an_end_token_that_is_no_number_is_named(tmp_path: Path, said: object) -> None:
    checkpoint(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": said}))
    with pytest.raises(ModelUnavailable, match="eos_token_id of"):
        Engine.load(tmp_path)


def test_a_refused_prompt_leaves_no_other_behind(tmp_path: Path) -> None:
    with Engine.load(checkpoint(tmp_path)) as engine:
        with pytest.raises(UsageError, match="empty"):
            engine.generate([[1, 2], []], SamplingParams(max_tokens=60, ignore_eos=True))
        engine.generate([[3]], SamplingParams(max_tokens=1))
        assert engine.loop.engine.is_idle
