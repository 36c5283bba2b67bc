"""Checkpoints that are made here: a new model with its tokenizer, and a base with its adapter folded in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from openbook.core.errors import UsageError

if TYPE_CHECKING:
    from openbook.lm.families.base import Family
    from openbook.lm.tokenizers.tokenizer import Tokenizer


_MAX_SEQ_LEN = 1 << 24


class Made(NamedTuple):
    """`table`: of the `parameters`, those of the table of tokens and of a head that is not the same. `notes`: what it lacks."""

    parameters: int
    table: int
    vocab_size: int
    notes: tuple[str, ...] = ()


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
    """A freshly initialised checkpoint directory with a tokenizer, the built-in one with its chat template if None.

    Raises UsageError for a directory that is not empty, for a family, size or dtype that is not known, and for a seed or a
    number of places that cannot be; ModelUnavailable for a model that does not fit into memory.
    """
    from openbook.lm.load import DTYPES, new_model, save_model
    from openbook.lm.presets import new_config
    from openbook.lm.tokenizers.default import default_tokenizer
    from openbook.lm.tokenizers.tokenizer import Tokenizer

    check_free(out)
    if dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r} is not known", f"known are {', '.join(DTYPES)}")
    if not 1 <= max_seq_len <= _MAX_SEQ_LEN:
        raise UsageError(f"max_seq_len is {max_seq_len:,}", f"give 1 to {_MAX_SEQ_LEN:,}")
    if not 0 <= seed < 1 << 63:
        raise UsageError(f"seed is {seed}", "give 0 or more, below 2^63")
    chosen = Tokenizer.load(tokenizer) if tokenizer is not None else default_tokenizer()
    special = {
        f"{name}_token_id": number
        for name, number in (("bos", chosen.bos_id), ("eos", chosen.eos_id), ("pad", chosen.pad_id))
        if number is not None
    }
    if family == "t5" and chosen.pad_id is not None:
        special["decoder_start_token_id"] = chosen.pad_id
    model = new_model(new_config(family, size, chosen.vocab_size, max_seq_len) | special, DTYPES[dtype], seed)
    save_model(model, out)
    chosen.save(out)
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    table = sum(count for name, count in counts.items() if name in ("tokens.weight", "lm_head.weight"))
    return Made(sum(counts.values()), table, chosen.vocab_size, tuple(_lacks(model, chosen)))


def _lacks(model: Family, tokenizer: Tokenizer) -> Iterator[str]:
    """What has to be added before the model can do what its family does."""
    if model.causal and tokenizer.chat_template is None:
        yield "its tokenizer has no chat template: it cannot chat until you add a chat_template.jinja to the directory"
    if model.config.model_type != "bert" and tokenizer.eos_id is None:
        yield "its tokenizer has no eos_token: what it writes ends at max_tokens only, until tokenizer_config.json names one"
    if model.config.model_type == "bert" and "mask_token" not in tokenizer.special:
        yield (
            "its tokenizer has no [MASK], which a masked LM is trained with: train one with `openbook tokenizer train "
            "CORPUS DIR --kind wordpiece`, and give it with --tokenizer DIR"
        )


def write_merged(base: Path, adapter: Path, out: Path) -> None:
    """The base with the adapter folded into its weights, with the head that was trained beside it, and the base's tokenizer.

    Raises what `load_adapter` raises, and UsageError, before the base is loaded, for a kind that cannot be folded in.
    """
    from openbook.lm.adapters.files import load_adapter, read_settings
    from openbook.lm.adapters.merge import check_merges, merge
    from openbook.lm.convert import save_with_tokenizer
    from openbook.lm.heads import head_of_adapter, is_of_score, load_with_head, load_with_score
    from openbook.lm.load import load_model

    check_free(out)
    check_merges(read_settings(adapter), str(adapter))
    head = head_of_adapter(adapter)
    if is_of_score(adapter):
        model = load_with_score(base).model
    else:
        model = load_model(base) if head is None else load_with_head(base, *head).model
    name = load_adapter(model, adapter)
    merge(model, name)
    save_with_tokenizer(model, base, out)
    if (said := adapter / "reward.json").is_file():
        shutil.copyfile(said, out / said.name)


def check_free(out: Path) -> None:
    """UsageError when `out` is there and not empty."""
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UsageError(f"{out} exists already", "name a place that is not there yet")
