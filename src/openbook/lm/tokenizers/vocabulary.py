"""Whether a tokenizer and a model belong together, as far as their sizes tell."""

from __future__ import annotations

from openbook.core.errors import ModelUnavailable
from openbook.lm.tokenizers.tokenizer import Tokenizer

_USUAL_PADDING = 1_024


def check_vocabulary(tokenizer: Tokenizer, model_vocab_size: int) -> int:
    """The rows of the model's embedding that no token uses (models pad it to a round number).

    Raises ModelUnavailable for a tokenizer with ids that have no row, and for one that leaves more than 1,024 rows and an
    eighth of them unused, which is another model's.
    """
    spare = model_vocab_size - tokenizer.vocab_size
    if spare < 0:
        raise ModelUnavailable(
            f"{tokenizer.source} has ids up to {tokenizer.vocab_size - 1:,}, the model has {model_vocab_size:,} rows",
            "use the tokenizer of the model, or resize its embedding before it is trained",
        )
    if spare > max(_USUAL_PADDING, model_vocab_size // 8):
        raise ModelUnavailable(
            f"{tokenizer.source} has {tokenizer.vocab_size:,} tokens, the model has {model_vocab_size:,} rows",
            "it is another model's tokenizer: use the one that came with the weights",
        )
    return spare
