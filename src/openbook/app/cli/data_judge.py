"""`openbook data judge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openbook.app.cli.options import JsonOption, print_json, progress_bar, visible, warn

if TYPE_CHECKING:
    from openbook.training.judge.label import Look
    from openbook.training.judge.settings import JudgeSettings

_SHOWN = 120
_INTERRUPTED = 130


def judge(
    pairs: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS|PROMPTS",
            help='Rows {"prompt", "completions": [TEXT, TEXT]}, or preference rows: then it is told how often the judge '
            "agrees with them. With --answers, rows with a prompt.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option("--judge", metavar="DIR|URL|URL#NAME", help="The model that judges, or a name from config.yaml."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where the rows go.")] = Path("judged.jsonl"),
    rubric: Annotated[
        Path | None,
        typer.Option("--rubric", metavar="FILE", help="The question, with {prompt}, {answer_a} and {answer_b} in it."),
    ] = None,
    constitution: Annotated[
        Path | None, typer.Option("--constitution", metavar="FILE", help="Or only the principles, one a line.")
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", metavar="en|zh", help="Of the built-in question; else of each prompt.")
    ] = None,
    reasons: Annotated[
        int, typer.Option("--reasons", metavar="N", min=0, help="Tokens that the judge may reason before its verdict.")
    ] = 0,
    swap: Annotated[bool, typer.Option("--swap/--no-swap", help="Ask twice, with the answers in both orders.")] = True,
    allow_ties: Annotated[bool, typer.Option("--allow-ties", help="The judge may say that both are as good.")] = False,
    ties: Annotated[
        str,
        typer.Option("--ties", metavar="drop|both", help="Ties, and orders that disagree: no row, or one each way."),
    ] = "drop",
    grammar: Annotated[
        bool,
        typer.Option("--grammar", help="Hold the judge to a verdict from its first token, not only when repeated."),
    ] = False,
    max_requests: Annotated[
        int | None, typer.Option("--max-requests", metavar="N", min=1, help="Stop before more questions than this.")
    ] = None,
    max_tokens_total: Annotated[
        int | None, typer.Option("--max-tokens-total", metavar="N", min=1, help="Stop before about so many tokens.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="S", min=0.1, help="Seconds for one answer of a server.")
    ] = 300.0,
    connections: Annotated[
        int, typer.Option("--connections", metavar="N", min=1, help="Questions to a server at a time.")
    ] = 8,
    answers: Annotated[
        str | None,
        typer.Option(
            "--answers", metavar="DIR|URL|URL#NAME", help="Of prompts: the model that writes two answers to each."
        ),
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0.01, help="Of --answers.")] = 1.0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Of an answer; a longer one is none.")] = 512,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of --answers: the same draws again.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Judge 16 pairs, show questions, labels and what all would cost.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Label pairs of answers with a judge model, as rows for `openbook train preference`.

    What was labelled is kept when it stops, and the same command goes on.
    """
    from openbook.core.errors import UsageError
    from openbook.training.judge.answers import AnswerSettings, read_and_answer
    from openbook.training.judge.ask import Asking
    from openbook.training.judge.label import label, look
    from openbook.training.judge.model import open_judge
    from openbook.training.judge.pairs import read_pairs
    from openbook.training.judge.rubric import read_rubric
    from openbook.training.judge.settings import JudgeSettings

    if language not in (None, "en", "zh"):
        raise UsageError(f"--language {language!r} is not known", "en or zh")
    settings = JudgeSettings(
        read_rubric("pair", rubric, constitution),
        Asking(reasons, is_constrained=grammar),
        is_swapped=swap,
        has_ties=allow_ties,
        ties=ties,  # type: ignore[arg-type]
        language=language,  # type: ignore[arg-type]
        max_requests=max_requests,
        max_tokens=max_tokens_total,
    )
    share = 1.0
    if answers is None:
        found, asked = read_pairs(pairs), open_judge(model, timeout, connections)
    else:
        drawn = AnswerSettings(temperature, max_tokens=max_tokens, seed=seed)
        with progress_bar(as_json) as progress:
            got = read_and_answer(
                pairs, open_judge(answers, timeout, connections), None if dry_run else out, drawn, settings, progress
            )
        found, settings, share = got.pairs, got.settings, got.share
        asked = open_judge(model, timeout, connections)
        for line in got.lines:
            warn(visible(line))
    if dry_run:
        _show_look(look(found, asked, settings), settings, share, as_json)
        return
    with progress_bar(as_json) as progress:
        report = label(found, asked, out, settings, progress)
    if as_json:
        print_json(report.to_json() | {"out": str(out)})
    else:
        for line in report.lines():
            print(visible(line))
        print(f"made {visible(str(out))}")
        if report.swap_consistency is not None and report.swap_consistency < 0.5:
            warn("the judge minds the order more than the answers: take another, or let it reason (--reasons)")
    if report.stopped.startswith("interrupted"):
        raise typer.Exit(_INTERRUPTED)


def _show_look(seen: Look, settings: JudgeSettings, share: float, as_json: bool) -> None:
    requests, tokens = round(seen.requests / share), round(seen.tokens / share)
    rows: list[dict[str, Any]] = [
        {"place": pair.place, "question": asked, "outcome": verdict.outcome, "row": pair.as_row(verdict.winner or 0)}
        for pair, asked, verdict in seen.seen
    ]
    if as_json:
        cost = {"requests": requests, "tokens": tokens}
        print_json({"seen": rows, "report": seen.report.to_json(), "all_would_cost": cost})
        return
    for number, row in enumerate(rows):
        if number == 0:
            print("the first question:")
            print(visible(row["question"]))
            print()
        chosen, rejected = (visible(str(row["row"][side]))[:_SHOWN] for side in ("chosen", "rejected"))
        if row["outcome"] in ("first", "second"):
            print(f"{visible(row['place'])}: better {chosen!r}, worse {rejected!r}")
        else:
            print(f"{visible(row['place'])}: {row['outcome']}: {chosen!r}, {rejected!r}")
    for line in seen.report.lines():
        print(visible(line))
    twice = " twice" if settings.is_swapped else ""
    print(f"all would take about {requests:,} requests (each pair{twice}) and {tokens:,} tokens; nothing was written")
