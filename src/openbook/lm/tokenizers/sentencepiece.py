"""A SentencePiece model as a tokenizer of the Rust library: Unigram and BPE, as Llama, T5 and XLM-R use them.

Sources: Kudo & Richardson 2018, https://arxiv.org/abs/1808.06226; Kudo 2018 (Unigram), https://arxiv.org/abs/1804.10959.
The steps around the model are those that transformers gives each kind; where it leaves a setting of the file out
(normalisation and unknown characters of a Llama-kind BPE), the file holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.core.errors import ModelUnavailable
from openbook.lm.tokenizers.proto import BPE, CONTROL, UNIGRAM, USER_DEFINED, SentencePieceModel, read_model
from openbook.lm.tokenizers.settings import Settings

if TYPE_CHECKING:
    import tokenizers

_NAMES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_MAX_SPLIT_WORK = 2_000_000_000
SPACE = "▁"


def find_model(directory: Path) -> Path | None:
    """The SentencePiece file of a checkpoint directory, under one of the names that are in use."""
    return next((directory / name for name in _NAMES if (directory / name).is_file()), None)


def from_model(path: Path, settings: Settings) -> tokenizers.Tokenizer:
    """ModelUnavailable for a broken file, and for a model of words or characters."""
    model = read_model(path)
    try:
        if model.model_type == BPE:
            backend = _bpe(model, settings)
        elif model.model_type == UNIGRAM:
            backend = _unigram(model, settings)
        else:
            raise ModelUnavailable(f"{path} is of type {model.model_type}", "known are Unigram (1) and BPE (2)")
        backend.encode(" a  b\u3000\ufb01 ")  # a broken table of characters is found now, not in the middle of a job
    except ModelUnavailable:
        raise
    except BaseException as error:  # a panic of the Rust library is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelUnavailable(f"{path} cannot be used: {error}", "copy the checkpoint again") from None
    _add_pieces(backend, model)
    if settings.kind == "t5":
        backend.add_special_tokens([text for text, _ in _sentinels(settings)])
    return backend


def _bpe(model: SentencePieceModel, settings: Settings) -> tokenizers.Tokenizer:
    """Llama's: spaces become "▁", one is put before the text, characters that are in no piece fall back to bytes."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    vocabulary = {piece.text: number for number, piece in enumerate(model.pieces)}
    backend = tokenizers.Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=merges_of([piece.text for piece in model.pieces], vocabulary),
            unk_token=model.pieces[model.unk_id].text,
            fuse_unk=True,
            byte_fallback=model.byte_fallback,
        )
    )
    steps = _normalisation(model)
    has_space = settings.said("add_prefix_space", model.add_dummy_prefix)
    if settings.kind == "llama":
        scheme = "never" if not has_space else "always" if settings.said("legacy", False) else "first"
        backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme, split=False)
    else:
        steps += _spaces(has_space)
    backend.normalizer = normalizers.Sequence(steps) if steps else None
    undo = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence(undo + ([decoders.Strip(content=" ", left=1)] if has_space else []))
    return backend


def _normalisation(model: SentencePieceModel) -> list[Any]:
    """The file's own table of characters, and the spaces that it takes out."""
    from tokenizers import Regex, normalizers

    steps: list[Any] = [normalizers.Precompiled(model.charsmap)] if model.charsmap else []
    if model.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    return steps


def _spaces(has_prefix: bool) -> list[Any]:
    """Spaces as "▁", with one more before the text: as SentencePiece itself does it, also before a text that begins with one
    (where the Metaspace step of the kinds that transformers knows adds none).
    """
    from tokenizers import normalizers

    return [*([normalizers.Prepend(SPACE)] if has_prefix else []), normalizers.Replace(" ", SPACE)]


def merges_of(pieces: Sequence[str], vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """The merges that a BPE file leaves out: each way to cut a piece into two others, better pieces first.

    SentencePiece joins the neighbours whose union is the best piece; pieces stand in that order. ModelUnavailable where the
    pieces are so long that this would not end.
    """
    if sum(len(piece) ** 2 for piece in pieces) > _MAX_SPLIT_WORK:
        raise ModelUnavailable("the pieces are too long to be cut in every way", "use the checkpoint's tokenizer.json")
    cuts = ((piece[:at], piece[at:]) for piece in vocabulary for at in range(1, len(piece)))
    return [(left, right) for left, right in cuts if left in vocabulary and right in vocabulary]


def _unigram(model: SentencePieceModel, settings: Settings) -> tokenizers.Tokenizer:
    """T5's and XLM-R's: the most probable cut; runs of spaces count once and words begin with "▁"."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    vocabulary, unk_id = _arranged(model, settings)
    backend = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=unk_id, byte_fallback=model.byte_fallback))
    has_space = settings.said("add_prefix_space", model.add_dummy_prefix)
    if settings.kind is None:
        backend.normalizer = normalizers.Sequence([*_normalisation(model), *_spaces(has_space)])
        undo = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        backend.decoder = decoders.Sequence(undo + ([decoders.Strip(content=" ", left=1)] if has_space else []))
        return backend
    backend.normalizer = normalizers.Precompiled(model.charsmap) if model.charsmap else None
    space: dict[str, Any] = {"replacement": SPACE, "prepend_scheme": "always" if has_space else "never"}
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**space)]
    )
    backend.decoder = decoders.Metaspace(**space)
    if settings.kind in ("t5", "xlm-roberta"):
        backend.post_processor = _ends(backend, settings)
    return backend


def _arranged(model: SentencePieceModel, settings: Settings) -> tuple[list[tuple[str, float]], int]:
    """Pieces with their scores in the order of the ids, which XLM-R and T5 change: fairseq's first four and <mask>; the
    hundred <extra_id_N>.
    """
    pieces = [(piece.text, piece.score) for piece in model.pieces]
    if settings.kind == "xlm-roberta":
        names = [settings.special[name] for name in ("bos_token", "pad_token", "eos_token", "unk_token")]
        return [*((name, 0.0) for name in names), *pieces[3:], (settings.special["mask_token"], 0.0)], 3
    if settings.kind == "t5":
        pieces += _sentinels(settings)
    return pieces, model.unk_id


def _sentinels(settings: Settings) -> list[tuple[str, float]]:
    """T5's marks of what was cut out of a text, the last first. Source: https://arxiv.org/abs/1910.10683, section 3.1.4."""
    extra = int(settings.raw.get("extra_ids", 100))
    if not 0 <= extra <= 10_000:
        raise ValueError(f"extra_ids is {extra}, allowed are 0 to 10,000")
    return [(f"<extra_id_{number}>", 0.0) for number in range(extra - 1, -1, -1)]


def _ends(backend: tokenizers.Tokenizer, settings: Settings) -> Any:
    from tokenizers import processors

    eos = settings.special["eos_token"]
    named = [(eos, backend.token_to_id(eos))]
    if settings.kind == "t5":
        return processors.TemplateProcessing(single=["$A", eos], pair=["$A", eos, "$B", eos], special_tokens=named)
    bos = settings.special["bos_token"]
    named.append((bos, backend.token_to_id(bos)))
    return processors.TemplateProcessing(
        single=[bos, "$A", eos], pair=[bos, "$A", eos, eos, "$B", eos], special_tokens=named
    )


def _add_pieces(backend: tokenizers.Tokenizer, model: SentencePieceModel) -> None:
    """Control pieces (special) and pieces that a user defined are found in the text before it is cut."""
    from tokenizers import AddedToken

    for piece in model.pieces:
        if piece.kind in (CONTROL, USER_DEFINED) and backend.token_to_id(piece.text) is not None:
            token = AddedToken(piece.text, normalized=False, special=piece.kind == CONTROL)
            (backend.add_special_tokens if token.special else backend.add_tokens)([token])
