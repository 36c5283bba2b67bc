"""Without AVX-512: the same model, by other ways. A process of its own, since libraries choose their instructions once."""

from __future__ import annotations

import os
import subprocess
import sys

_PROGRAM = """
from openbook.core.threads import set_thread_environment
set_thread_environment()
import numba, torch
from openbook.core.messages import SamplingParams
from openbook.lm.generate import generate
from openbook.lm.kernels.cpu import why_not_int8
from openbook.lm.load import new_model
from openbook.lm.nn.batch import Batch
from openbook.lm.quantization.dynamic import DynamicInt8Linear
from openbook.lm.quantization.prepare import prepare
from openbook.serving.engine.core import EngineCore

assert "avx512" in why_not_int8() and numba.config.CPU_NAME == "haswell"
raw = {"model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 90,
       "intermediate_size": 128, "num_hidden_layers": 2, "max_position_embeddings": 128}
tokens = torch.randint(90, (40,), generator=torch.Generator().manual_seed(0))
batch = Batch.of([40])
for precision, most in (("float32", 1e-4), ("bfloat16", 0.03), ("int8", 0.06), ("int4", 0.4)):
    torch.manual_seed(0)
    with torch.inference_mode():
        want = new_model(raw, seed=1)(tokens, batch)
        model = prepare(new_model(raw, seed=1), precision)
        assert getattr(model, "fused") is None
        got = model(tokens, batch).float()
    assert (got - want).abs().max() <= most * want.abs().max(), (precision, (got - want).abs().max(), want.abs().max())
    engine = EngineCore(model, num_blocks=32, max_num_seqs=4)
    prompts = [tokens[:7].tolist(), tokens[3:30].tolist()]
    alone = [engine.generate([one], SamplingParams(max_tokens=8))[0].tokens for one in prompts]
    assert all(len(one) == 8 for one in alone)
    if precision == "int8":
        layer = model.lm_head
        assert isinstance(layer, DynamicInt8Linear) and not layer.packed.weight.size
        x = torch.randn(5, 64)
        assert torch.equal(layer(x)[2:3], layer(x[2:3]))
print("done")
"""


def test_every_precision_works_without_avx512() -> None:
    environment = {**os.environ, "OPENBOOK_ISA": "avx2", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert found.stdout.strip().endswith("done"), found.stderr[-3_000:]
