"""llama.cpp reads what is written here and says the same tokens. Runs where `llama-cpp-python` is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lm.checkpoints import TINY, byte_tokenizer
from lm.gguf.test_gguf import KINDS
from openbook.lm.generate import generate
from openbook.lm.gguf.write import write_gguf
from openbook.lm.load import load_model, new_model, save_model

PROMPTS = [[5, 9, 200, 3, 77, 41], [1, 2, 3], list(range(100, 110))]
NEW_TOKENS = 12

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def written(folder: Path, kind: str, dtype: str) -> Path:
    """Weights large enough that the likeliest token is no matter of rounding."""
    model = new_model(TINY | {"hidden_size": 64, "intermediate_size": 128} | KINDS[kind], seed=5).requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter += torch.randn(parameter.shape, generator=generator) * 0.1
        elif "tokens" not in name:
            parameter *= 5
    save_model(model, folder)
    byte_tokenizer(folder)
    write_gguf(model, folder, folder / "model.gguf", dtype)  # type: ignore[arg-type]
    return folder / "model.gguf"


def theirs(path: Path) -> list[list[int]]:
    llama_cpp: Any = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    model = llama_cpp.Llama(str(path), n_ctx=128, n_threads=1, verbose=False)
    found = []
    for prompt in PROMPTS:
        model.reset()
        stream = model.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0)
        found.append([next(stream) for _ in range(NEW_TOKENS)])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_tokens_are_equal(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind, "f32")
    assert theirs(path) == generate(load_model(path), PROMPTS, NEW_TOKENS)


@pytest.mark.parametrize("dtype", ["f16", "bf16", "q8_0", "q4_0"])
def test_smaller_types_begin_alike(dtype: str, tmp_path: Path) -> None:
    """llama.cpp rounds activations too, so only the first token of each prompt is held to be equal."""
    path = written(tmp_path, "qwen2", dtype)
    ours = generate(load_model(path, "float32"), PROMPTS, NEW_TOKENS)
    assert [one[0] for one in theirs(path)] == [one[0] for one in ours]


def test_texts_become_the_same_ids(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    llama_cpp: Any = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    path = written(tmp_path, "qwen2", "f32")
    backend = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    for text in ("The thing, 1234 times!\n\n  over", "天下大事，合久必分 🚢", "<|user|>so<|end|>", "  \t x\r\n"):
        assert model.tokenize(text.encode(), add_bos=False, special=True) == backend.encode(text).ids
