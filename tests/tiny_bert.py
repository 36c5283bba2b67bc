"""A BERT checkpoint with random weights, small enough for every test, and an independent float64 reference of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

E, LAYERS, HEADS, WIDE, POSITIONS = 64, 2, 2, 128, 40
WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] the of and to in is that for it was on are as with his they at be this from "
    "have or by one had not but what all were when we there can an your which their said if do will each about how "
    "up out them then she many some so these would other into has more her two like him see time could no make than "
    "first been its who now people my made over leave annual days ##s ##ing cat dog sat mat . , ? 年 假 天"
).split()
Arrays = dict[str, NDArray[np.float32]]


def weights(seed: int = 0, labels: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    arrays: Arrays = {}

    def linear(name: str, n: int, k: int) -> None:
        arrays[f"{name}.weight"] = rng.normal(0, 1.2 / math.sqrt(k), (n, k)).astype(np.float32)
        arrays[f"{name}.bias"] = rng.normal(0, 0.1, n).astype(np.float32)

    def norm(name: str) -> None:
        arrays[f"{name}.weight"] = rng.uniform(0.7, 1.3, E).astype(np.float32)
        arrays[f"{name}.bias"] = rng.normal(0, 0.1, E).astype(np.float32)

    for name, rows in (("word", len(WORDS)), ("position", POSITIONS), ("token_type", 2)):
        arrays[f"embeddings.{name}_embeddings.weight"] = rng.normal(0, 1, (rows, E)).astype(np.float32)
    norm("embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for part in ("query", "key", "value"):
            linear(f"{at}attention.self.{part}", E, E)
        linear(f"{at}attention.output.dense", E, E)
        norm(f"{at}attention.output.LayerNorm")
        linear(f"{at}intermediate.dense", WIDE, E)
        linear(f"{at}output.dense", E, WIDE)
        norm(f"{at}output.LayerNorm")
    if labels:
        linear("pooler.dense", E, E)
        linear("classifier" if labels == 1 else "cls.seq_relationship", labels, E)
    return arrays


def write(directory: Path, arrays: Arrays, **config: object) -> Path:
    """A sentence-transformers directory: mean pooling, normalised, at most 16 tokens."""
    directory.mkdir(parents=True, exist_ok=True)
    settings: dict[str, object] = {
        "model_type": "bert",
        "vocab_size": len(WORDS),
        "hidden_size": E,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": WIDE,
        "max_position_embeddings": POSITIONS,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
    }
    _json(directory / "config.json", settings | config)
    save_file(arrays, directory / "model.safetensors")
    (directory / "vocab.txt").write_text("\n".join(WORDS) + "\n", "utf-8")
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    _json(directory / "modules.json", modules)
    _json(directory / "sentence_bert_config.json", {"max_seq_length": 16})
    (directory / "1_Pooling").mkdir(exist_ok=True)
    _json(directory / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    return directory


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), "utf-8")


def reference(arrays: Arrays, ids: list[int], segments: list[int] | None = None) -> NDArray[np.float64]:
    """(T, E): the last layer for one sequence, written down from the paper in float64."""
    w = {name: array.astype(np.float64) for name, array in arrays.items()}
    T, D = len(ids), E // HEADS

    def linear(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:T]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][segments or [0] * T], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        mixed = np.empty_like(x)
        q, k, v = (linear(x, f"{at}attention.self.{part}") for part in ("query", "key", "value"))
        for head in range(HEADS):
            part = slice(head * D, (head + 1) * D)
            scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(D))
            mixed[:, part] = scores / scores.sum(-1, keepdims=True) @ v[:, part]
        x = norm(x + linear(mixed, f"{at}attention.output.dense"), f"{at}attention.output.LayerNorm")
        up = linear(x, f"{at}intermediate.dense")
        up = up * 0.5 * (1 + np.vectorize(math.erf)(up / math.sqrt(2)))
        x = norm(x + linear(up, f"{at}output.dense"), f"{at}output.LayerNorm")
    return x
