"""A checkpoint's own tokenizer, over the `tokenizers` library: torch-free, truncation counted by the caller."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import read_json

if TYPE_CHECKING:
    import tokenizers


class Encoded(NamedTuple):
    """`ids` and `segments` with special tokens. `truncated`: the text had more tokens than the model reads."""

    ids: list[int]
    segments: list[int]
    truncated: bool


class Located(NamedTuple):
    """A text with special tokens; `places` and `spans` are of the others: where in `ids`, and which code points."""

    encoded: Encoded
    places: list[int]
    spans: list[tuple[int, int]]


class Tokenizer:
    """Texts and pairs to ids, cut at `max_tokens` (special tokens included). Thread-safe."""

    def __init__(self, backend: tokenizers.Tokenizer, max_tokens: int) -> None:
        backend.enable_truncation(max_tokens, strategy="longest_first")
        self.max_tokens = max_tokens
        self._backend = backend

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Each text with its special tokens."""
        return [_encoded(one) for one in self._backend.encode_batch_fast(list(texts))]

    def encode_located(self, texts: Sequence[str]) -> list[Located]:
        """Each text with its special tokens, and where its own tokens stand in it."""
        return [_located(one) for one in self._backend.encode_batch(list(texts))]

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        """Each pair in one sequence; the longer side is cut first."""
        return [_encoded(one) for one in self._backend.encode_batch_fast(list(pairs))]

    def vocabulary(self) -> dict[str, int]:
        vocabulary: dict[str, int] = self._backend.get_vocab()
        return vocabulary


def _encoded(encoding: tokenizers.Encoding) -> Encoded:
    return Encoded(encoding.ids, encoding.type_ids, bool(encoding.overflowing))


def _located(encoding: tokenizers.Encoding) -> Located:
    places = [place for place, is_special in enumerate(encoding.special_tokens_mask) if not is_special]
    return Located(_encoded(encoding), places, [encoding.offsets[place] for place in places])


class CheckpointTokens:
    """The `TokenCounter` of a checkpoint directory. Pickles by its path, so that parse workers can have it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of each token, code points, in order, special tokens left out; nothing is cut."""
        encoding = _untruncated(self.directory).encode(text, add_special_tokens=False)
        return list(encoding.offsets)

    def __repr__(self) -> str:
        return f"CheckpointTokens({str(self.directory)!r})"


@lru_cache(maxsize=4)
def _untruncated(directory: Path) -> tokenizers.Tokenizer:
    return open_backend(directory)


def open_tokenizer(directory: Path, max_tokens: int) -> Tokenizer:
    """The tokenizer of a checkpoint directory: `tokenizer.json`, else a BERT `vocab.txt`."""
    return Tokenizer(open_backend(directory), max_tokens)


def open_backend(directory: Path) -> tokenizers.Tokenizer:
    """The library's tokenizer of a directory, without truncation or padding."""
    import tokenizers

    path = directory / "tokenizer.json"
    if path.is_file():
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ModelUnavailable(f"{path} cannot be read: {error}", "copy the checkpoint again") from error
        backend.no_truncation()  # the file may hold both, as they were when it was saved
        backend.no_padding()
        return backend
    if (directory / "vocab.txt").is_file():
        return _word_pieces(directory)
    raise ModelUnavailable(f"{directory} has no tokenizer.json and no vocab.txt", "copy the whole checkpoint")


def _word_pieces(directory: Path) -> tokenizers.Tokenizer:
    """BERT's tokenizer from its word list. Source: https://arxiv.org/abs/1609.08144, section 4.1."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    path = directory / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else {}
    backend = tokenizers.Tokenizer(models.WordPiece.from_file(str(directory / "vocab.txt"), unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=bool(settings.get("do_lower_case", True)),
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    sep, cls = backend.token_to_id("[SEP]"), backend.token_to_id("[CLS]")
    if sep is None or cls is None:
        raise ModelUnavailable(f"vocab.txt of {directory} lacks [CLS] or [SEP]", "use a BERT word list")
    backend.add_special_tokens(["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"])
    backend.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    return backend
