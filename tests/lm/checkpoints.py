"""Tiny checkpoints of the Llama kind for tests: what they are, and how they come to disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from openbook.lm.families.base import Family
from openbook.lm.load import new_model, save_model

TINY: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "eos_token_id": 257,
}


def tiny(directory: Path, seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any) -> Family:
    """A checkpoint with drawn weights in `directory`, and the model that was saved."""
    model = new_model(TINY | changes, dtype, seed)
    save_model(model, directory)
    return model


def byte_tokenizer(directory: Path, **settings: Any) -> None:
    """A tokenizer.json of the 256 bytes, one merge and two special tokens, cut as Qwen2 cuts."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    from openbook.lm.tokenizers.patterns import PATTERNS

    regex = next(one.regex for one in PATTERNS if one.name == "qwen2")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate([*letters, "th"])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("t", "h")]))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(regex), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|end|>", "<|user|>"])
    backend.save(str(directory / "tokenizer.json"))
    said = {"eos_token": "<|end|>", "chat_template": "{{ messages[0].content }}"} | settings
    (directory / "tokenizer_config.json").write_text(json.dumps(said))
