"""New weights for an engine at work, between two of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from openbook.lm.quantization.prepare import Precision
from openbook.serving.engine.core import EngineCore
from openbook.serving.engine.loading import prepared
from openbook.serving.engine.weights import renewed


def replace_weights(core: EngineCore, source: Mapping[str, Tensor] | Path | str, precision: Precision) -> None:
    """On the engine's thread. See `Engine.update_weights`."""
    plain = renewed(core.model, source)
    core.replace_model(prepared(plain, precision, takes_adapters=core.adapters.most > 0))
