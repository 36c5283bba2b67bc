"""The tokenizer of a model: text to ids and back, chats to ids with the places of what the assistant said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.checkpoint import read_json
from openbook.lm.disk import make_directory, write_json
from openbook.lm.tokenizers.backend import open_backend
from openbook.lm.tokenizers.bpe import BYTES
from openbook.lm.tokenizers.settings import Settings, read_settings
from openbook.lm.tokenizers.stream import ByteStream, Stream, WindowStream
from openbook.lm.tokenizers.template_files import read_templates, write_templates

if TYPE_CHECKING:
    import tokenizers

    from openbook.core.messages import Message
    from openbook.lm.tokenizers.render import Rendered


class Piece(NamedTuple):
    """A token of a text: as the vocabulary spells it, its id, and the code points [start, end) that it stands for."""

    token: str
    id: int
    start: int
    end: int


class Tokenizer:
    """`special`: name ("bos_token") -> content. `templates`: name -> chat template. `eos_ids`: all that end a generation.

    Thread-safe. `vocab_size` counts up to the largest id, so that it is the number of rows that an embedding must have.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        special: Mapping[str, str] | None = None,
        templates: Mapping[str, str] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        generation_eos: Sequence[int] = (),
        source: str = "the tokenizer",
    ) -> None:
        self.backend = backend
        self.special = dict(special or {})
        self.templates = dict(templates or {})
        self.source = source
        self._settings = dict(settings or {})
        self._stored_ends = _offsets_whole(backend)
        self.bos_id = self._named("bos_token")
        self.eos_id = self._named("eos_token")
        self.pad_id = self._named("pad_token")
        own = () if self.eos_id is None else (self.eos_id,)
        self.eos_ids: tuple[int, ...] = tuple(dict.fromkeys((*own, *generation_eos)))
        self.vocab_size = max(backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @classmethod
    def load(cls, directory: Path | str) -> Tokenizer:
        """The tokenizer of a checkpoint directory or a GGUF file. Raises ModelUnavailable with what is missing or broken."""
        directory = Path(directory)
        if directory.suffix == ".gguf":
            return _from_gguf(directory)
        if not directory.is_dir():
            raise ModelUnavailable(f"{str(directory)!r} is not a directory", "name the directory of a checkpoint")
        settings = read_settings(directory)
        has_file = (directory / "tokenizer.json").is_file()
        return cls(
            open_backend(directory, settings),
            settings.special,
            read_templates(directory, settings.raw),
            settings=settings.raw if has_file else _as_plain(settings),
            generation_eos=_generation_eos(directory),
            source=str(directory),
        )

    def save(self, directory: Path | str) -> None:
        """tokenizer.json, tokenizer_config.json and chat_template.jinja, as transformers reads them."""
        directory = Path(directory)
        make_directory(directory)
        plain = json.loads(self.backend.to_str())
        plain["post_processor"] = self._stored_ends
        write_json(directory / "tokenizer.json", plain)
        write_json(directory / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"} | self._said())
        write_templates(directory, self.templates)

    @property
    def settings(self) -> dict[str, Any]:
        """What tokenizer_config.json says, without the templates."""
        return self._said()

    @property
    def chat_template(self) -> str | None:
        """The template for a chat without tools; None when the tokenizer has none."""
        return self.templates.get("default")

    def id_of(self, token: str) -> int:
        """UsageError for a token that is not in the vocabulary."""
        number: int | None = self.backend.token_to_id(token)
        if number is None:
            raise UsageError(
                f"{token!r} is no token of {self.source}",
                "see its tokens with `openbook tokenizer show`, or add it to added_tokens of tokenizer.json",
            )
        return number

    def token_of(self, number: int) -> str:
        """UsageError for an id that no token has."""
        token: str | None = self.backend.id_to_token(number) if 0 <= number < 1 << 32 else None
        if token is None:
            raise UsageError(f"no token of {self.source} has the id {number}", f"ids are below {self.vocab_size:,}")
        return token

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The ids of `text`, with what the tokenizer puts around a text (bos, [CLS], ...) unless it is told not to.

        A special token that stands in the text is that token. UsageError for lone surrogates, which no UTF-8 has.
        """
        return self.encode_batch([text], add_special_tokens)[0]

    def encode_batch(self, texts: Sequence[str], add_special_tokens: bool = True) -> list[list[int]]:
        """`encode` of each text, on all cores."""
        sound = [_sound(text) for text in texts]
        return [one.ids for one in self.backend.encode_batch_fast(sound, add_special_tokens=add_special_tokens)]

    def pieces(self, text: str, add_special_tokens: bool = False) -> list[Piece]:
        """The tokens of `text` with their places; a token that is a part of a character has the character's place."""
        found = self.backend.encode(_sound(text), add_special_tokens=add_special_tokens)
        return [Piece(token, *rest) for token, *rest in zip(found.tokens, found.ids, *_columns(found), strict=True)]

    def locate(self, text: str) -> tokenizers.Encoding:
        """`text` encoded with nothing around it; its `ids` and `offsets`."""
        return self.backend.encode(_sound(text), add_special_tokens=False)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Bytes that are no UTF-8 become U+FFFD. UsageError for an id that no token has."""
        wanted = list(ids)
        for number in set(wanted):
            self.token_of(number)
        text: str = self.backend.decode(wanted, skip_special_tokens=skip_special_tokens)
        return text

    def stream(self, skip_special_tokens: bool = False) -> Stream:
        """Decodes token by token; the pieces together are `decode` of all ids, however they are cut."""
        skipped = self.special_ids if skip_special_tokens else frozenset()
        if self.is_byte_level:
            return ByteStream(lambda number: b"" if number in skipped else self.bytes_of(number))
        return WindowStream(self.decode, self.token_of, skipped)

    def bytes_of(self, number: int) -> bytes:
        """The bytes that a token of a byte-level tokenizer stands for."""
        token = self.token_of(number)
        try:
            return bytes(_SHOWN[sign] for sign in token)
        except KeyError:
            return token.encode()

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of the tokens that carry no text (bos, end of turn, ...)."""
        added = self.backend.get_added_tokens_decoder()
        return frozenset(number for number, token in added.items() if token.special)

    def render(
        self,
        messages: Sequence[Mapping[str, Any] | Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        *,
        template: str | None = None,
        spans: bool = True,
        literal: bool = False,
        check: Callable[[str], object] | None = None,
        **variables: Any,
    ) -> Rendered:
        """A chat as text and ids, with the spans of every assistant turn (see `render.Rendered`).

        `template`: the name of one of `templates`. `spans=False` leaves them out where only a prompt is wanted. `literal`:
        special tokens that stand in the chat itself are text (the template's own stay tokens), so that nobody speaks for
        another by typing them. `check` is called with the text before it is encoded, and may raise. `variables` go to the
        template (`enable_thinking=False`). Raises ModelUnavailable without a template, UsageError for a chat that the template
        refuses.
        """
        from openbook.lm.tokenizers.render import rendered

        return rendered(self, messages, tools, add_generation_prompt, template, spans, literal, variables, check)

    @cached_property
    def is_byte_level(self) -> bool:
        """Whether tokens are bytes, so that every text comes back."""
        decoder = json.loads(self.backend.decoder.__getstate__()) if self.backend.decoder is not None else {}
        return bool(decoder.get("type") == "ByteLevel")

    def _named(self, name: str) -> int | None:
        content = self.special.get(name)
        if content is None:
            return None
        number: int | None = self.backend.token_to_id(content)
        if number is None:
            raise ModelUnavailable(
                f"{self.source} names {content!r} as its {name}, which its vocabulary does not have",
                "add it to the vocabulary, or name another",
            )
        return number

    def _said(self) -> dict[str, Any]:
        kept = {key: value for key, value in self._settings.items() if key != "chat_template"}
        return kept | {key: value for key, value in self.special.items() if not isinstance(kept.get(key), dict)}


def _columns(encoding: tokenizers.Encoding) -> tuple[list[int], list[int]]:
    return [start for start, _ in encoding.offsets], [end for _, end in encoding.offsets]


def _sound(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the text has a lone surrogate {text[error.start]!r} at {error.start}, which is no character",
            "read it with errors='replace', or take it out",
        ) from None
    return text


def _offsets_whole(backend: tokenizers.Tokenizer) -> dict[str, Any] | None:
    """Lets offsets keep their white space (the ids do not change), and gives the step as it was."""
    step = backend.post_processor
    if step is None:
        return None
    stored: dict[str, Any] = json.loads(step.__getstate__())
    changed = json.loads(json.dumps(stored))
    for one in changed.get("processors", [changed]):
        if "trim_offsets" in one:
            one["trim_offsets"] = False
    if changed != stored:
        step.__setstate__(json.dumps(changed).encode())
        backend.post_processor = step
    return stored


def _as_plain(settings: Settings) -> dict[str, Any]:
    """Settings for the tokenizer.json that is saved from other files, which holds all that the class had added."""
    left_out = (
        "tokenizer_class",
        "add_bos_token",
        "add_eos_token",
        "legacy",
        "add_prefix_space",
        "extra_ids",
        "auto_map",
    )
    return {key: value for key, value in settings.raw.items() if key not in left_out}


def _generation_eos(directory: Path) -> tuple[int, ...]:
    """`eos_token_id` of generation_config.json, else of config.json: one id or several."""
    for name in ("generation_config.json", "config.json"):
        path = directory / name
        said = read_json(path).get("eos_token_id") if path.is_file() else None
        if said is None:
            continue
        ids = said if isinstance(said, list) else [said]
        if not all(isinstance(one, int) and not isinstance(one, bool) for one in ids):
            raise ModelUnavailable(f"eos_token_id of {path} is {said!r}", "write one id or a list of ids")
        return tuple(ids)
    return ()


def _from_gguf(path: Path) -> Tokenizer:
    from tempfile import TemporaryDirectory

    from openbook.lm.gguf.header import read_header
    from openbook.lm.gguf.vocabulary import write_tokenizer

    with TemporaryDirectory() as folder:
        write_tokenizer(read_header(path).keys, Path(folder))  # no torch: a server reads its tokenizer here
        loaded = Tokenizer.load(folder)
    loaded.source = str(path)
    return loaded


_SHOWN: dict[str, int] = {}
_beyond = 256
for _byte in BYTES:
    if 33 <= _byte <= 126 or 161 <= _byte <= 172 or _byte >= 174:
        _SHOWN[chr(_byte)] = _byte
    else:
        _SHOWN[chr(_beyond)] = _byte
        _beyond += 1
