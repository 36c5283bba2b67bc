"""New tokenizers from text, through the Rust library: byte-level BPE, WordPiece, Unigram. The same text gives the same one.

Byte-level BPE is the choice for models that write: nothing is unknown to it and every text comes back. Its words are cut as
Qwen2's (see `patterns`: single digits, so that numbers are spelled in one way; Chinese clauses whole, so that merges find the
words). WordPiece is BERT's, for encoders. Unigram is SentencePiece's, here with bytes for what no piece spells.

Sources: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909; Wu et al. 2016, https://arxiv.org/abs/1609.08144, section 4.1;
Kudo 2018, https://arxiv.org/abs/1804.10959.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from openbook.core.errors import UsageError
from openbook.lm.tokenizers.formats import FORMATS, ChatFormat
from openbook.lm.tokenizers.patterns import QWEN2, Pattern
from openbook.lm.tokenizers.templates import chat_template
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.lm.tokenizers.words import byte_level_words

if TYPE_CHECKING:
    import tokenizers

TokenizerKind = Literal["bpe", "wordpiece", "unigram"]
KINDS: tuple[TokenizerKind, ...] = ("bpe", "wordpiece", "unigram")
_BERT = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
SETTINGS: dict[str, tuple[TokenizerKind, ...]] = {
    "chat": ("bpe", "unigram"),
    "pattern": ("bpe",),
    "min_frequency": ("bpe", "wordpiece"),
    "lowercase": ("wordpiece",),
}
"""Setting -> the kinds that have it."""
CHAT = "chatml"
MIN_FREQUENCY = 2
_UNKNOWN = "<unk>"
_MAX_PIECE_CHARACTERS = 16
_COVERAGE = 0.9995
"""Share of the text's characters that get pieces of their own; the rarest are left to bytes or [UNK]. SentencePiece's value."""

_ADDED_STEP = 0.0001
_BYTE_SCORE = -20.0
"""Log-probability of a byte piece: what cannot be spelled otherwise costs this much a byte."""


def train(
    kind: TokenizerKind,
    texts: Iterable[str],
    vocab_size: int,
    *,
    chat: str | None = None,
    special_tokens: Sequence[str] = (),
    pattern: Pattern | None = None,
    min_frequency: int | None = None,
    lowercase: bool = False,
) -> Tokenizer:
    """A tokenizer of at most `vocab_size` tokens; fewer where the text has no more pairs that occur `min_frequency` times.

    `chat`: the format whose special tokens and template it gets (not WordPiece; None: chatml). `pattern`: of byte-level BPE
    (None: Qwen2's). `min_frequency`: not of Unigram (None: 2). `lowercase`: of WordPiece. Raises UsageError for a kind that is
    not known, a setting that the kind does not have, a special token that is text, and a size that leaves no room for what must
    be in it.
    """
    _check(kind, chat=chat, pattern=pattern, min_frequency=min_frequency, lowercase=lowercase or None)
    form = FORMATS[chat or CHAT]
    own = (*_BERT.values(),) if kind == "wordpiece" else (*form.special, *((_UNKNOWN,) if kind == "unigram" else ()))
    more = _more_special(special_tokens, own, () if kind == "wordpiece" else form.plain)
    sound = _sound(texts)
    if kind == "wordpiece":
        return _word_pieces(sound, vocab_size, more, min_frequency or MIN_FREQUENCY, lowercase)
    reserved = len(form.special) + len(form.plain) + len(more)
    fixed = 256 + reserved + (kind == "unigram")
    if vocab_size < fixed:
        raise UsageError(
            f"vocab_size {vocab_size} leaves no room for 256 bytes and {fixed - 256} other tokens",
            f"give {fixed} or more",
        )
    if kind == "bpe":
        backend = _byte_level(sound, vocab_size - reserved, pattern or QWEN2, min_frequency or MIN_FREQUENCY)
    else:
        backend = _unigram(sound, vocab_size - reserved - 256)
    return _with_chat(backend, form, chat or CHAT, more)


def _check(kind: str, **given: object) -> None:
    """UsageError for a kind that is not known, and for a setting that was given and that the kind does not have."""
    if kind not in KINDS:
        raise UsageError(f"kind {kind!r} is not known", f"known are {', '.join(KINDS)}")
    for name, kinds in SETTINGS.items():
        if given[name] is not None and kind not in kinds:
            raise UsageError(f"a {kind} tokenizer has no {name}", f"leave it out; it belongs to {' and '.join(kinds)}")
    if (chat := given["chat"]) is not None and chat not in FORMATS:
        raise UsageError(f"chat format {chat!r} is not known", f"known are {', '.join(FORMATS)}")
    if isinstance(least := given["min_frequency"], int) and least < 1:
        raise UsageError(f"min_frequency is {least}", "give 1 or more")


def _more_special(tokens: Sequence[str], own: Sequence[str], plain: Sequence[str]) -> list[str]:
    """Each once, without those that are there anyway. UsageError for a token that is empty, or that the format has as text."""
    for token in tokens:
        if not token.strip():
            raise UsageError(f"the special token {token!r} is empty", "give it a name, e.g. <|name|>")
        if token in plain:
            raise UsageError(
                f"{token!r} is a token of this chat format, and text", "leave it out of the special tokens"
            )
    return [token for token in dict.fromkeys(tokens) if token not in own]


def _byte_level(texts: Iterator[str], size: int, pattern: Pattern, min_frequency: int) -> tokenizers.Tokenizer:
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = byte_level_words(pattern)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def _unigram(texts: Iterator[str], size: int) -> tokenizers.Tokenizer:
    """Spaces become "▁" and begin words; digits and ends of lines stand alone. The 256 bytes are added to what was learned."""
    import tokenizers
    from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

    backend = tokenizers.Tokenizer(models.Unigram())
    steps = [
        pre_tokenizers.Metaspace(prepend_scheme="never"),
        pre_tokenizers.Split(Regex(r"\p{N}|[\r\n]"), behavior="isolated"),
    ]
    backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    trainer = trainers.UnigramTrainer(
        vocab_size=max(size, 2),
        unk_token=_UNKNOWN,
        special_tokens=[_UNKNOWN],
        max_piece_length=_MAX_PIECE_CHARACTERS,
        show_progress=False,
    )
    held = list(texts)
    rare = str.maketrans(dict.fromkeys(_rare(Counter(chain.from_iterable(held)), size // 2), "\n"))
    backend.train_from_iterator((text.translate(rare) for text in held), trainer)
    pieces = _in_order(json.loads(backend.to_str())["model"]["vocab"][1:])
    vocabulary = [(_UNKNOWN, 0.0), *pieces] + [(f"<0x{byte:02X}>", _BYTE_SCORE) for byte in range(256)]
    whole = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    whole.pre_tokenizer = backend.pre_tokenizer
    whole.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    whole.add_special_tokens([_UNKNOWN])
    return whole


def _word_pieces(
    texts: Iterator[str], size: int, more: Sequence[str], min_frequency: int, lowercase: bool
) -> Tokenizer:
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = [*_BERT.values(), *more]
    if size < len(special) + 1:
        raise UsageError(
            f"vocab_size {size} leaves no room for {len(special)} special tokens", f"give more than {len(special)}"
        )
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token=_BERT["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    held = list(texts)
    heads, tails = _word_characters(backend, held, (size - len(special)) // 2)
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=[*special, *heads, *tails],  # so that their ids do not hang on the order of a hash table
        initial_alphabet=heads,
        limit_alphabet=len(heads),
        show_progress=False,
    )
    backend.train_from_iterator(held, trainer)
    learned = tokenizers.Tokenizer(models.WordPiece(backend.get_vocab(), unk_token=_BERT["unk_token"]))
    learned.normalizer, learned.pre_tokenizer, learned.decoder = (
        backend.normalizer,
        backend.pre_tokenizer,
        backend.decoder,
    )
    backend = learned
    backend.add_special_tokens(special)
    cls, sep = _BERT["cls_token"], _BERT["sep_token"]
    backend.post_processor = processors.TemplateProcessing(
        single=[cls, "$A", sep],
        pair=[cls, "$A", sep, "$B:1", f"{sep}:1"],
        special_tokens=[(cls, backend.token_to_id(cls)), (sep, backend.token_to_id(sep))],
    )
    return Tokenizer(backend, _BERT, settings={"do_lower_case": lowercase, "clean_up_tokenization_spaces": False})


def _with_chat(backend: tokenizers.Tokenizer, form: ChatFormat, chat: str, more: Sequence[str]) -> Tokenizer:
    """Special tokens behind what was learned, and the template that writes them."""
    from tokenizers import AddedToken

    learned = backend.get_vocab()
    if text := [token for token in more if token in learned]:
        raise UsageError(
            f"the special token {text[0]!r} is text: the tokenizer has learned it",
            "name it so that no text has it, e.g. <|name|>",
        )
    backend.add_special_tokens([AddedToken(one, normalized=False, special=True) for one in (*form.special, *more)])
    backend.add_tokens([AddedToken(one, normalized=False, special=False) for one in form.plain])
    settings: dict[str, Any] = {"clean_up_tokenization_spaces": False, "add_bos_token": False}
    return Tokenizer(backend, form.named, {"default": chat_template(chat)}, settings=settings)


def _in_order(learned: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The same pieces and scores for the same text: the trainer sums in the order of a hash table, and in that order it gives
    the characters that it did not learn the scores just above the lowest, 0.0001 apart. Scores are rounded, and those
    characters ranked by code point.
    """
    scores = {piece: round(score, 4) for piece, score in learned}
    last = min(scores.values(), default=0.0)
    added: list[str] = []
    for piece in sorted((one for one in scores if len(one) == 1), key=lambda one: scores[one]):
        if scores[piece] - last > 1.5 * _ADDED_STEP:
            break
        last = scores[piece]
        added.append(piece)
    scores |= dict(zip(sorted(added), sorted((scores[piece] for piece in added), reverse=True), strict=True))
    return sorted(scores.items(), key=lambda one: (-one[1], one[0]))


def _rare(counts: Counter[str], limit: int) -> list[str]:
    """The characters that get no piece of their own: the rarest 1 - _COVERAGE of the text, and all beyond `limit` kinds."""
    total, seen = counts.total(), 0
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    for kept, (_, count) in enumerate(ranked):
        if kept >= limit or seen >= _COVERAGE * total:
            return [sign for sign, _ in ranked[kept:]]
        seen += count
    return []


def _word_characters(backend: tokenizers.Tokenizer, texts: Sequence[str], limit: int) -> tuple[list[str], list[str]]:
    """The characters that get pieces: as they begin a word, and with "##" as they go on with one."""
    words: Counter[str] = Counter()
    for text in texts:
        cut = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
        words.update(word for word, _ in cut)
    counts: Counter[str] = Counter()
    tails: set[str] = set()
    for word, count in words.items():
        for sign in word:
            counts[sign] += count
        tails.update(word[1:])
    rare = set(_rare(counts, limit))
    return sorted(counts.keys() - rare), [f"##{sign}" for sign in sorted(tails - rare)]


def _sound(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield text if text.isascii() else text.encode("utf-8", "replace").decode()
