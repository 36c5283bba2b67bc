"""Drawn configurations of every family, as config.json has them: small, and with every option that changes the numbers."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

VOCAB = 37
Raw = dict[str, Any]
LLAMA_KINDS = ("llama", "mistral", "qwen2", "qwen3", "mixtral", "qwen2_moe", "qwen3_moe")
BERT_KINDS = ("bert", "roberta", "xlm-roberta")
HEADS = (
    "Model",
    "ForPreTraining",
    "ForMaskedLM",
    "ForNextSentencePrediction",
    "ForSequenceClassification",
    "ForMultipleChoice",
    "ForTokenClassification",
    "ForQuestionAnswering",
)
PREFIXES = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta"}
BERT_ARCHITECTURES = tuple(
    (kind, PREFIXES[kind] + head)
    for kind in BERT_KINDS
    for head in HEADS
    if kind == "bert" or head not in ("ForPreTraining", "ForNextSentencePrediction")
)


@st.composite
def rope(draw: st.DrawFn, half: int) -> Raw:
    """The angles of heads of 2 `half` channels; short enough that what the tests read goes beyond the original length."""
    kind = draw(st.sampled_from(("default", "linear", "dynamic", "yarn", "llama3", "longrope")))
    said: Raw = {"rope_type": kind, "rope_theta": draw(st.sampled_from((100.0, 10_000.0, 1e6)))}
    if kind != "default":
        said["factor"] = draw(st.sampled_from((1.0, 1.5, 4.0)))
    if kind in ("yarn", "llama3", "longrope"):
        said["original_max_position_embeddings"] = 8
    if kind == "longrope" and draw(st.booleans()):
        del said["factor"]  # max_position_embeddings over the original
    if kind == "yarn":
        said |= draw(
            st.sampled_from(({}, {"attention_factor": 1.3}, {"beta_fast": 16.0, "beta_slow": 2.0, "truncate": False}))
        )
    if kind == "llama3":
        said |= {"low_freq_factor": 1.0, "high_freq_factor": draw(st.sampled_from((2.0, 4.0)))}
    if kind == "longrope":
        factors = st.lists(st.floats(1.0, 4.0), min_size=half, max_size=half)
        said |= {"short_factor": draw(factors), "long_factor": draw(factors)}
    return said


@st.composite
def llama(draw: st.DrawFn, kinds: tuple[str, ...] = LLAMA_KINDS) -> Raw:
    kind = draw(st.sampled_from(kinds))
    kv_heads = draw(st.sampled_from((1, 2)))
    half = draw(st.sampled_from((2, 3, 4)))
    heads = kv_heads * draw(st.sampled_from((1, 2, 3)))
    raw: Raw = {
        "model_type": kind,
        "vocab_size": VOCAB,
        "hidden_size": heads * 8,
        "intermediate_size": draw(st.sampled_from((12, 20))),
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": 2 * half,
        "max_position_embeddings": 16,
        "rms_norm_eps": draw(st.sampled_from((1e-6, 1e-3))),
        "hidden_act": draw(st.sampled_from(("silu", "gelu", "gelu_pytorch_tanh"))),
        "tie_word_embeddings": draw(st.booleans()),
        "rope_parameters": draw(rope(half)),
    }
    raw |= draw(_biases(kind)) | draw(_windows(kind)) | draw(_experts(kind))
    return raw


def _biases(kind: str) -> st.SearchStrategy[Raw]:
    names = {
        "llama": ("attention_bias", "mlp_bias"),
        "qwen3": ("attention_bias",),
        "qwen3_moe": ("attention_bias",),
        "qwen2_moe": ("qkv_bias",),
    }
    return st.fixed_dictionaries({name: st.booleans() for name in names.get(kind, ())})


def _windows(kind: str) -> st.SearchStrategy[Raw]:
    window = st.sampled_from((2, 3, 5))  # with 1, the reference's cache keeps nothing
    if kind == "llama":
        return st.just({})
    if kind in ("mistral", "mixtral"):
        return st.fixed_dictionaries({"sliding_window": st.none() | window})
    asked = {"use_sliding_window": st.booleans(), "sliding_window": window}
    if kind == "qwen3_moe":
        return st.fixed_dictionaries(asked)
    said = st.lists(st.sampled_from(("full_attention", "sliding_attention")), min_size=2, max_size=2)
    first = {"max_window_layers": st.sampled_from((0, 1, 2))}
    asked["use_sliding_window"] = st.just(True)
    return st.just({}) | st.fixed_dictionaries(asked | first) | st.fixed_dictionaries(asked | {"layer_types": said})


def _experts(kind: str) -> st.SearchStrategy[Raw]:
    top = st.sampled_from((1, 2, 3))
    if kind == "mixtral":
        return st.fixed_dictionaries({"num_local_experts": st.sampled_from((3, 5)), "num_experts_per_tok": top})
    if kind not in ("qwen2_moe", "qwen3_moe"):
        return st.just({})
    said = {
        "num_experts": st.sampled_from((3, 5)),
        "num_experts_per_tok": top,
        "moe_intermediate_size": st.sampled_from((4, 8)),
        "norm_topk_prob": st.booleans(),
        "decoder_sparse_step": st.sampled_from((1, 2)),
        "mlp_only_layers": st.sampled_from(([], [0])),
    }
    if kind == "qwen2_moe":
        said["shared_expert_intermediate_size"] = st.sampled_from((5, 8))
    return st.fixed_dictionaries(said)


def gpt2() -> st.SearchStrategy[Raw]:
    return st.fixed_dictionaries(
        {
            "model_type": st.just("gpt2"),
            "vocab_size": st.just(VOCAB),
            "n_embd": st.just(24),
            "n_head": st.sampled_from((1, 2, 4)),
            "n_layer": st.just(2),
            "n_positions": st.just(32),
            "n_inner": st.sampled_from((None, 20)),
            "activation_function": st.sampled_from(("gelu_new", "gelu", "relu")),
            "layer_norm_epsilon": st.sampled_from((1e-5, 1e-3)),
            "tie_word_embeddings": st.booleans(),
            "scale_attn_weights": st.booleans(),
            "scale_attn_by_inverse_layer_idx": st.booleans(),
            "reorder_and_upcast_attn": st.booleans(),
            "bos_token_id": st.just(1),
            "eos_token_id": st.just(1),
        }
    )


def decoders() -> st.SearchStrategy[Raw]:
    return llama() | gpt2()


@st.composite
def encoders(draw: st.DrawFn) -> Raw:
    kind, architecture = draw(st.sampled_from(BERT_ARCHITECTURES))
    raw: Raw = {
        "model_type": kind,
        "architectures": [architecture],
        "vocab_size": VOCAB,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": draw(st.sampled_from((1, 2, 4))),
        "intermediate_size": 20,
        "max_position_embeddings": 20,
        "type_vocab_size": draw(st.sampled_from((1, 2))),
        "layer_norm_eps": draw(st.sampled_from((1e-12, 1e-5))),
        "hidden_act": draw(st.sampled_from(("gelu", "gelu_new", "relu"))),
        "tie_word_embeddings": draw(st.booleans()),
        "pad_token_id": draw(st.sampled_from((0, 1))),
    }
    if architecture.endswith(("SequenceClassification", "TokenClassification")):
        raw["num_labels"] = draw(st.sampled_from((1, 2, 5)))
    return raw


def t5(architectures: tuple[str, ...] = ("T5ForConditionalGeneration", "T5EncoderModel")) -> st.SearchStrategy[Raw]:
    return st.fixed_dictionaries(
        {
            "model_type": st.just("t5"),
            "architectures": st.sampled_from(architectures).map(lambda name: [name]),
            "vocab_size": st.just(VOCAB),
            "d_model": st.just(16),
            "d_kv": st.sampled_from((4, 6)),
            "d_ff": st.sampled_from((20, 24)),
            "num_layers": st.just(2),
            "num_decoder_layers": st.sampled_from((1, 2)),
            "num_heads": st.sampled_from((1, 3)),
            "relative_attention_num_buckets": st.sampled_from((8, 12)),
            "relative_attention_max_distance": st.sampled_from((9, 16)),
            "layer_norm_epsilon": st.sampled_from((1e-6, 1e-3)),
            "feed_forward_proj": st.sampled_from(("relu", "gated-gelu", "gated-silu", "gelu")),
            "tie_word_embeddings": st.booleans(),
            "decoder_start_token_id": st.sampled_from((0, 3)),
        }
    )
