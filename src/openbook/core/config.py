"""One resolver for settings: command line over environment over `config.yaml` over defaults.

A setting `a.b` is `OPENBOOK_A__B` in the environment, `a: {b: ...}` in the file and `a.b=VALUE` as an override. Keys
that nobody knows are errors that name the nearest known one.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from openbook.core.errors import UsageError
from openbook.core.paths import home, replacing

NOT_SETTINGS = frozenset(
    {"HOME", "API_KEY", "FAULT", "DATA", "BASE", "ENCODER", "THREADS", "ISA", "LIBRARY", "TRACEBACK"}
)
"""`OPENBOOK_*` names with a meaning of their own; DATA, BASE and ENCODER are what recipes name."""

Model = TypeVar("Model", bound=BaseModel)


class ModelEntry(BaseModel):
    """A generator by name: `url` of an OpenAI-compatible endpoint (up to and with `/v1`) and its `model` there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    model: str | None = None


class Settings(BaseModel):
    """What a user may set once for every call. Flags of a command win over it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    library: str | None = Field(default=None, description="name or path of the library that is used by default")
    model: str | None = Field(
        default=None, description="generator of `ask` and `chat`: DIR, URL, URL#NAME or a name below"
    )
    models: dict[str, ModelEntry] = Field(default_factory=dict, description="generators by name")
    max_wrong: float = Field(
        default=0.10, gt=0, lt=1, description="share of unanswerable questions that may be answered"
    )
    mode: str = Field(
        default="hybrid", pattern="^(hybrid|dense|bm25)$", description="how `search` looks: hybrid, dense, bm25"
    )
    rerank: bool | None = Field(
        default=None, description="whether `search` and `ask` rerank passages; not set: where it was measured to win"
    )
    rerank_depth: int = Field(default=20, ge=1, le=100, description="how many passages are reranked, from the first")
    precision: str = Field(
        default="auto", pattern="^(auto|float32|bfloat16|int8)$", description="arithmetic of the embedder"
    )
    max_file_bytes: int = Field(default=100_000_000, gt=0, description="larger files are refused by name")
    file_timeout_s: float = Field(default=120.0, gt=0, description="the longest that reading one file may take")


def config_path() -> Path:
    return home() / "config.yaml"


def load_settings(overrides: Sequence[str] = ()) -> Settings:
    """The settings in force. `overrides` are "key.path=value"; values are read as YAML."""
    merged = _read_file(config_path())
    for source in (_from_environment(), dict(split_override(text) for text in overrides)):
        for key, value in source.items():
            set_key(merged, key, value)
    return validated(Settings, merged, "setting")


def save_setting(override: str) -> Settings:
    """Writes "key.path=value" into `config.yaml` after checking the whole; "key.path=" removes it."""
    key, value = split_override(override)
    merged = _read_file(config_path())
    set_key(merged, key, value)
    if value is None:
        _remove_nones(merged)
    settings = validated(Settings, merged, "setting")
    config_path().parent.mkdir(parents=True, exist_ok=True)
    with replacing(config_path()) as file:
        file.write(yaml.safe_dump(merged, allow_unicode=True, sort_keys=True).encode("utf-8"))
    return settings


def validated(model: type[Model], values: Mapping[str, Any], what: str) -> Model:
    """`model` from plain values; raises `UsageError` that names the key, the value and what is allowed."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{what} {key!r} is not known", _nearest_key(model, first["loc"])) from None
        if first["type"] == "missing":
            raise UsageError(f"{what} {key!r} is missing", f"give {key}=...") from None
        if first["type"] == "value_error" and isinstance(first["input"], Mapping):
            raise UsageError(f"{what}s do not fit together", first["msg"].removeprefix("Value error, ")) from None
        raise UsageError(f"{what} {key} = {first['input']!r} is not allowed", first["msg"]) from None


def nearest(word: str, known: Sequence[str]) -> str:
    """A remedy that names the nearest known words, or all of them."""
    close = difflib.get_close_matches(word, known, n=2)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"


def split_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"{text!r} is not KEY=VALUE", "e.g. max_wrong=0.05")
    try:
        return key.strip(), yaml.safe_load(value) if value.strip() else None
    except yaml.YAMLError as error:
        raise UsageError(f"the value of {key.strip()} is not YAML", str(error)) from None


def set_key(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets `a.b` in nested dicts."""
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{parent!r} in {key!r} holds a value, not keys", "set it by its own name")
        values = inner
    values[last] = value


def _remove_nones(values: dict[str, Any]) -> None:
    for key in [key for key, value in values.items() if value is None]:
        del values[key]


def _nearest_key(model: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """The remedy for a key that is not known at `place` in `model` or in a part of it."""
    for part in place[:-1]:
        field = model.model_fields.get(str(part))
        inner = (field.annotation, *get_args(field.annotation)) if field is not None else ()
        found = next((one for one in inner if isinstance(one, type) and issubclass(one, BaseModel)), None)
        if found is None:
            break
        model = found
    return nearest(str(place[-1]), list(model.model_fields))


def _from_environment() -> dict[str, Any]:
    prefix = "OPENBOOK_"
    found: dict[str, Any] = {}
    for name, value in os.environ.items():
        if name.startswith(prefix) and name.removeprefix(prefix) not in NOT_SETTINGS:
            try:
                found[name.removeprefix(prefix).lower().replace("__", ".")] = yaml.safe_load(value)
            except yaml.YAMLError:
                raise UsageError(f"the value of {name} is not YAML", "quote it") from None
    if os.environ.get("OPENBOOK_LIBRARY"):
        found["library"] = os.environ["OPENBOOK_LIBRARY"]
    return found


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {error}", "mend it, or remove it") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "check its permissions, or remove it") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds no settings", "write KEY: VALUE lines")
    return values
