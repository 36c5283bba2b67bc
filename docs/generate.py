"""`make docs`: writes `docs/commands.md` from the commands' own help, so that the two cannot disagree (a test compares them)."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.testing import CliRunner

from openbook.app.cli.main import app

TARGET = Path(__file__).with_name("commands.md")
HEAD = """# Commands

Made by `make docs` from the commands' own help. `--library NAME|PATH` names the library (default `$OPENBOOK_HOME/default`, where
`OPENBOOK_HOME` is `~/.openbook` when it is not set). Exit codes: 0, 1 error, 2 usage, 3 abstained (with `--fail-on-abstain`), 4 some files
could not be read, 5 another process is adding. ([中文](commands.zh-CN.md))
"""


def commands() -> list[list[str]]:
    """Every command, groups before their members."""
    click = typer.main.get_command(app)
    found: list[list[str]] = []
    for name, command in click.commands.items():  # type: ignore[attr-defined]
        found.append([name])
        found += [[name, inner] for inner in getattr(command, "commands", {})]
    return found


def rendered() -> str:
    """The page as it should be."""
    runner = CliRunner(env={"COLUMNS": "110", "TERMINAL_WIDTH": "110"})
    parts = [HEAD]
    for command in commands():
        out = runner.invoke(app, [*command, "--help"], prog_name="openbook").output
        lines = "\n".join(line.rstrip() for line in out.strip().splitlines())
        parts.append(f"\n## openbook {' '.join(command)}\n\n```\n{lines}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(rendered(), encoding="utf-8")
    print(f"wrote {TARGET}")
