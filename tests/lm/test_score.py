from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.families.llama import Llama
from openbook.lm.families.llama_config import LlamaConfig
from openbook.lm.nn.batch import Batch
from openbook.lm.score import token_logprobs

RAW = {
    "model_type": "llama",
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
MODEL = Llama(LlamaConfig.of(RAW)).eval().requires_grad_(False)
MODEL.initialise(2)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 99), st.integers(1, 4))
def test_each_token_has_the_log_probability_that_the_one_before_gives_it(lengths, seed, chunk):
    ids = torch.randint(0, 40, (sum(lengths),), generator=torch.Generator().manual_seed(seed))
    wanted = []
    for one in ids.split(lengths):
        logs = MODEL(one, Batch.of([len(one)])).log_softmax(-1)
        wanted += [0.0, *(float(logs[place, one[place + 1]]) for place in range(len(one) - 1))]
    from openbook.lm import score

    before, score.CHUNK_ROWS = score.CHUNK_ROWS, chunk
    try:
        found = token_logprobs(MODEL, ids, Batch.of(lengths))
    finally:
        score.CHUNK_ROWS = before
    assert torch.allclose(found, torch.tensor(wanted), atol=1e-5)
