"""What llama.cpp calls the architectures, tensors and settings of the Llama kind, and how it orders queries and keys.

Source: the GGUF specification, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

from torch import Tensor

ARCHITECTURES: dict[str, str] = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""`model_type` of config.json -> general.architecture."""

MODULES: dict[str, str] = {"tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}
LAYER_MODULES: dict[str, str] = {
    "attention.q": "attn_q",
    "attention.k": "attn_k",
    "attention.v": "attn_v",
    "attention.out": "attn_output",
    "attention.q_norm": "attn_q_norm",
    "attention.k_norm": "attn_k_norm",
    "attention_norm": "attn_norm",
    "mlp.gate": "ffn_gate",
    "mlp.up": "ffn_up",
    "mlp.down": "ffn_down",
    "mlp_norm": "ffn_norm",
}


def gguf_name(parameter: str) -> str:
    """Our parameter's name -> llama.cpp's: layers.0.attention.q.weight -> blk.0.attn_q.weight."""
    module, _, last = parameter.rpartition(".")
    if module in MODULES:
        return f"{MODULES[module]}.{last}"
    _, layer, inner = module.split(".", 2)
    return f"blk.{layer}.{LAYER_MODULES[inner]}.{last}"


def is_turned(model_type: str, parameter: str) -> bool:
    """Whether llama.cpp pairs neighbouring channels of this parameter, where checkpoints pair the halves (see `nn.rope`)."""
    return ARCHITECTURES[model_type] == "llama" and (".attention.q." in parameter or ".attention.k." in parameter)


def to_neighbours(rows: Tensor, num_heads: int) -> Tensor:
    """Rows (H D, ...) of halves -> of neighbours: channel i and i + D/2 of each head become 2 i and 2 i + 1."""
    heads = rows.view(num_heads, 2, -1, *rows.shape[1:])  # (H, 2, D/2, ...)
    return heads.transpose(1, 2).reshape(rows.shape)


def to_halves(rows: Tensor, num_heads: int) -> Tensor:
    """The inverse of `to_neighbours`."""
    heads = rows.view(num_heads, -1, 2, *rows.shape[1:])  # (H, D/2, 2, ...)
    return heads.transpose(1, 2).reshape(rows.shape)
