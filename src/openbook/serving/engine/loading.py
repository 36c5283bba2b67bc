"""How a checkpoint becomes a model that is ready to serve, and how much memory its cache gets."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from openbook.core.errors import UsageError
from openbook.lm.adapters.served import prepare_for_adapters
from openbook.lm.checkpoint import read_json
from openbook.lm.load import load_model
from openbook.lm.memory import kv_bytes
from openbook.lm.quantization.prepare import Precision, prepare
from openbook.serving.engine.core import BLOCK_SIZE

if TYPE_CHECKING:
    from openbook.lm.families.base import Family
    from openbook.serving.engine.constraint import Constraints

_KV_SHARE = 0.3
"""Of the memory that is free after loading; what `max_num_seqs` full sequences need is enough."""


class Phases:
    """Times what comes one after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begun = time.monotonic()

    def end(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name], self._begun = now - self._begun, now


def constraints_of(directory: Path, vocab_size: int, end_tokens: Iterable[int]) -> Constraints:
    """Grammars over the checkpoint's own vocabulary, which is read when the first one comes."""
    from openbook.lm.tokenizers.tokenizer import Tokenizer
    from openbook.serving.chat.constraint import GrammarCompiler

    return GrammarCompiler(lambda: Tokenizer.load(directory), vocab_size, end_tokens)


def precision_of(model: Family, quantize: Literal["int8", "int4"] | None) -> Precision:
    if quantize is not None:
        return quantize
    return "bfloat16" if model.dtype == torch.bfloat16 else "float32"


def prepared(model: Family, precision: Precision, *, takes_adapters: bool) -> Family:
    return prepare_for_adapters(model, precision) if takes_adapters else prepare(model, precision)


def loaded(directory: Path) -> Family:
    model = load_model(directory)
    return model.float() if model.dtype == torch.float16 else model


def draft_for(directory: Path, of: Path, model: Family) -> Family:
    """The model that proposes for the one `of` a directory. UsageError where the tokens of the two are not the same."""
    draft = loaded(directory)
    mine, theirs = draft.config.vocab_size, model.config.vocab_size
    remedy = "take a smaller model of the same family"
    if mine != theirs:
        raise UsageError(f"the draft {directory} has {mine:,} tokens, the model {theirs:,}", remedy)
    files = [one / "tokenizer.json" for one in (directory, of)]
    if all(file.is_file() for file in files):
        ours, others = (read_json(file).get("model", {}).get("vocab") for file in files)
        if ours != others:
            raise UsageError(f"the draft {directory} has other tokens than the model", remedy)
    return draft


def block_bytes(model: Family, dtype: torch.dtype) -> int:
    return kv_bytes(model, BLOCK_SIZE, 1) * dtype.itemsize // model.dtype.itemsize


def num_blocks(block: int, max_seq_len: int, max_num_seqs: int, kv_cache_gb: float | None) -> int:
    """How many blocks of so many bytes there can be. UsageError when there is no room for one."""
    one = -(-max_seq_len // BLOCK_SIZE)
    wanted = one * max_num_seqs
    budget = int(kv_cache_gb * 1e9) if kv_cache_gb is not None else int(_KV_SHARE * _free_bytes())
    found = min(wanted, budget // block) if kv_cache_gb is None else budget // block
    if found < 1:
        raise UsageError(
            f"{budget / 1e9:.3f} GB hold no block of keys and values ({block / 1e9:.3f} GB)", "raise kv_cache_gb"
        )
    return found


def _free_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
