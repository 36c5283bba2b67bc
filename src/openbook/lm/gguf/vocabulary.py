"""A byte-level BPE tokenizer as GGUF keys, and back: tokens, merges, kinds of tokens, special ids, chat template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import read_json
from openbook.lm.disk import make_directory, write_json
from openbook.lm.tokenizers.patterns import PATTERNS

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
_REMEDY = "GGUF is written for byte-level BPE tokenizers, cut as " + ", ".join(one.name for one in PATTERNS) + " are"


def vocabulary_keys(directory: Path, vocab_size: int) -> dict[str, Any]:
    """The keys tokenizer.ggml.* of the tokenizer in `directory`, padded to the `vocab_size` of the model.

    Raises ModelUnavailable for a tokenizer of another kind, and one with more tokens than the model.
    """
    tokenizer = read_json(directory / "tokenizer.json")
    settings = read_json(path) if (path := directory / "tokenizer_config.json").is_file() else {}
    model = tokenizer.get("model", {})
    if model.get("type", "BPE") != "BPE" or model.get("byte_fallback"):
        raise ModelUnavailable(f"{directory} has a {model.get('type')!r} tokenizer", _REMEDY)
    vocabulary: dict[str, int] = dict(model["vocab"])
    added = {one["content"]: one for one in tokenizer.get("added_tokens", ())}
    vocabulary |= {content: int(one["id"]) for content, one in added.items()}
    if max(vocabulary.values()) >= vocab_size:
        raise ModelUnavailable(
            f"{directory}: the tokenizer has ids up to {max(vocabulary.values())}, the model has {vocab_size} tokens",
            "use the tokenizer of the model",
        )
    by_id = {number: token for token, number in vocabulary.items()}
    tokens = [by_id.get(number, f"[PAD{number}]") for number in range(vocab_size)]
    keys: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": _pattern_name(tokenizer.get("pre_tokenizer") or {}, directory),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [_kind(number, by_id, added) for number in range(vocab_size)],
        "tokenizer.ggml.merges": [one if isinstance(one, str) else " ".join(one) for one in model.get("merges", ())],
        "tokenizer.ggml.add_bos_token": _adds_bos(tokenizer, settings),
    }
    for name, key in (("bos", "bos_token_id"), ("eos", "eos_token_id"), ("pad", "padding_token_id")):
        content = settings.get(f"{name}_token")
        content = content.get("content") if isinstance(content, dict) else content
        if content in vocabulary:
            keys[f"tokenizer.ggml.{key}"] = vocabulary[content]
    if template := _template(directory, settings):
        keys["tokenizer.chat_template"] = template
    return keys


def write_tokenizer(keys: Mapping[str, Any], directory: Path) -> None:
    """tokenizer.json and tokenizer_config.json from GGUF keys. ModelUnavailable for one that is broken or no byte-level BPE."""
    try:
        tokenizer, settings = _tokenizer_of(keys)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ModelUnavailable(f"the tokenizer of the GGUF file is broken: {error!r}", "get a complete copy") from error
    make_directory(directory)
    write_json(directory / "tokenizer.json", tokenizer)
    write_json(directory / "tokenizer_config.json", settings)


def _tokenizer_of(keys: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """tokenizer.json and tokenizer_config.json."""
    if keys.get("tokenizer.ggml.model") != "gpt2":
        raise ModelUnavailable(f"the GGUF file has a {keys.get('tokenizer.ggml.model')!r} tokenizer", _REMEDY)
    pre = keys.get("tokenizer.ggml.pre", "gpt-2")
    pattern = next((one for one in PATTERNS if one.name == pre), None)
    if pattern is None:
        raise ModelUnavailable(f"the GGUF file cuts words as {pre!r} does", _REMEDY)
    tokens: list[str] = list(keys["tokenizer.ggml.tokens"])
    kinds = list(keys.get("tokenizer.ggml.token_type") or [NORMAL] * len(tokens))
    added = [
        {"id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        | {"special": kind == CONTROL}
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (CONTROL, USER_DEFINED)
    ]
    byte_level: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    steps: dict[str, Any] = byte_level | {"use_regex": True}
    if pattern.regex is not None:
        cut = {"type": "Split", "pattern": {"Regex": pattern.regex}, "behavior": "Isolated", "invert": False}
        steps = {"type": "Sequence", "pretokenizers": [cut, byte_level | {"use_regex": False}]}
    plain = {token: number for number, token in enumerate(tokens) if kinds[number] == NORMAL}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": steps,
        "post_processor": byte_level | {"use_regex": True},
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre == "llama-bpe",
            "vocab": plain,
            "merges": [one.split(" ") for one in keys.get("tokenizer.ggml.merges", ())],
        },
    }
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    settings["add_bos_token"] = bool(keys.get("tokenizer.ggml.add_bos_token", False))
    for name, key in (("bos", "bos_token_id"), ("eos", "eos_token_id"), ("pad", "padding_token_id")):
        if (number := keys.get(f"tokenizer.ggml.{key}")) is not None:
            settings[f"{name}_token"] = tokens[int(number)]
    if template := keys.get("tokenizer.chat_template"):
        settings["chat_template"] = template
    return tokenizer, settings


def _kind(number: int, by_id: Mapping[int, str], added: Mapping[str, Mapping[str, Any]]) -> int:
    token = by_id.get(number)
    if token is None:
        return UNUSED
    if token in added:
        return CONTROL if added[token].get("special") else USER_DEFINED
    return NORMAL


def _pattern_name(pre_tokenizer: Mapping[str, Any], directory: Path) -> str:
    steps = pre_tokenizer.get("pretokenizers") or [pre_tokenizer]
    kinds = [one.get("type") for one in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True) and not steps[0].get("add_prefix_space"):
        return "gpt-2"
    if kinds == ["Split", "ByteLevel"]:
        regex = steps[0].get("pattern", {}).get("Regex")
        for one in PATTERNS:
            if one.regex is not None and one.regex == regex:
                return one.name
    raise ModelUnavailable(f"the tokenizer of {directory} cuts words by a rule that GGUF has no name for", _REMEDY)


def _adds_bos(tokenizer: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    said = settings.get("add_bos_token")
    bos = settings.get("bos_token")
    content = bos.get("content") if isinstance(bos, dict) else bos
    if said is not None:
        return bool(said)
    return bool(content) and json.dumps(content, ensure_ascii=False) in json.dumps(
        tokenizer.get("post_processor"), ensure_ascii=False
    )


def _template(directory: Path, settings: Mapping[str, Any]) -> str:
    path = directory / "chat_template.jinja"
    if path.is_file():
        return path.read_text("utf-8")
    template = settings.get("chat_template")
    return template if isinstance(template, str) else ""
