"""An encoder with an adapter in it, and the adapter's head: in bytes and without torch where the processor can, else floats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import ModelUnavailable
from openbook.library.embed.encoders import Encoder, Int8Encoder, Precision, TorchEncoder, fastest_precision
from openbook.lm.adapters.arrays import merged_arrays
from openbook.lm.checkpoint import read_json
from openbook.lm.families.bert_config import BertConfig
from openbook.lm.families.bert_int8 import encoder_arrays
from openbook.lm.reader import Reader
from openbook.lm.tokenizers.backend import open_backend
from openbook.lm.weights import is_shipped

Floats = NDArray[np.float32]


class Adapted(NamedTuple):
    """`head`: the tensors of the head by the checkpoint's names, e.g. "qa_outputs.weight" (2, E)."""

    encoder: Encoder
    head: Mapping[str, Floats]

    def linear(self, name: str, source: Path) -> tuple[Floats, Floats]:
        """(out, E) and (out,). ModelUnavailable where there is no such head."""
        try:
            return self.head[f"{name}.weight"], self.head[f"{name}.bias"]
        except KeyError:
            raise ModelUnavailable(
                f"{source} has no head {name}", "name the adapter that was trained with it"
            ) from None


def open_adapted(base: Path, adapter: Path | None = None, precision: Precision | Literal["auto"] = "auto") -> Adapted:
    """The encoder in `base` with `adapter` merged into it; without one, as it is. ModelUnavailable for what does not fit."""
    arrays = encoder_arrays(base)
    if adapter is not None:
        if not is_shipped(adapter):  # whose base is known by its hash, `embed.default.check_default`
            _check_base(base, adapter)
        arrays = merged_arrays(arrays, adapter)
    chosen = fastest_precision(base) if precision == "auto" else precision
    encoder: Encoder = Int8Encoder(base, arrays) if chosen == "int8" else TorchEncoder(base, chosen, arrays)
    head = {name: value for name, value in arrays.items() if not name.startswith(("embeddings.", "encoder."))}
    return Adapted(encoder, head)


def _check_base(base: Path, adapter: Path) -> None:
    """ModelUnavailable for an adapter that was made for another base, which would fit by its shapes all the same."""
    from openbook.lm.adapters.files import load_adapter
    from openbook.lm.heads import head_of_adapter, load_with_head
    from openbook.lm.load import load_model

    try:
        head = head_of_adapter(adapter)
    except Exception as error:  # safetensors raises its own class and OSError
        raise ModelUnavailable(f"{adapter} cannot be read: {error}", "copy the adapter again") from error
    load_adapter(load_model(base) if head is None else load_with_head(base, *head).model, adapter)


def open_reader(base: Path, adapter: Path | None = None, precision: Precision | Literal["auto"] = "auto") -> Reader:
    """The extractive reader in `base`, or what `adapter` makes of its encoder."""
    found = open_adapted(base, adapter, precision)
    weight, bias = found.linear("qa_outputs", adapter or base)
    return Reader(found.encoder, weight, bias, open_backend(base), max_tokens(base))


def max_tokens(directory: Path, base: Path | None = None) -> int:
    """That a checkpoint, or an adapter over `base`, reads: what its tokenizer says, and no more than there are places for."""
    path = directory / "tokenizer_config.json"
    stated = read_json(path).get("model_max_length") if path.is_file() else None
    positions = BertConfig.read(base or directory).max_positions
    return min(int(stated), positions) if isinstance(stated, int | float) else positions
