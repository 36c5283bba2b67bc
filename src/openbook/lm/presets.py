"""The sizes that `openbook model new` knows, as rows: shapes of published models, and small ones between them."""

from __future__ import annotations

from typing import Any, NamedTuple

from openbook.core.errors import UsageError


class Size(NamedTuple):
    """A decoder's shape. Its name is that of a published model, or a round number near a Llama's count: see `docs/models.md`."""

    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    intermediate_size: int


SIZES: dict[str, Size] = {
    "1m": Size(128, 4, 4, 2, 384),
    "5m": Size(256, 6, 4, 2, 704),
    "30m": Size(512, 8, 8, 4, 1408),
    "125m": Size(768, 18, 12, 4, 2048),
    "0.5b": Size(896, 24, 14, 2, 4864),  # Qwen2.5-0.5B
    "1b": Size(2048, 16, 32, 8, 8192),  # Llama 3.2 1B
    "1.5b": Size(1536, 28, 12, 2, 8960),  # Qwen2.5-1.5B
    "3b": Size(3072, 28, 24, 8, 8192),  # Llama 3.2 3B
    "8b": Size(4096, 32, 32, 8, 14336),  # Llama 3.1 8B
}
DECODERS = ("llama", "mistral", "qwen2", "qwen3")
_TIED_UP_TO = 2048
"""Hidden size up to which the table of tokens is shared with the head: a small model's would be most of it."""


def new_config(family: str, size: str, vocab_size: int, max_seq_len: int = 2_048) -> dict[str, Any]:
    """The config.json of a fresh model. UsageError lists the families and sizes."""
    if size not in SIZES:
        raise UsageError(f"size {size!r} is not known", f"known are {', '.join(SIZES)}")
    shape = SIZES[size]
    match family:
        case "gpt2":
            own = _gpt2(shape, max_seq_len)
        case "bert":
            own = _bert(shape, max_seq_len)
        case "t5":
            own = _t5(shape)
        case _ if family in DECODERS:
            own = _decoder(family, shape, max_seq_len)
        case _:
            raise UsageError(
                f"family {family!r} is not known", f"known are {', '.join((*DECODERS, 'gpt2', 'bert', 't5'))}"
            )
    return {"vocab_size": vocab_size, "dtype": "float32"} | own


def _decoder(family: str, shape: Size, max_seq_len: int) -> dict[str, Any]:
    return {
        "model_type": family,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.hidden_size // shape.num_heads,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": max_seq_len,
        "rope_theta": 10_000.0,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": shape.hidden_size <= _TIED_UP_TO,
    }


def _gpt2(shape: Size, max_seq_len: int) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": shape.hidden_size,
        "n_layer": shape.num_layers,
        "n_head": shape.num_heads,
        "n_positions": max_seq_len,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
    }


def _bert(shape: Size, max_seq_len: int) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "architectures": ["BertForMaskedLM"],
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "intermediate_size": 4 * shape.hidden_size,
        "max_position_embeddings": max_seq_len,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
    }


def _t5(shape: Size) -> dict[str, Any]:
    return {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "d_model": shape.hidden_size,
        "d_kv": shape.hidden_size // shape.num_heads,
        "d_ff": shape.intermediate_size,
        "num_layers": shape.num_layers // 2,
        "num_decoder_layers": shape.num_layers // 2,
        "num_heads": shape.num_heads,
        "feed_forward_proj": "gated-gelu",
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
        "tie_word_embeddings": False,
        "decoder_start_token_id": 0,
    }
