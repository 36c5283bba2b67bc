"""`openbook tokenizer train`, `show` and `compare`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from openbook.app.cli.options import JsonOption, print_failures, print_json, progress_bar, visible, warn

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

CorpusArgument = Annotated[
    list[Path], typer.Argument(metavar="CORPUS...", help="Text, JSON, JSON lines, source; plain, gzipped, or folders.")
]
TokenizerName = Annotated[str, typer.Argument(help='A directory, a name from `model list`, or "default".')]


@app.command("train")
def train(
    corpus: CorpusArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The directory to write.")],
    kind: Annotated[str, typer.Option("--kind", help="bpe (byte-level), wordpiece or unigram.")] = "bpe",
    vocab_size: Annotated[
        int, typer.Option("--vocab-size", metavar="N", help="Tokens, special ones included.")
    ] = 8_192,
    chat: Annotated[
        str | None,
        typer.Option("--chat", help="Chat format: chatml (default), qwen3, llama3 or mistral; not of wordpiece."),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option("--pattern", help="How bpe cuts words: qwen2 (default; single digits), llama-bpe or gpt-2."),
    ] = None,
    special: Annotated[
        list[str] | None, typer.Option("--special", metavar="TOKEN", help="One more special token; may be repeated.")
    ] = None,
    min_frequency: Annotated[
        int | None,
        typer.Option(
            "--min-frequency", metavar="N", help="What occurs less often is not joined (default 2); not of unigram."
        ),
    ] = None,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Of wordpiece: letter case does not count.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a tokenizer that openbook and transformers read; the same text gives the same one."""
    from openbook.core.errors import UsageError
    from openbook.lm.fresh import check_free
    from openbook.lm.tokenizers.corpus import corpus_files, read_texts
    from openbook.lm.tokenizers.patterns import PATTERNS
    from openbook.lm.tokenizers.train import MIN_FREQUENCY, train

    patterns = {one.name: one for one in PATTERNS}
    if pattern is not None and pattern not in patterns:
        raise UsageError(f"--pattern {pattern!r} is not known", f"known are {', '.join(patterns)}")
    check_free(out)
    files = corpus_files(corpus)
    failures: list[tuple[str, str]] = []
    has_text = False

    def seen(texts: Iterator[str]) -> Iterator[str]:
        nonlocal has_text
        for text in texts:
            has_text = has_text or bool(text.strip())
            yield text

    chosen: Any = kind
    with progress_bar(quiet=as_json) as progress:
        texts = read_texts(files, progress, lambda path, reason: failures.append((str(path), reason)))
        made = train(
            chosen,
            seen(texts),
            vocab_size,
            chat=chat,
            pattern=None if pattern is None else patterns[pattern],
            special_tokens=special or (),
            min_frequency=min_frequency,
            lowercase=lowercase,
        )
    if len(failures) == len(files):
        raise UsageError("none of the files could be read", failures[0][1])
    if not has_text:
        raise UsageError("the files hold no text", "name files or folders with text in them")
    made.save(out)
    if as_json:
        print_json(
            {"directory": str(out), "vocab_size": made.vocab_size, "files": len(files), "failed": dict(failures)}
        )
    else:
        print(f"made {out}: {made.vocab_size:,} tokens from {len(files) - len(failures)} files")
    if failures:
        print_failures(failures)
    if made.vocab_size < vocab_size:
        pairs = f"pairs that occur {min_frequency or MIN_FREQUENCY} times"
        warn(f"the text has no more {'pieces' if kind == 'unigram' else pairs}, so it is smaller than {vocab_size:,}")


@app.command("show")
def show(
    text: Annotated[str, typer.Argument(help='The text; "-" reads standard input.')],
    tokenizer: Annotated[
        str,
        typer.Option(
            "--tokenizer", metavar="NAME|DIR", help="A model's name, directory or GGUF file; else the built-in."
        ),
    ] = "default",
    special: Annotated[
        bool, typer.Option("--special", help="With what is put around a text (bos, [CLS], ...).")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the tokens of a text: pieces, ids, places (code points), and bytes per token."""
    if text == "-":
        text = _standard_input()
    chosen = _opened(tokenizer)
    pieces = chosen.pieces(text, add_special_tokens=special)
    size = len(text.encode("utf-8", "replace"))
    per_token = size / len(pieces) if pieces else 0.0
    if as_json:
        found = [piece._asdict() | {"text": text[piece.start : piece.end]} for piece in pieces]
        print_json({"tokens": found, "bytes": size, "characters": len(text), "bytes_per_token": round(per_token, 4)})
        return
    for piece in pieces:
        place = f"{piece.start}:{piece.end}"
        print(f"{piece.id:>8}  {place:>11}  {visible(piece.token)}  {visible(text[piece.start : piece.end])!r}")
    print(f"{len(pieces)} tokens, {len(text)} characters, {size} bytes: {per_token:.2f} bytes per token")


@app.command("compare")
def compare(a: TokenizerName, b: TokenizerName, corpus: CorpusArgument, as_json: JsonOption = False) -> None:
    """Compare how short two tokenizers write a corpus, by language."""
    from openbook.core.errors import UsageError
    from openbook.lm.tokenizers.compression import LANGUAGES, compression, split_by_language
    from openbook.lm.tokenizers.corpus import corpus_files

    opened = {"A": _opened(a), "B": _opened(b)}
    lines = split_by_language(corpus_files(corpus))
    rows = {
        language: {name: compression(one, lines[language], language) for name, one in opened.items()}
        for language in LANGUAGES
        if lines[language]
    }
    if not rows:
        raise UsageError("the corpus holds no text", "name files or folders with text in them")
    if as_json:
        print_json(
            {
                language: {
                    name: one._asdict()
                    | {
                        "bytes_per_token": round(one.bytes_per_token, 4),
                        "tokens_per_character": round(one.tokens_per_character, 4),
                    }
                    for name, one in row.items()
                }
                for language, row in rows.items()
            }
        )
        return
    print(f"A  {a}: {opened['A'].vocab_size:,} tokens\nB  {b}: {opened['B'].vocab_size:,} tokens")
    print(
        f"{'':10}{'bytes':>12}  {'bytes/token A':>14}{'B':>8}  {'tokens/char A':>14}{'B':>8}  {'B/A':>6}  unknown A, B"
    )
    for language, row in rows.items():
        one, other = row["A"], row["B"]
        ratio = other.tokens / one.tokens if one.tokens else 0.0
        print(
            f"{language:10}{one.bytes:>12,}  {one.bytes_per_token:>14.3f}{other.bytes_per_token:>8.3f}  "
            f"{one.tokens_per_character:>14.3f}{other.tokens_per_character:>8.3f}  {ratio:>6.3f}  "
            f"{one.unknown}, {other.unknown}"
        )


def _standard_input() -> str:
    """UsageError for what is no UTF-8: a tokenizer would show other text than was given."""
    import sys

    from openbook.core.errors import UsageError

    content = sys.stdin.buffer.read()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"standard input is no UTF-8: byte {error.start} is 0x{content[error.start]:02x}",
            "convert it, e.g. with iconv -t utf-8",
        ) from None


def _opened(name: str) -> Any:
    from openbook.lm.local import model_directory
    from openbook.lm.tokenizers.default import default_tokenizer
    from openbook.lm.tokenizers.tokenizer import Tokenizer

    return default_tokenizer() if name == "default" else Tokenizer.load(model_directory(name))
