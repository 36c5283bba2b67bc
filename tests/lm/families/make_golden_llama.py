"""Makes `golden_llama.json` with transformers, in an environment that has it: what its models say for drawn weights.

python tests/lm/families/make_golden_llama.py
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

PATH = Path(__file__).with_name("golden_llama.json")
SIZES = {
    "vocab_size": 31,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "max_position_embeddings": 16,
}
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 26]
SCALINGS: dict[str, dict[str, Any]] = {
    "linear": {"factor": 2.5},
    "dynamic": {"factor": 2.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 8},
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8,
    },
    "longrope": {
        "factor": 2.0,
        "long_factor": [1.0, 1.7],
        "short_factor": [1.0, 1.1],
        "original_max_position_embeddings": 8,
    },
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "num_key_value_heads": 6},
    "llama, grouped": {"model_type": "llama", "num_key_value_heads": 2, "rope_theta": 500_000.0},
    "llama, one key head": {"model_type": "llama", "num_key_value_heads": 1},
    "llama, biases, tied, wide heads": {
        "model_type": "llama",
        "num_key_value_heads": 2,
        "attention_bias": True,
        "mlp_bias": True,
        "head_dim": 10,
        "tie_word_embeddings": True,
    },
    "mistral, window": {"model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 5},
    "qwen2": {"model_type": "qwen2", "num_key_value_heads": 2},
    "qwen2, window from layer 1": {
        "model_type": "qwen2",
        "num_key_value_heads": 2,
        "use_sliding_window": True,
        "sliding_window": 5,
        "max_window_layers": 1,
    },
    "qwen3": {"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True},
    **{
        f"llama, {name}": {
            "model_type": "llama",
            "num_key_value_heads": 2,
            "rope_scaling": {"rope_type": name, **scaling},
        }
        for name, scaling in SCALINGS.items()
    },
}


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weights of a parameter, from its name alone: the same on every machine."""
    rows = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    return (0.3 * rows + (1.0 if "norm" in name else 0.0)).astype(np.float32)


def main() -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    golden = {}
    for title, own in CONFIGS.items():
        raw = dict(SIZES | own)
        config = AutoConfig.for_model(raw.pop("model_type"), **raw)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        state = {name: torch.from_numpy(drawn(name, tuple(value.shape))) for name, value in model.state_dict().items()}
        if config.tie_word_embeddings:
            state["lm_head.weight"] = state["model.embed_tokens.weight"]
        model.load_state_dict(state)
        model.float()
        ids = torch.tensor([IDS])
        with torch.no_grad():
            logits = model(ids).logits[0].double().numpy()
            new = model.generate(ids[:, :9], max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)
        shapes = {name: list(value.shape) for name, value in state.items()}
        golden[title] = {
            "config": SIZES | own,
            "shapes": shapes,
            "logits": np.round(logits, 6).tolist(),
            "greedy": new[0, 9:].tolist(),
        }
    PATH.write_text(json.dumps({"ids": IDS, "models": golden}, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
