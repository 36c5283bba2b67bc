"""Checkpoints that are made here: a new model with its tokenizer, and a base with its adapter folded in."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from openbook.core.errors import UsageError


class Made(NamedTuple):
    parameters: int
    vocab_size: int


def write_fresh(
    out: Path,
    family: str,
    size: str,
    tokenizer: Path | None = None,
    *,
    max_seq_len: int = 2_048,
    dtype: str = "float32",
    seed: int = 0,
) -> Made:
    """A freshly initialised checkpoint directory with a tokenizer and a chat template.

    Raises UsageError for a directory that is not empty and for a family, size or dtype that is not known,
    and for no places.
    """
    from openbook.lm.load import DTYPES, new_model, save_model
    from openbook.lm.presets import new_config
    from openbook.lm.tokenizers.default import default_tokenizer
    from openbook.lm.tokenizers.tokenizer import Tokenizer

    check_free(out)
    if dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r} is not known", f"known are {', '.join(DTYPES)}")
    if max_seq_len < 1:
        raise UsageError(f"max_seq_len is {max_seq_len}: it must be 1 or more", "give a larger one")
    chosen = Tokenizer.load(tokenizer) if tokenizer is not None else default_tokenizer()
    special = {
        f"{name}_token_id": number
        for name, number in (("bos", chosen.bos_id), ("eos", chosen.eos_id), ("pad", chosen.pad_id))
        if number is not None
    }
    model = new_model(new_config(family, size, chosen.vocab_size, max_seq_len) | special, DTYPES[dtype], seed)
    save_model(model, out)
    chosen.save(out)
    return Made(sum(parameter.numel() for parameter in model.parameters()), chosen.vocab_size)


def write_merged(base: Path, adapter: Path, out: Path) -> None:
    """The base with the adapter folded into its weights, and the base's tokenizer.

    Raises what `load_adapter` raises, and UsageError, before the base is loaded, for a kind that cannot be folded in.
    """
    from openbook.lm.adapters.files import load_adapter, read_settings
    from openbook.lm.adapters.merge import check_merges, merge
    from openbook.lm.convert import save_with_tokenizer
    from openbook.lm.load import load_model

    check_free(out)
    check_merges(read_settings(adapter), str(adapter))
    model = load_model(base)
    name = load_adapter(model, adapter)
    merge(model, name)
    save_with_tokenizer(model, base, out)


def check_free(out: Path) -> None:
    """UsageError when `out` is there and not empty."""
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UsageError(f"{out} exists already", "name a place that is not there yet")
