"""`openbook data show`, `convert` and `pack`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

import typer

from openbook.app.cli.data_generate import generate
from openbook.app.cli.data_judge import judge
from openbook.app.cli.data_mine import mine
from openbook.app.cli.options import JsonOption, print_json, visible

if TYPE_CHECKING:
    from openbook.lm.tokenizers.tokenizer import Tokenizer
    from openbook.training.data.overview import Overview
    from openbook.training.data.reading import DataFile
    from openbook.training.data.shards import Sample
    from openbook.training.data.tokenised import ReadSettings

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("mine")(mine)
app.command("generate")(generate)
app.command("judge")(judge)

FileArgument = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Text, JSON lines, JSON or CSV, plain or gzipped, or folders.")
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="Form of the rows; else told by their keys. A wrong name lists all."),
]
DocumentsOption = Annotated[
    str, typer.Option("--documents", help="What parts documents of plain text: file, blank-line or line.")
]
TokenizerOption = Annotated[
    str | None,
    typer.Option("--tokenizer", metavar="NAME|DIR", help='Of a model by its name or directory, or "default".'),
]
LengthOption = Annotated[int | None, typer.Option("--max-seq-len", metavar="N", min=2, help="Tokens of a row.")]
TooLongOption = Annotated[
    str,
    typer.Option("--too-long", help="Longer samples: auto, cut (text), truncate (chats: whole turns), drop or error."),
]
PromptsOption = Annotated[
    str,
    typer.Option(
        "--prompts",
        help="Questions are put by the chat template (chat), as Alpaca did (alpaca), or as they are (text).",
    ),
]
BrokenOption = Annotated[
    float, typer.Option("--max-broken", metavar="SHARE", min=0, max=1, help="Share of rows that may be broken.")
]
_SHOWN_TOKENS = 400


@app.command("show")
def show(
    files: FileArgument,
    tokenizer: TokenizerOption = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against", metavar="TEST", help="Tell how much of this test set is in the data; may be repeated."
        ),
    ] = None,
    form: FormatOption = None,
    documents: DocumentsOption = "file",
    max_seq_len: LengthOption = None,
    too_long: TooLongOption = "auto",
    prompts: PromptsOption = "chat",
    max_broken: BrokenOption = 0.01,
    as_json: JsonOption = False,
) -> None:
    """Show what is in training data: form, rows, lengths, what is learned, duplicates, a sample."""
    from openbook.training.data.contamination import contamination
    from openbook.training.data.duplicates import duplicates
    from openbook.training.data.overview import all_rows, overview
    from openbook.training.data.samples import SampleSettings

    found, reading = _files(files, form), _reading(documents, max_broken)
    chosen = None if tokenizer is None else _tokenizer(tokenizer)
    policy = _one_of("--too-long", too_long, ("auto", "cut", "truncate", "drop", "error"))
    settings = SampleSettings(max_seq_len, policy, _one_of("--prompts", prompts, ("chat", "alpaca", "text")))
    seen = overview(found, chosen, settings, reading)
    same = duplicates(all_rows(found, reading))
    overlap = None
    if against:
        overlap = contamination(all_rows(found, reading), all_rows(_files(against, None), reading))
    if as_json:
        print_json(_overview_json(seen) | {"duplicates": vars(same), "against": overlap and overlap._asdict()})
        return
    _print_overview(seen)
    print(f"duplicates: {same.exact:,} exact, {same.near:,} near" + _pairs(same.pairs))
    if overlap is not None:
        print(
            f"of {overlap.rows:,} test rows {overlap.overlapping:,} ({100 * overlap.share:.1f} %) share 13 words in a row with "
            f"the data, {overlap.questions:,} their question, {overlap.answers:,} their answer" + _pairs(overlap.pairs)
        )
    if chosen is not None:
        for name, sample in seen.samples.items():
            _print_sample(name, sample, chosen)


@app.command("convert")
def convert(
    files: FileArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The JSON lines to write (.gz: gzipped).")],
    to: Annotated[str, typer.Option("--to", help="text, messages, sharegpt, alpaca, completion or pairs.")],
    form: FormatOption = None,
    documents: DocumentsOption = "file",
    max_broken: BrokenOption = 0.01,
    as_json: JsonOption = False,
) -> None:
    """Write training data in another form, as JSON lines; rows that the form cannot hold are counted."""
    import gzip

    from openbook.core.errors import BadData
    from openbook.core.paths import replacing
    from openbook.lm.fresh import check_free
    from openbook.training.data.convert import TARGETS, converted
    from openbook.training.data.overview import all_rows

    _one_of("--to", to, TARGETS)
    check_free(out)
    found, reading = _files(files, form), _reading(documents, max_broken)
    out.parent.mkdir(parents=True, exist_ok=True)
    written, left_out, reasons = 0, 0, dict[str, str]()
    with ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(replacing(out))
        if out.suffix == ".gz":
            file = cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=file, mode="wb", mtime=0)))
        for place, row in all_rows(found, reading):
            try:
                line = json.dumps(converted(row, to), ensure_ascii=False).encode()
            except ValueError as error:
                left_out += 1
                reasons.setdefault(str(error), place)
                continue
            file.write(line + b"\n")
            written += 1
        if not written:
            first = "; ".join(f"{place}: {reason}" for reason, place in reasons.items())
            raise BadData(f"no row can be written as {to}: {first or 'there are none'}", "choose another form")
    if as_json:
        print_json({"out": str(out), "rows": written, "left_out": left_out, "reasons": reasons})
        return
    print(f"made {out}: {written:,} rows of {to}")
    if left_out:
        print(
            f"{left_out:,} rows were left out: " + visible("; ".join(f"{r} (first: {p})" for r, p in reasons.items()))
        )


@app.command("pack")
def pack(
    files: FileArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The directory to write; a recipe's data.train takes it.")],
    tokenizer: Annotated[
        str, typer.Option("--tokenizer", metavar="NAME|DIR", help='Of a model by its name or directory, or "default".')
    ],
    max_seq_len: Annotated[int, typer.Option("--max-seq-len", metavar="N", min=2, help="Tokens of a row.")],
    form: FormatOption = None,
    documents: DocumentsOption = "file",
    too_long: TooLongOption = "auto",
    prompts: PromptsOption = "chat",
    max_broken: BrokenOption = 0.01,
    as_json: JsonOption = False,
) -> None:
    """Tokenise training data once, as a recipe would, and tell how full its rows are."""
    from openbook.app.cli.options import progress_bar
    from openbook.lm.fresh import check_free
    from openbook.training.data.packing import fill_rate
    from openbook.training.data.samples import SampleSettings
    from openbook.training.data.tokenised import receipt_of, write_tokenised

    check_free(out)
    policy = _one_of("--too-long", too_long, ("auto", "cut", "truncate", "drop", "error"))
    settings = SampleSettings(max_seq_len, policy, _one_of("--prompts", prompts, ("chat", "alpaca", "text")))
    with progress_bar(quiet=as_json) as progress:
        shards = write_tokenised(
            _files(files, form), _tokenizer(tokenizer), settings, out, _reading(documents, max_broken), progress
        )
    rows, rate = fill_rate((shards.lengths - 1).tolist(), max_seq_len)
    receipt = receipt_of(shards)
    assert receipt is not None
    if as_json:
        print_json({"out": str(out), "rows": rows, "fill_rate": round(rate, 4)} | receipt.as_json())
        return
    for line in receipt.lines():
        print(visible(line))
    print(f"made {out}: {rows:,} rows of {max_seq_len:,} tokens, {100 * rate:.1f} % full")


def _files(paths: list[Path], form: str | None) -> list[DataFile]:
    from openbook.training.data.formats import FORMATS
    from openbook.training.data.reading import data_files

    return data_files(paths, None if form is None else _one_of("--format", form, FORMATS))


def _reading(documents: str, max_broken: float) -> ReadSettings:
    from openbook.training.data.tokenised import ReadSettings

    return ReadSettings(_one_of("--documents", documents, ("file", "blank-line", "line")), max_broken)


def _one_of(option: str, value: str, known: tuple[str, ...]) -> Any:
    from openbook.core.errors import UsageError

    if value not in known:
        raise UsageError(f"{option} {value!r} is not known", f"known are {', '.join(known)}")
    return value


def _tokenizer(name: str) -> Tokenizer:
    from openbook.lm.local import model_directory
    from openbook.lm.tokenizers.default import default_tokenizer
    from openbook.lm.tokenizers.tokenizer import Tokenizer

    return default_tokenizer() if name == "default" else Tokenizer.load(model_directory(name))


def _overview_json(seen: Overview) -> dict[str, Any]:
    return {
        "files": [{"path": path, "format": form} for path, form in seen.files],
        "fields": dict(seen.fields),
        "turns": {str(count): rows for count, rows in sorted(seen.turns.items())},
        "roles": dict(seen.roles),
        "tokens_per_sample": seen.lengths and seen.lengths._asdict(),
        "sample": next((one._asdict() for one in seen.samples.values()), None),
    } | seen.receipt.as_json()


def _print_overview(seen: Overview) -> None:
    for path, form in seen.files:
        print(f"{visible(path)}: {form}")
    if seen.fields:
        print("fields: " + visible(", ".join(f"{name} ({count})" for name, count in seen.fields.most_common())))
    if seen.turns:
        counts = ", ".join(f"{rows:,} of {count}" for count, rows in sorted(seen.turns.items()))
        roles = ", ".join(f"{count:,} {role}" for role, count in seen.roles.most_common())
        print(f"chats by messages: {counts}; messages: {roles}")
    if seen.lengths is None:
        print(f"{seen.receipt.rows:,} rows")
        for line in seen.receipt.lines()[1:]:
            print(visible(line))
        return
    for line in seen.receipt.lines():
        print(visible(line))
    one = seen.lengths
    print(f"tokens of a sample: mean {one.mean:.0f}, median {one.p50}, 95th of 100 {one.p95}, longest {one.most}")


def _print_sample(name: str, sample: Sample, tokenizer: Tokenizer) -> None:
    from openbook.training.data.overview import marked

    ids = sample.ids[:_SHOWN_TOKENS]
    learned = ([True] * len(ids) if sample.learned is None else sample.learned)[:_SHOWN_TOKENS]
    print(f"{name} of {len(sample.ids):,} tokens" + (":" if len(ids) == len(sample.ids) else f", {len(ids)} shown:"))
    for kind, text in marked(ids, learned, tokenizer):
        print(f"  {kind:15} {visible(text)!r}")


def _pairs(pairs: list[tuple[str, str]]) -> str:
    return "".join(f"\n  {visible(one)} = {visible(other)}" for one, other in pairs)
