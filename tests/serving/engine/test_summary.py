"""What an engine says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lm.checkpoints import tiny
from openbook.core.messages import SamplingParams
from openbook.serving import Engine
from openbook.serving.engine.core import EngineCore
from serving.engine.models import model


@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
def test_bytes_are_those_that_are_held(tmp_path: Path, quantize: Any) -> None:
    sizes = {"vocab_size": 320, "hidden_size": 128, "intermediate_size": 256}
    base = tiny(tmp_path, **sizes)
    with Engine.load(tmp_path, quantize=quantize, max_num_seqs=3) as engine:
        said = engine.summary()
    table = 320 * 128
    products = sum(one.numel() for one in base.parameters() if one.ndim > 1) - table
    each = {None: 4, "int8": 1, "int4": 0.5}[quantize]
    least = products * each + table * (4 if quantize is None else 2)
    assert least <= said.weight_bytes < 1.35 * least
    assert said.num_blocks == 3 * 4
    assert said.kv_bytes == 12 * 16 * 2 * 2 * 2 * 32 * (4 if quantize is None else 2)
    assert (said.num_tokens, said.num_full) == (192, 3)
    assert said.precision == (quantize or "float32")
    assert list(said.phases_s) == ["read", "prepare", "cache"]
    assert "12 blocks of 16 tokens" in str(said)
    assert "3 of the full length of 64 tokens fit" in str(said)


def test_the_waste_of_blocks_is_what_is_not_filled() -> None:
    engine = EngineCore(model("llama"), block_size=4)
    assert engine.kv_waste == 0
    number = engine.add([1, 2, 3, 4, 5], SamplingParams(max_tokens=9))
    engine.step()
    assert engine.kv_waste == pytest.approx(3 / 5)
    engine.fork(number)
    assert engine.kv_waste == pytest.approx(3 / 5), "what is shared counts once"
    engine.step()
    assert engine.kv_waste == pytest.approx(4 / 8), "one full block for both, and one of two tokens for each"
