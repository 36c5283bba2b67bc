"""`openbook model list`, `show`, `pull`, `rm`, `new`, `merge`, `diff` and `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from openbook.app.cli.options import JsonOption, print_json, progress_bar, visible, warn

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME|DIR", help="A name from `model list`, a directory, or a GGUF file.")
]


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the models under $OPENBOOK_HOME/models."""
    from openbook.lm.describe import brief
    from openbook.lm.local import local_models, local_name, models_home

    rows = [brief(path, local_name(path)) for path in local_models()]
    if as_json:
        print_json([row._asdict() for row in rows])
        return
    for row in rows:
        what = f"{row.model_type:12} {row.parameters / 1e6:9,.1f} M  {row.dtype:8}  {_size(row.bytes):>10}"
        print(f"{row.name:40} {f'cannot be used: {visible(row.fault)}' if row.fault else what}")
    print(f"{len(rows)} model{'' if len(rows) == 1 else 's'} in {models_home()}")


@app.command("show")
def show(
    name: NameArgument,
    context: Annotated[
        int | None,
        typer.Option("--context", metavar="N", help="Tokens of each sequence; 4096, or what the model has places for."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", metavar="N", help="Sequences at once.")] = 1,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="float32, bfloat16 or float16 instead of the stored.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a model's architecture, parameters by part, memory and chat template."""
    from openbook.lm.describe import describe
    from openbook.lm.local import model_directory

    found = describe(model_directory(name), context=context, batch=batch, dtype=dtype)
    if as_json:
        print_json(found.to_plain())
        return
    for line in found.lines():
        print(line)


@app.command("pull")
def pull(
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME[@REVISION]")],
    least_rate: Annotated[
        float,
        typer.Option(
            "--least-rate",
            metavar="N",
            min=0.0,
            help="Bytes a second, over a minute, below which it gives up; 0: never.",
        ),
    ] = 1_000.0,
) -> None:
    """Fetch a model from the Hugging Face hub (or HF_ENDPOINT) into $OPENBOOK_HOME/models; goes on where it stopped."""
    from openbook.lm.checkpoint import has_weights
    from openbook.lm.hub import pull
    from openbook.lm.pace import LeastRate

    with progress_bar(quiet=False) as progress:
        directory = pull(name, progress, least_rate=LeastRate(least_rate))
    print(directory)
    if not has_weights(directory):
        warn(f"its weights are pickles: `openbook model convert {directory} OUT` makes safetensors of them")


@app.command("rm")
def rm(name: NameArgument) -> None:
    """Delete a model under $OPENBOOK_HOME/models."""
    from openbook.lm.local import remove

    print(f"deleted {name}: {_size(remove(name))}")


@app.command("new")
def new(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write it.")],
    family: Annotated[str, typer.Option("--family", help="llama, mistral, qwen2, qwen3, gpt2, bert or t5.")] = "llama",
    size: Annotated[
        str,
        typer.Option(
            "--size",
            help="The name of a shape: 1m, 5m, 30m, 125m, 0.5b, 1b, 1.5b, 3b or 8b. The count depends on the vocabulary and the "
            "family: a llama of 1m has 0.8 M parameters and a table of 1.0 M for the built-in 8,192 tokens. It is printed.",
        ),
    ] = "30m",
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer", metavar="NAME|DIR", help="That of another model, or a trained one; else the built-in."
        ),
    ] = None,
    max_seq_len: Annotated[
        int, typer.Option("--max-seq-len", metavar="N", help="The longest context; t5 has no limit.")
    ] = 2_048,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.")] = "float32",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same one gives the same weights.")] = 0,
) -> None:
    """Make a fresh model with a tokenizer, ready to be trained.

    llama, mistral, qwen2, qwen3 and gpt2 write text: `openbook run` and the engine serve them, and the built-in tokenizer has a
    chat template. bert fills masks and is the body of embedders; t5 turns text into text, by openbook.lm.generate: these two
    are not served.
    """
    from openbook.lm.fresh import write_fresh
    from openbook.lm.local import model_directory

    taken = None if tokenizer in (None, "default") else model_directory(str(tokenizer))
    made = write_fresh(out, family, size, taken, max_seq_len=max_seq_len, dtype=dtype, seed=seed)
    print(
        f"made {out}: {made.parameters / 1e6:,.1f} M parameters, {made.table / 1e6:,.1f} M of them in the table of "
        f"{made.vocab_size:,} tokens"
    )
    for note in made.notes:
        warn(note)


@app.command("merge")
def merge(
    base: NameArgument,
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="An adapter's directory.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write the whole model.")],
) -> None:
    """Fold an adapter into its base and write one checkpoint."""
    from openbook.lm.fresh import write_merged
    from openbook.lm.local import model_directory

    write_merged(model_directory(base), adapter, out)
    print(f"made {out}")


@app.command("diff")
def diff(a: NameArgument, b: NameArgument, as_json: JsonOption = False) -> None:
    """Show which tensors of two checkpoints differ, and by how much."""
    from openbook.lm.compare import differences
    from openbook.lm.local import model_directory

    found = list(differences(model_directory(a), model_directory(b)))
    if as_json:
        print_json([one._asdict() for one in found])
        return
    for one in found:
        how = f"largest {one.largest:.3g}  relative {one.relative:.3g}" if one.kind == "numbers" else one.kind
        print(f"{one.name:60} {how}")
    print(f"{len(found)} tensors differ")


@app.command("convert")
def convert(
    source: NameArgument,
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="A directory; for gguf FILE.gguf, or a directory, which gets NAME.gguf."),
    ],
    to: Annotated[str, typer.Option("--to", help="safetensors or gguf.")] = "safetensors",
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype", help="float32, bfloat16 or float16, else as stored; for gguf also q8_0 or q4_0, else float16."
        ),
    ] = None,
) -> None:
    """Write a checkpoint in another form: safetensors or GGUF, also from pytorch_model.bin and from GGUF."""
    from openbook.core.errors import UsageError
    from openbook.lm.convert import convert
    from openbook.lm.local import model_directory

    if to not in ("safetensors", "gguf"):
        raise UsageError(f"--to {to!r} is not known", "known are safetensors and gguf")
    done: Any = convert(model_directory(source), out, to, dtype)  # type: ignore[arg-type]
    for note in done.notes:
        warn(note)
    print(f"made {done.path}: {done.bytes / 1e6:,.1f} MB")


def _size(count: int) -> str:
    """Bytes in the largest unit of which there is one."""
    unit, power = next(((unit, power) for unit, power in (("GB", 9), ("MB", 6)) if count >= 10**power), ("kB", 3))
    return f"{count / 10**power:,.2f} {unit}"
