"""The identity of an embedder's vectors: a hash over everything that changes them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from openbook.library.embed.default import sha256_of
from openbook.lm.checkpoint import weight_files
from openbook.lm.families.bert_config import BertConfig
from openbook.lm.sentence import Recipe

_SHAPE = (
    *("vocab_size", "hidden_size", "num_layers", "num_heads", "intermediate_size"),
    *("max_positions", "num_segments", "norm_eps", "activation"),
)
"""What the vectors of a BERT depend on. By name: a setting that comes into the code, e.g. for heads, makes no other embedder."""


def hash_of(directory: Path, recipe: Recipe) -> str:
    """SHA-256 over everything that changes the vectors: weights, tokenizer, recipe. Not the precision."""
    parts: dict[str, Any] = {"recipe": asdict(recipe)}
    files = [*weight_files(directory / recipe.transformer)]
    for step in recipe.dense:
        files += weight_files(directory / step.path)
    words = [directory / recipe.transformer / name for name in ("tokenizer.json", "vocab.txt")]
    files += [path for path in words if path.is_file()][:1]
    parts["files"] = [(path.relative_to(directory).as_posix(), sha256_of(path)) for path in files]
    config = BertConfig.read(directory / recipe.transformer)
    parts["config"] = {name: getattr(config, name) for name in _SHAPE}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
