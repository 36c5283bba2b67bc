"""The Rust library's tokenizer of a checkpoint directory, whatever files hold its vocabulary.

tokenizer.json is taken as it is. Without one it is built from vocab.txt (BERT), vocab.json and merges.txt (GPT-2, RoBERTa,
Qwen) or a SentencePiece model (Llama, T5, XLM-R), as transformers builds it. Torch-free.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import read_json
from openbook.lm.tokenizers.settings import Settings, read_settings

if TYPE_CHECKING:
    import tokenizers

_AGAIN = "copy the checkpoint again"
_HOW = ("lstrip", "rstrip", "single_word", "normalized")
_FILES = "no tokenizer.json and no vocab.txt, no vocab.json with merges.txt and no SentencePiece model"


def open_backend(directory: Path, settings: Settings | None = None) -> tokenizers.Tokenizer:
    """The library's tokenizer of a directory, without truncation or padding.

    Raises ModelUnavailable when there is none, when a file is broken, and for a special token that has no id.
    """
    settings = read_settings(directory) if settings is None else settings
    path = directory / "tokenizer.json"
    try:
        backend = _from_file(path) if path.is_file() else _built(directory, settings)
        _add_tokens(backend, settings, directory)
    except ModelUnavailable:
        raise
    except Exception as error:  # the library raises bare Exception
        raise ModelUnavailable(f"{directory}: its tokenizer cannot be read: {error}", _AGAIN) from error
    return backend


def _from_file(path: Path) -> tokenizers.Tokenizer:
    import tokenizers

    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:
        raise ModelUnavailable(f"{path} cannot be read: {error}", _AGAIN) from error
    backend.no_truncation()  # the file may hold both, as they were when it was saved
    backend.no_padding()
    return backend


def _built(directory: Path, settings: Settings) -> tokenizers.Tokenizer:
    from openbook.lm.tokenizers.sentencepiece import find_model, from_model

    if (directory / "vocab.txt").is_file():
        return _word_pieces(directory, settings)
    if (directory / "vocab.json").is_file() and (directory / "merges.txt").is_file():
        return _byte_level(directory, settings)
    model = find_model(directory)
    if model is not None:
        backend = from_model(model, settings)
        if backend.post_processor is None and (ends := _ends(backend, settings, directory)):
            backend.post_processor = ends
        return backend
    raise ModelUnavailable(f"{directory} has {_FILES}", "copy the whole checkpoint")


def _word_pieces(directory: Path, settings: Settings) -> tokenizers.Tokenizer:
    """BERT's tokenizer from its word list. Source: https://arxiv.org/abs/1609.08144, section 4.1."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]"}
    special |= {"mask_token": "[MASK]"} | settings.special
    backend = tokenizers.Tokenizer(
        models.WordPiece.from_file(str(directory / "vocab.txt"), unk_token=special["unk_token"])
    )
    accents = settings.raw.get("strip_accents")
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=settings.said("do_lower_case", True),
        strip_accents=None if accents is None else bool(accents),
        handle_chinese_chars=settings.said("tokenize_chinese_chars", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    sep, cls = backend.token_to_id(special["sep_token"]), backend.token_to_id(special["cls_token"])
    if sep is None or cls is None:
        raise ModelUnavailable(f"vocab.txt of {directory} lacks [CLS] or [SEP]", "use a BERT word list")
    backend.add_special_tokens([special[name] for name in special if backend.token_to_id(special[name]) is not None])
    backend.post_processor = processors.BertProcessing((special["sep_token"], sep), (special["cls_token"], cls))
    return backend


def _byte_level(directory: Path, settings: Settings) -> tokenizers.Tokenizer:
    """Byte-level BPE from its two files; RoBERTa puts <s> and </s> around a text, Qwen composes characters first (NFC)."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, processors

    from openbook.lm.tokenizers.patterns import GPT2, QWEN2
    from openbook.lm.tokenizers.words import byte_level_words

    vocabulary = read_json(directory / "vocab.json")
    merges = _read_merges(directory / "merges.txt")
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    is_qwen = settings.kind == "qwen2"
    has_space = settings.said("add_prefix_space", False)
    backend.pre_tokenizer = byte_level_words(QWEN2 if is_qwen else GPT2, add_prefix_space=has_space)
    backend.normalizer = normalizers.NFC() if is_qwen else None
    backend.decoder = decoders.ByteLevel()
    if settings.kind == "roberta":
        sep, cls = settings.special["sep_token"], settings.special["cls_token"]
        backend.post_processor = processors.RobertaProcessing(
            (sep, _known(backend, sep, directory)),
            (cls, _known(backend, cls, directory)),
            trim_offsets=settings.said("trim_offsets", True),
            add_prefix_space=has_space,
        )
    elif ends := _ends(backend, settings, directory):
        backend.post_processor = ends
    return backend


def _read_merges(path: Path) -> list[tuple[str, str]]:
    merges = []
    for number, line in enumerate(path.read_text("utf-8").split("\n"), start=1):
        pair = tuple(line.split())
        if not pair or line.startswith("#version"):
            continue
        if len(pair) != 2:
            raise ModelUnavailable(f"{path}, line {number}: {line!r} is not two tokens", _AGAIN)
        merges.append(pair)
    return merges


def _ends(backend: tokenizers.Tokenizer, settings: Settings, directory: Path) -> Any:
    """What puts bos and eos around a text where tokenizer_config.json says so (`add_bos_token`, `add_eos_token`)."""
    from tokenizers import processors

    names = [name for name in ("bos_token", "eos_token") if settings.said(f"add_{name}", False)]
    tokens = {name: settings.special[name] for name in names if name in settings.special}
    if not tokens:
        return None
    first, last = ([tokens[name]] if name in tokens else [] for name in ("bos_token", "eos_token"))
    return processors.TemplateProcessing(
        single=[*first, "$A", *last],
        pair=[*first, "$A", *last, *(f"{one}:1" for one in first), "$B:1", *(f"{one}:1" for one in last)],
        special_tokens=[(token, _known(backend, token, directory)) for token in tokens.values()],
    )


def _known(backend: tokenizers.Tokenizer, token: str, directory: Path) -> int:
    number: int | None = backend.token_to_id(token)
    if number is None:
        raise ModelUnavailable(f"{directory} names {token!r}, which its vocabulary does not have", _AGAIN)
    return number


def _add_tokens(backend: tokenizers.Tokenizer, settings: Settings, directory: Path) -> None:
    """The added tokens that the settings name and the vocabulary lacks, each under the id that it is said to have."""
    from tokenizers import AddedToken

    there = {token.content for token in backend.get_added_tokens_decoder().values()}
    for number, fields in settings.added.items():
        if fields["content"] in there:
            continue
        token = AddedToken(**{"normalized": not fields.get("special", False)} | fields)
        (backend.add_special_tokens if token.special else backend.add_tokens)([token])
        if backend.token_to_id(token.content) != number:
            raise ModelUnavailable(
                f"{directory}: {token.content!r} should have the id {number} and gets {backend.token_to_id(token.content)}",
                "its files belong to different checkpoints: copy it again",
            )
        there.add(token.content)
    for name, content in settings.special.items():
        if content in there:
            continue
        if backend.token_to_id(content) is None:
            if name in settings.raw or name in ("bos_token", "eos_token", "pad_token"):
                raise ModelUnavailable(
                    f"{directory} names {content!r} as its {name}, which its vocabulary does not have",
                    f"add it to added_tokens of tokenizer.json, or take {name} out of tokenizer_config.json",
                )
            continue
        said = settings.raw.get(name)
        how = {key: said[key] for key in _HOW if key in said} if isinstance(said, dict) else {}
        backend.add_special_tokens([AddedToken(content, special=True, **{"normalized": False} | how)])
        there.add(content)
