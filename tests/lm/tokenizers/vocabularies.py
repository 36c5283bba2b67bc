"""Tokenizer directories of every file format, tiny and made on the spot; and texts that are hard to cut."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openbook.lm.tokenizers.default import default_tokenizer

TEXTS = [
    "The ferry leaves at 08:15, and it's naïve — café №5!",
    "渡轮上午八点十五分离港，中午返回。",
    "def f(x: int) -> None:\n    return x**2  # 🚢🚢\n\n\n",
    "  two  spaces \t tab",
    " ﬁ ½ Å é ｆｕｌｌ　ｗｉｄｔｈ",
    "",
    "</s> <s> <unk> <mask>[MASK]<|endoftext|> x",
    "👩\u200d👩\u200d👧 \u202e \u200b",
    "a\x00b",
    "e\u0301 A\u030a u\u0308ber",
    "\n",
    "x " * 50,
]
CORPUS = [
    *(["The ferry leaves at noon, it's late.", "渡轮上午八点离港，中午返回。", "def leave(at: str): return at"] * 50),
    *(["the quick brown fox 123 456 jumps"] * 20),
]
_FLAGS = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
_WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the ferry ##s leave ##y at it ' def f : x ( ) 渡 轮 上 naive cafe é a b ! ."


def _settings(directory: Path, kind: str, said: dict[str, Any]) -> Path:
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind} | said))
    return directory


def byte_level(directory: Path, kind: str, extra: list[str], **said: Any) -> Path:
    """vocab.json and merges.txt."""
    model = json.loads(default_tokenizer(600).backend.to_str())["model"]
    vocabulary = model["vocab"] | {token: len(model["vocab"]) + number for number, token in enumerate(extra)}
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    (directory / "merges.txt").write_text("\n".join(lines) + "\n")
    return _settings(directory, kind, said)


def sentencepiece_model(**settings: Any) -> bytes:
    """A trained model, as the reference library writes it."""
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=out, minloglevel=2, hard_vocab_limit=False, **settings
    )
    return out.getvalue()


def sentencepiece(directory: Path, kind: str, file: str, said: dict[str, Any], **settings: Any) -> Path:
    (directory / file).write_bytes(sentencepiece_model(**settings))
    return _settings(directory, kind, said)


def word_pieces(directory: Path, **said: Any) -> Path:
    (directory / "vocab.txt").write_text("\n".join(_WORDS.split()) + "\n", "utf-8")
    return _settings(directory, "BertTokenizer", said)


_SENTENCE = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
_MASK = {"__type": "AddedToken", "content": "<mask>", **_FLAGS, "lstrip": True}
_LLAMA = {
    "model_type": "bpe",
    "vocab_size": 420,
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
}
FORMATS: dict[str, Callable[[Path], Path]] = {
    "gpt2": lambda to: byte_level(to, "GPT2Tokenizer", ["<|endoftext|>"]),
    "gpt2, bos": lambda to: byte_level(to, "GPT2Tokenizer", ["<|endoftext|>"], add_bos_token=True),
    "roberta": lambda to: byte_level(to, "RobertaTokenizer", _SENTENCE),
    "roberta, space": lambda to: byte_level(to, "RobertaTokenizer", _SENTENCE, mask_token=_MASK, add_prefix_space=True),
    "qwen2": lambda to: byte_level(
        to,
        "Qwen2Tokenizer",
        ["<|endoftext|>"],
        eos_token="<|im_end|>",
        added_tokens_decoder={
            str(591 + number): {"content": token, "special": True, **_FLAGS}
            for number, token in enumerate(("<|endoftext|>", "<|im_end|>"))
        },
    ),
    "bert": word_pieces,
    "bert, cased": lambda to: word_pieces(to, do_lower_case=False),
    "llama": lambda to: sentencepiece(
        to, "LlamaTokenizer", "tokenizer.model", {"add_bos_token": True}, split_digits=True, pad_id=-1, **_LLAMA
    ),
    "llama, legacy": lambda to: sentencepiece(
        to,
        "LlamaTokenizer",
        "tokenizer.model",
        {"legacy": True, "add_bos_token": True, "add_eos_token": True},
        user_defined_symbols=["[INST]"],
        control_symbols=["[CTL]"],
        **_LLAMA,
    ),
    "t5": lambda to: sentencepiece(
        to, "T5Tokenizer", "spiece.model", {}, vocab_size=150, pad_id=0, eos_id=1, unk_id=2, bos_id=-1
    ),
    "xlm-roberta": lambda to: sentencepiece(to, "XLMRobertaTokenizer", "sentencepiece.bpe.model", {}, vocab_size=150),
}
