"""The command `openbook`: one file a command; nothing heavy is imported before the command that needs it runs."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from openbook.app.cli import (
    add,
    ask,
    bench,
    check,
    config,
    data,
    doctor,
    evaluate,
    exchange,
    listing,
    model,
    run,
    search,
    serve,
    setup,
    tokenizer,
    train,
)
from openbook.core.errors import OpenbookError

app = typer.Typer(
    name="openbook",
    help="Answers from your own documents, with citations that are checked.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.command("init")(add.init)
app.command("add")(add.add)
app.command("sync")(add.sync)
app.command("ls")(listing.ls)
app.command("show")(listing.show)
app.command("rm")(listing.rm)
app.command("search")(search.search)
app.command("ask")(ask.ask)
app.command("chat")(ask.chat)
app.command("check")(check.check)
app.command("reembed")(check.reembed)
app.command("export")(exchange.export)
app.command("import")(exchange.import_)
app.command("doctor")(doctor.doctor)
app.command("run")(run.run)
app.command("serve")(serve.serve)
app.command("train")(train.train)
app.command("runs")(train.runs)
app.add_typer(model.app, name="model", help="Models: fetch, make, look at, convert.")
app.add_typer(tokenizer.app, name="tokenizer", help="Tokenizers: train, look at, compare.")
app.add_typer(data.app, name="data", help="Training data: look at, convert, tokenise.")
app.add_typer(evaluate.app, name="eval", help="Measure retrieval on questions of your own.")
app.add_typer(bench.app, name="bench", help="Measure how fast a server answers.")
app.add_typer(config.app, name="config", help="Settings that hold for every call.")
app.add_typer(setup.app, name="setup", help="Install what a plain `pip install` leaves out.")

_INTERRUPTED = 130


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        print(f"openbook {version('openbook')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Runs a command. Errors are printed with their remedy, without a traceback; Ctrl-C ends with 130."""
    try:
        app()
    except OpenbookError as error:
        print(f"openbook: {error.message}", file=sys.stderr)
        if error.remedy:
            print(f"  → {error.remedy}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(_INTERRUPTED)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # what Typer makes of a Ctrl-C
            _say_interrupted()
        raise
    except Exception as error:
        if os.environ.get("OPENBOOK_TRACEBACK"):
            raise
        print(f"openbook: a fault of this program: {type(error).__name__}: {error}", file=sys.stderr)
        print("  → set OPENBOOK_TRACEBACK=1 to see where it happened, and report it", file=sys.stderr)
        sys.exit(1)


def _say_interrupted() -> None:
    goes_on = any(command in sys.argv[1:3] for command in ("add", "sync", "reembed"))
    how = "every document that was committed is kept, the same command goes on from there"
    print(f"openbook: interrupted; {how if goes_on else 'what was committed is kept'}", file=sys.stderr)


if __name__ == "__main__":
    main()
