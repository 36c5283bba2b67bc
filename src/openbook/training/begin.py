"""What a run starts from: a model and its tokenizer, as the recipe names them, with an adapter where one is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.adapters.attach import Trainable, attach, trainable
from openbook.lm.adapters.qlora import quantize_base
from openbook.lm.adapters.settings import (
    BottleneckSettings,
    LoraSettings,
    PrefixSettings,
    PromptSettings,
    Settings,
)
from openbook.lm.families.base import Family
from openbook.lm.families.bert_config import HeadName
from openbook.lm.heads import config_with_head, load_with_head, load_with_score
from openbook.lm.load import load_model, new_model
from openbook.lm.local import model_directory
from openbook.lm.presets import new_config
from openbook.lm.tokenizers.characters import character_tokenizer
from openbook.lm.tokenizers.corpus import corpus_files, read_texts
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.recipe import ObjectiveName, Recipe, data_paths
from openbook.training.recipe_parts import AdapterPart
from openbook.training.special_tokens import with_special_tokens

ADAPTER = "default"
"""The name of the adapter that is trained, as PEFT calls it."""
P_TUNING_SIZE = 512
"""Width of the network of P-tuning v2, without which it would be a prefix."""
HEADS_OF: dict[ObjectiveName, tuple[HeadName, int]] = {
    "masked": ("ForMaskedLM", 2),
    "rerank": ("ForSequenceClassification", 1),
    "reader": ("ForQuestionAnswering", 2),
    "next_sentence": ("ForNextSentencePrediction", 2),
}
"""Of objectives that learn on an encoder: the head that they need, and its labels. Others take the model as it is."""


def head_of(recipe: Recipe) -> tuple[HeadName, int] | None:
    """That of its objective. UsageError for a classifier without labels."""
    if recipe.objective != "classifier":
        return HEADS_OF.get(recipe.objective)
    if len(recipe.classifier.labels) < 2:
        raise UsageError("a classifier needs two labels or more", "e.g. classifier.labels=[bad, good]")
    return "ForSequenceClassification", len(recipe.classifier.labels)


class Begun(NamedTuple):
    """`is_fresh`: its weights were drawn, so that its loss is that of a guess. `notes`: what to know about it."""

    model: Family
    tokenizer: Tokenizer
    is_fresh: bool
    trainable: Trainable
    notes: tuple[str, ...] = ()


def open_tokenizer(recipe: Recipe) -> Tokenizer:
    """That of the checkpoint, or the one that the recipe names for a fresh model, with the tokens that its objective needs."""
    if recipe.model.path is not None:
        return Tokenizer.load(model_directory(os_path(recipe.model.path)))
    return with_special_tokens(_named_tokenizer(recipe), recipe.objective)


def _named_tokenizer(recipe: Recipe) -> Tokenizer:
    match recipe.model.tokenizer:
        case None | "default":
            return default_tokenizer()
        case "characters":
            files = corpus_files(data_paths([*recipe.data.train, *recipe.data.eval]))
            return character_tokenizer(read_texts(files))
        case name:
            return Tokenizer.load(model_directory(os_path(name)))


def open_model(recipe: Recipe, tokenizer: Tokenizer) -> Begun:
    """The model in the dtype that it is trained in, with gradients on what is trained.

    Raises UsageError for a tokenizer that does not belong to the model, and what `attach` raises.
    """
    part = recipe.model
    dtype = torch.bfloat16 if recipe.precision == "bfloat16-pure" else torch.float32
    model: Family
    fresh: tuple[str, ...] = ()
    wanted = head_of(recipe)
    if recipe.objective == "reward":
        if part.path is None:
            raise UsageError("a reward model begins as a trained one", "give model.path=DIR")
        model, fresh = load_with_score(model_directory(os_path(part.path)), dtype, recipe.seed)
    elif part.path is not None and wanted is not None:
        model, fresh = load_with_head(model_directory(os_path(part.path)), *wanted, dtype, recipe.seed)
    elif part.path is not None:
        model = load_model(model_directory(os_path(part.path)), dtype)
    else:
        model = new_model(fresh_config(recipe, tokenizer), dtype, recipe.seed)
    if recipe.objective == "classifier":
        names = dict(enumerate(recipe.classifier.labels))
        said = {"id2label": {str(number): name for number, name in names.items()}}
        model.carried = {**model.carried, **said, "label2id": {name: number for number, name in names.items()}}
    _check_vocabulary(model, tokenizer)
    _check_places(model, recipe.max_seq_len)
    notes = [f"fresh, and trained whole: {', '.join(fresh)}"] if fresh else []
    if recipe.adapter is None:
        model.requires_grad_(True)
        return Begun(model, tokenizer, part.path is None, trainable(model), tuple(notes))
    settings = adapter_settings(recipe.adapter, tokenizer, fresh)
    if recipe.adapter.kind == "qlora":
        notes.append(str(quantize_base(model)))
    done = attach(model, settings, ADAPTER, seed=recipe.seed)
    return Begun(model, tokenizer, False, done, (*notes, str(done)))


def fresh_config(recipe: Recipe, tokenizer: Tokenizer) -> dict[str, object]:
    """The config.json of a fresh model."""
    part = recipe.model
    if part.size is None:
        raise UsageError("a fresh model needs model.size", "e.g. model.size=1m")
    special = {
        f"{name}_token_id": number
        for name, number in (("bos", tokenizer.bos_id), ("eos", tokenizer.eos_id), ("pad", tokenizer.pad_id))
        if number is not None
    }
    if part.family == "t5" and tokenizer.pad_id is not None:
        special["decoder_start_token_id"] = tokenizer.pad_id
    raw = new_config(part.family, part.size, tokenizer.vocab_size, recipe.max_seq_len) | special | dict(part.shape)
    wanted = head_of(recipe)
    if wanted is None:
        return raw
    if part.family != "bert":
        raise UsageError(
            f"objective {recipe.objective} learns on an encoder, not on {part.family}", "model.family=bert"
        )
    return config_with_head(raw, *wanted)


def adapter_settings(part: AdapterPart, tokenizer: Tokenizer, fresh: Sequence[str] = ()) -> Settings:
    """`fresh`: modules that were drawn, which LoRA trains whole beside it. UsageError for a setting that an adapter of this kind
    does not have, or for one that leaves a fresh head as it is.
    """
    given = {name: value for name, value in part.model_dump().items() if name != "kind" and value is not None}
    if part.kind in ("lora", "qlora", "dora"):
        _only(part, given, {"r", "alpha", "dropout", "target_modules", "trained_modules", "is_rank_stabilized"})
        given.setdefault("alpha", 2.0 * given.get("r", 8))
        given["trained_modules"] = tuple(dict.fromkeys([*given.get("trained_modules", ()), *fresh]))
        return LoraSettings(**given, is_dora=part.kind == "dora")
    if fresh:
        raise UsageError(f"{fresh[0]} is fresh, and {part.kind} would leave it so", "adapter.kind=lora trains it too")
    if part.kind == "houlsby":
        _only(part, given, {"size", "target_modules"})
        return BottleneckSettings(**given)
    if part.kind in ("prefix", "p-tuning"):
        _only(part, given, {"num_virtual_tokens", "projection_size"})
        if part.kind == "p-tuning":
            given.setdefault("projection_size", P_TUNING_SIZE)
        return PrefixSettings(**given)
    _only(part, given, {"num_virtual_tokens", "initial_text"})
    text = given.pop("initial_text", None)
    return PromptSettings(**given, initial_ids=tuple(tokenizer.encode(text, add_special_tokens=False) if text else ()))


def os_path(name: str) -> str:
    """With `~` and variables replaced where it is a path."""
    path = data_paths([name])[0] if "$" in name or name.startswith("~") else Path(name)
    return str(path)


def _only(part: AdapterPart, given: dict[str, object], known: Sequence[str] | set[str]) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise UsageError(
            f"adapter.{unknown[0]} is no setting of {part.kind}", f"{part.kind} has {', '.join(sorted(known))}"
        )


def _check_vocabulary(model: Family, tokenizer: Tokenizer) -> None:
    rows = model.config.vocab_size
    if tokenizer.vocab_size > rows:
        raise UsageError(
            f"the tokenizer has {tokenizer.vocab_size:,} tokens, the model a table of {rows:,}",
            "use the tokenizer that the model was trained with",
        )


def _check_places(model: Family, max_seq_len: int) -> None:
    most = getattr(model.config, "max_seq_len", None)
    if isinstance(most, int) and max_seq_len > most:
        raise ModelUnavailable(
            f"max_seq_len is {max_seq_len:,}, the model has places for {most:,}", f"lower max_seq_len to {most}"
        )
