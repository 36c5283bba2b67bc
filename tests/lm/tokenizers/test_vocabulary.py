from __future__ import annotations

import pytest

from openbook.core.errors import ModelUnavailable
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.vocabulary import check_vocabulary


def test_spare_rows_are_counted_and_other_models_refused() -> None:
    tokenizer = default_tokenizer()
    assert check_vocabulary(tokenizer, 8_192) == 0
    assert check_vocabulary(tokenizer, 8_448) == 256
    with pytest.raises(ModelUnavailable, match="ids up to 8,191, the model has 8,000 rows"):
        check_vocabulary(tokenizer, 8_000)
    with pytest.raises(ModelUnavailable, match="another model's tokenizer"):
        check_vocabulary(tokenizer, 32_000)
