"""How a sentence-transformers directory turns tokens into a vector, read from and written to its JSON files without torch."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import read_json
from openbook.lm.disk import make_directory, write_json
from openbook.lm.families.bert_config import BertConfig

Pooling = Literal["mean", "cls", "max", "mean_sqrt_len"]
_POOLING_KEYS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
}
DenseActivation = Literal["identity", "tanh"]
_ACTIVATIONS: dict[str, DenseActivation] = {
    "torch.nn.modules.linear.Identity": "identity",
    "torch.nn.modules.activation.Tanh": "tanh",
}


@dataclass(frozen=True)
class DenseStep:
    """A projection after pooling, in the folder `path`."""

    path: str
    in_features: int
    out_features: int
    bias: bool
    activation: DenseActivation


@dataclass(frozen=True)
class Recipe:
    """`max_tokens` includes the special tokens. `prompts`: what is set before a text, by kind ("query", "passage")."""

    transformer: str = ""
    max_tokens: int = 512
    pooling: Pooling = "mean"
    dense: tuple[DenseStep, ...] = ()
    normalize: bool = True
    prompts: Mapping[str, str] = field(default_factory=dict)
    hidden_size: int = 0

    @property
    def dimension(self) -> int:
        return self.dense[-1].out_features if self.dense else self.hidden_size


def read_recipe(directory: Path) -> Recipe:
    """From `modules.json` and what it names; a plain BERT directory gets mean pooling and normalisation.

    ModelUnavailable names a module, pooling mode or activation that is not supported: none is left out silently.
    """
    if not directory.is_dir():
        raise ModelUnavailable(f"{str(directory)!r} is not a directory", "name the directory of an embedder")
    if not (directory / "modules.json").is_file():
        config = BertConfig.read(directory)
        return Recipe(max_tokens=config.max_positions, hidden_size=config.hidden_size, prompts=_prompts(directory))
    modules = _modules(directory)
    kind, transformer = modules[0]
    if kind != "Transformer":
        raise ModelUnavailable(f"{directory} begins with a {kind!r} module", "use an embedder that begins with BERT")
    config = BertConfig.read(directory / transformer)
    pooling: Pooling = "mean"
    dense: list[DenseStep] = []
    normalize = False
    for kind, path in modules[1:]:
        match kind:
            case "Pooling":
                pooling = _pooling(directory / path)
            case "Dense":
                dense.append(_dense(directory, path))
            case "Normalize":
                normalize = True
            case _:
                raise ModelUnavailable(
                    f"{directory} has a {kind!r} module", "allowed are Transformer, Pooling, Dense and Normalize"
                )
    return Recipe(
        transformer=transformer,
        max_tokens=_max_tokens(directory / transformer, config),
        pooling=pooling,
        dense=tuple(dense),
        normalize=normalize,
        prompts=_prompts(directory),
        hidden_size=config.hidden_size,
    )


def write_recipe(directory: Path, recipe: Recipe, languages: Collection[str] = ()) -> None:
    """The files that `read_recipe` and sentence-transformers read; the transformer is in `directory` itself.

    ValueError for a recipe with dense steps: their weights are not here. ModelUnavailable where nothing can be written.
    """
    if recipe.dense:
        raise ValueError("dense steps have weights of their own: write them beside")
    kinds = [
        ("", "Transformer"),
        ("1_Pooling", "Pooling"),
        *([("2_Normalize", "Normalize")] if recipe.normalize else []),
    ]
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (path, kind) in enumerate(kinds)
    ]
    modes = {key: mode == recipe.pooling for key, mode in _POOLING_KEYS.items()}
    make_directory(directory / "1_Pooling")
    write_json(directory / "1_Pooling" / "config.json", {"word_embedding_dimension": recipe.hidden_size} | modes)
    write_json(directory / "sentence_bert_config.json", {"max_seq_length": recipe.max_tokens, "do_lower_case": False})
    said = {"prompts": dict(recipe.prompts), "default_prompt_name": None}
    spoken = {"languages": sorted(languages)} if languages else {}
    write_json(directory / "config_sentence_transformers.json", said | spoken)
    write_json(directory / "modules.json", modules)


def _modules(directory: Path) -> list[tuple[str, str]]:
    """(last part of the type, path) of each module, in order; the path stays inside the directory."""
    path = directory / "modules.json"
    try:
        rows = json.loads(path.read_text("utf-8"))
        modules = [(str(row["type"]).rpartition(".")[2], str(row["path"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"{path} cannot be read: {error}", "copy the checkpoint again") from error
    if not modules:
        raise ModelUnavailable(f"{path} names no module", "copy the checkpoint again")
    for _, name in modules:
        if not (directory / name).resolve().is_relative_to(directory.resolve()):
            raise ModelUnavailable(f"{path} names a folder outside: {name!r}", "do not use this checkpoint")
    return modules


def _pooling(folder: Path) -> Pooling:
    raw = read_json(folder / "config.json")
    mode = raw.get("pooling_mode")
    if mode is None:
        chosen = [key for key, value in raw.items() if key.startswith("pooling_mode_") and value is True]
    else:
        chosen = [f"pooling_mode_{mode}_tokens" if mode in ("mean", "max", "mean_sqrt_len") else f"pooling_mode_{mode}"]
        chosen = ["pooling_mode_cls_token" if mode == "cls" else chosen[0]]
    if len(chosen) != 1 or chosen[0] not in _POOLING_KEYS:
        raise ModelUnavailable(f"{folder} pools by {chosen}", f"allowed is one of {sorted(_POOLING_KEYS.values())}")
    return _POOLING_KEYS[chosen[0]]


def _dense(directory: Path, path: str) -> DenseStep:
    raw = read_json(directory / path / "config.json")
    name = str(raw.get("activation_function", "torch.nn.modules.activation.Tanh"))
    if name not in _ACTIVATIONS:
        raise ModelUnavailable(f"{directory / path} uses {name!r}", f"allowed are {sorted(_ACTIVATIONS)}")
    return DenseStep(
        path, int(raw["in_features"]), int(raw["out_features"]), bool(raw.get("bias", True)), _ACTIVATIONS[name]
    )


def _max_tokens(folder: Path, config: BertConfig) -> int:
    path = folder / "sentence_bert_config.json"
    wanted = read_json(path).get("max_seq_length") if path.is_file() else None
    return min(int(wanted or config.max_positions), config.max_positions)


def _prompts(directory: Path) -> dict[str, str]:
    """`prompts` of config_sentence_transformers.json for "query" and "passage" ("document" counts as "passage").

    A default prompt applies to both, as it does in sentence-transformers.
    """
    path = directory / "config_sentence_transformers.json"
    raw = read_json(path) if path.is_file() else {}
    prompts = {str(name): str(text) for name, text in (raw.get("prompts") or {}).items()}
    default = prompts.get(str(raw.get("default_prompt_name")), "")
    passage = next((prompts[name] for name in ("passage", "document", "corpus") if name in prompts), default)
    found = {"query": prompts.get("query", default), "passage": passage}
    return {kind: text for kind, text in found.items() if text}
