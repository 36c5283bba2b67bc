"""What a checkpoint directory says about its tokenizer beside the vocabulary: kind, named special tokens, added tokens.

The vocabulary itself is read by `backend`, chat templates by `template_files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import read_json

Kind = Literal["bert", "gpt2", "qwen2", "roberta", "llama", "t5", "xlm-roberta"]
_CLASSES: dict[str, Kind] = {
    "BertTokenizer": "bert",
    "GPT2Tokenizer": "gpt2",
    "Qwen2Tokenizer": "qwen2",
    "RobertaTokenizer": "roberta",
    "LlamaTokenizer": "llama",
    "T5Tokenizer": "t5",
    "XLMRobertaTokenizer": "xlm-roberta",
}
_MODEL_TYPES: dict[str, Kind] = {
    "bert": "bert",
    "gpt2": "gpt2",
    "qwen2": "qwen2",
    "qwen3": "qwen2",
    "roberta": "roberta",
    "llama": "llama",
    "mistral": "llama",
    "t5": "t5",
    "mt5": "t5",
    "xlm-roberta": "xlm-roberta",
}
_SENTENCE = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>"}
_FILLED = {"unk_token": "<unk>", "pad_token": "<pad>"}
_USUAL: dict[Kind, dict[str, str]] = {
    "bert": {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    },
    "gpt2": dict.fromkeys(("unk_token", "bos_token", "eos_token"), "<|endoftext|>"),
    "qwen2": dict.fromkeys(("unk_token", "eos_token", "pad_token"), "<|endoftext|>"),
    "roberta": _SENTENCE | _FILLED | {"mask_token": "<mask>"},
    "llama": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
    "t5": {"eos_token": "</s>"} | _FILLED,
    "xlm-roberta": _SENTENCE | _FILLED | {"mask_token": "<mask>"},
}
"""The special tokens of a kind whose directory does not name them (it has no tokenizer.json)."""

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class Settings:
    """`raw`: tokenizer_config.json. `special`: name ("bos_token") -> content. `added`: id -> the fields of an added token."""

    raw: dict[str, Any] = field(default_factory=dict)
    kind: Kind | None = None
    special: dict[str, str] = field(default_factory=dict)
    added: dict[int, dict[str, Any]] = field(default_factory=dict)

    def said(self, name: str, otherwise: bool) -> bool:
        """A switch of tokenizer_config.json; null and what is not said count as `otherwise`."""
        value = self.raw.get(name)
        return otherwise if value is None else bool(value)


def read_settings(directory: Path) -> Settings:
    """From tokenizer_config.json, special_tokens_map.json, added_tokens.json and config.json, each where it is there."""
    raw = _object(directory / "tokenizer_config.json")
    kind = _kind(raw, directory)
    special: dict[str, str] = {}
    if not (directory / "tokenizer.json").is_file() and kind is not None:
        special |= _USUAL[kind]
    special |= _contents(raw)
    if "added_tokens_decoder" not in raw:
        special |= _contents(_object(directory / "special_tokens_map.json"))
    return Settings(raw, kind, special, _added(raw, directory, special))


def _object(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _kind(raw: Mapping[str, Any], directory: Path) -> Kind | None:
    named = str(raw.get("tokenizer_class") or "").removesuffix("Fast")
    if named in _CLASSES:
        return _CLASSES[named]
    return _MODEL_TYPES.get(str(_object(directory / "config.json").get("model_type")))


def _contents(said: Mapping[str, Any]) -> dict[str, str]:
    """The tokens among the settings: texts, or objects with a `content`. Named ones first, as templates see them."""
    found: dict[str, str] = {}
    for name in (*_NAMED, *(key for key in said if key.endswith("_token") and key not in _NAMED)):
        value = said.get(name)
        content = value.get("content") if isinstance(value, dict) else value
        if isinstance(content, str):
            found[name] = content
    return found


def _added(raw: Mapping[str, Any], directory: Path, special: Mapping[str, str]) -> dict[int, dict[str, Any]]:
    """Tokens that are not in the vocabulary's own file, by id. ModelUnavailable for an id that is no number."""
    said: dict[Any, Any] = raw.get("added_tokens_decoder") or {}
    if not said:
        older = _object(directory / "added_tokens.json")
        named = set(special.values())
        said = {number: {"content": text, "special": text in named} for text, number in older.items()}
    try:
        return {int(number): _token(token) for number, token in sorted(said.items(), key=lambda one: int(one[0]))}
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelUnavailable(f"the added tokens of {directory}: {error}", "copy the checkpoint again") from None


def _token(said: Any) -> dict[str, Any]:
    token = {"content": said} if isinstance(said, str) else {key: said[key] for key in said if key != "__type"}
    if not isinstance(token.get("content"), str):
        raise ValueError(f"{said!r} has no content")
    return token
