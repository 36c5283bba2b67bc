"""BERT over pairs of texts: a cross-encoder that ranks passages, and the next-sentence head that scores neighbours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import ModelUnavailable
from openbook.library.embed.batches import token_batches
from openbook.lm.checkpoint import read_config, read_json
from openbook.lm.families.bert_config import BertConfig
from openbook.lm.tokenizers.encoder import Encoded, open_encoder_tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from openbook.lm.families.bert import Bert
    from openbook.lm.quantization.prepare import FloatPrecision

_BATCH_TOKENS = 8192


class CrossEncoder:
    """Satisfies `core.messages.Reranker` with a BERT classifier of one label; the score is its sigmoid, in (0, 1).

    `adapter`: what was learned over the encoder in `directory`, its head included. `truncated` counts the pairs that were longer
    than the model reads.
    """

    def __init__(self, directory: Path, precision: FloatPrecision = "float32", adapter: Path | None = None) -> None:
        self.name = (adapter or directory).name
        self._model = _PairModel(directory, precision, num_labels=1, adapter=adapter)

    @property
    def truncated(self) -> int:
        return self._model.truncated

    def rank(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N,) in (0, 1): relevance of each text to the query."""
        return self._model.scores([(query, text) for text in texts], lambda logits: logits[:, 0].sigmoid())

    def logits(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N,) what `rank` takes the sigmoid of: it tells apart what is so sure that the sigmoid is 1."""
        return self._model.scores([(query, text) for text in texts], lambda logits: logits[:, 0])


class NextSentence:
    """Satisfies `core.messages.Scorer` with BERT's next-sentence head: the probability that the second follows."""

    def __init__(self, directory: Path, precision: FloatPrecision = "float32") -> None:
        self._model = _PairModel(directory, precision, num_labels=2)

    @property
    def truncated(self) -> int:
        return self._model.truncated

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """(N,) in [0, 1]. Label 0 of the head is "is next". Source: Devlin et al. 2018, section 3.1, task 2."""
        return self._model.scores(pairs, lambda logits: logits.softmax(dim=-1)[:, 0])


class _PairModel:
    """A BERT with a pooled classifier; one batch at a time."""

    def __init__(
        self, directory: Path, precision: FloatPrecision, num_labels: int, adapter: Path | None = None
    ) -> None:
        from openbook.lm.families.bert import load_bert
        from openbook.lm.quantization.prepare import prepare

        model = load_bert(directory) if adapter is None else _adapted(directory, adapter, num_labels)
        got = 0 if model.classifier is None else model.classifier.weight.shape[0]
        if got != num_labels or model.pooler is None:
            kind = (read_config(directory).get("architectures") or ["unknown"])[0]
            raise ModelUnavailable(
                f"{directory} ({kind}) has {got} labels over a pooled token, needed are {num_labels}",
                "use a cross-encoder with one label" if num_labels == 1 else "use a BERT saved with its NSP head",
            )
        self.truncated = 0
        self._model = prepare(model, precision)
        self._tokenizer = open_encoder_tokenizer(directory, _max_tokens(directory, adapter))
        self._lock = threading.Lock()

    def scores(self, pairs: Sequence[tuple[str, str]], read: Callable[[Tensor], Tensor]) -> NDArray[np.float32]:
        """read(logits (B, labels)) -> (B,) of every pair, in the order given."""
        import torch

        from openbook.lm.nn.batch import Batch

        encoded = self._tokenizer.encode_pairs(pairs) if pairs else []
        result = np.empty(len(encoded), np.float32)
        with self._lock, torch.inference_mode():
            self.truncated += sum(one.truncated for one in encoded)
            for places in token_batches([len(one.ids) for one in encoded], _BATCH_TOKENS):
                chosen: list[Encoded] = [encoded[place] for place in places]
                batch = Batch.of([len(one.ids) for one in chosen], causal=False)
                ids = torch.tensor([number for one in chosen for number in one.ids])  # (N,)
                segments = torch.tensor([number for one in chosen for number in one.segments])  # (N,)
                logits = self._model(ids, batch, segments=segments, head="logits")  # (B, labels)
                result[places] = read(logits.float()).numpy()
        return result


def _adapted(directory: Path, adapter: Path, num_labels: int) -> Bert:
    """The encoder with a head of its own, and the adapter folded in."""
    from openbook.lm.adapters.files import load_adapter
    from openbook.lm.adapters.merge import merge
    from openbook.lm.heads import load_with_head

    model = load_with_head(directory, "ForSequenceClassification", num_labels).model
    merge(model, load_adapter(model, adapter))
    return model


def _max_tokens(directory: Path, adapter: Path | None) -> int:
    """As the adapter was trained, else as the checkpoint says."""
    path = (adapter or directory) / "tokenizer_config.json"
    stated = read_json(path).get("model_max_length") if path.is_file() else None
    positions = BertConfig.read(directory).max_positions
    return min(int(stated), positions) if isinstance(stated, int | float) else positions
