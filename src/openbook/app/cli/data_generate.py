"""`openbook data generate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from openbook.app.cli.options import JsonOption, print_json, progress_bar, visible

if TYPE_CHECKING:
    from openbook.core.progress import Progress
    from openbook.training.data.contamination import TestSet
    from openbook.training.generate.budget import Budget
    from openbook.training.generate.expand_receipt import ExpandReceipt
    from openbook.training.generate.receipt import GenerateReceipt
    from openbook.training.rewards.settings import RewardTerm


def generate(
    files: Annotated[
        list[Path], typer.Argument(metavar="PROMPTS.jsonl...", help="Rows with a prompt; with --expand, seeds.")
    ],
    model: Annotated[
        str, typer.Option("--model", metavar="DIR|URL|URL#NAME|NAME", help="The teacher; a name is from config.yaml.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where the rows go.")] = Path(
        "generated.jsonl"
    ),
    samples: Annotated[int, typer.Option("--samples", "-n", metavar="N", help="Answers to each prompt.")] = 4,
    keep: Annotated[int, typer.Option("--keep", metavar="K", help="Of each prompt, at most so many are kept.")] = 1,
    verify: Annotated[
        list[str] | None,
        typer.Option(
            "--verify",
            metavar="NAME",
            help="Who says which answers are good: number, choice, format, regex:PATTERN, function:FILE.py:NAME, "
            "program:FILE, model:DIR or judge:MODEL; several are added up.",
        ),
    ] = None,
    threshold: Annotated[float, typer.Option("--threshold", metavar="X", help="Kept are answers above it.")] = 0.5,
    prefer: Annotated[str, typer.Option("--prefer", help="Of good answers: shortest or random.")] = "shortest",
    temperature: Annotated[float, typer.Option("--temperature", min=0.0)] = 0.8,
    top_p: Annotated[float, typer.Option("--top-p", min=0.0, max=1.0)] = 0.95,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Of an answer; a longer one is none.")] = 1024,
    seed: Annotated[int, typer.Option("--seed", help="The same draws again.")] = 0,
    system: Annotated[str | None, typer.Option("--system", help="What the teacher is told first.")] = None,
    think: Annotated[
        bool | None,
        typer.Option("--think/--no-think", help="Whether it thinks first; without it, as its template has it."),
    ] = None,
    expand: Annotated[
        str | None,
        typer.Option("--expand", metavar="self-instruct|evol", help="The files are seeds: make more tasks like them."),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="Of --expand: new rows wanted.")] = 1000,
    below: Annotated[
        float, typer.Option("--below", metavar="X", help="Of --expand: ROUGE-L with every other task.")
    ] = 0.7,
    patience: Annotated[
        int, typer.Option("--patience", metavar="N", min=1, help="Of --expand: so many rounds in vain end it.")
    ] = 10,
    with_seeds: Annotated[
        bool, typer.Option("--with-seeds", help="Of --expand: seeds with answers stand among the rows.")
    ] = False,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", metavar="TEST", help="Leave out what is in this test set; may be repeated."),
    ] = None,
    max_requests: Annotated[
        int | None, typer.Option("--max-requests", metavar="N", help="Never more than so many.")
    ] = None,
    max_tokens_total: Annotated[
        int | None, typer.Option("--max-tokens-total", metavar="N", help="Of prompts and answers, never more.")
    ] = None,
    at_once: Annotated[int, typer.Option("--at-once", metavar="N", min=1, help="Prompts asked together.")] = 16,
    as_json: JsonOption = False,
) -> None:
    """Have a model write training data: answers that a verifier lets pass, or new tasks from seeds.

    The same command goes on after an interruption; what was answered is not asked again.
    """
    from openbook.core.errors import UsageError
    from openbook.training.generate.budget import Budget
    from openbook.training.generate.expand_settings import ExpandSettings
    from openbook.training.generate.settings import GenerateSettings

    budget, tests = Budget(max_requests, max_tokens_total), _tests(against)
    receipt: GenerateReceipt | ExpandReceipt
    with progress_bar(as_json) as progress:
        if expand is not None:
            if verify:
                raise UsageError(
                    "--verify is for answers to prompts", "leave it out: --expand looks at every row itself"
                )
            receipt = _expanded(
                files,
                model,
                ExpandSettings(
                    method=cast(Any, expand),
                    rows=rows,
                    below=below,
                    temperature=temperature,
                    top_p=top_p,
                    max_tokens=max_tokens,
                    seed=seed,
                    at_once=at_once,
                    patience=patience,
                    with_seeds=with_seeds,
                ),
                out,
                (tests, budget, progress),
            )
        else:
            settings = GenerateSettings(
                n=samples,
                keep=keep,
                threshold=threshold,
                prefer=cast(Any, prefer),
                temperature=temperature,
                top_p=top_p,
                max_tokens=max_tokens,
                seed=seed,
                reasoning=think,
                at_once=at_once,
            )
            receipt = _generated(files, model, system, verify or [], settings, out, (tests, budget, progress))
    if as_json:
        print_json(receipt.as_json())
        return
    for line in receipt.lines():
        print(visible(line))


def _generated(
    files: list[Path],
    model: str,
    system: str | None,
    verify: list[str],
    settings: Any,
    out: Path,
    beside: tuple[TestSet | None, Budget, Progress],
) -> GenerateReceipt:
    from contextlib import nullcontext

    from openbook.serving.models import open_chat_model
    from openbook.training.generate.generate import generate as run
    from openbook.training.generate.prompts import read_prompts
    from openbook.training.generate.verifier import open_verifier, term_of

    prompts = read_prompts(files, system)
    terms: list[RewardTerm] = [term_of(one) for one in verify]
    tests, budget, progress = beside
    with open_verifier(terms) if terms else nullcontext() as verifier:
        return run(
            prompts,
            open_chat_model(model),
            settings,
            out,
            verifier=verifier,
            verified_by=", ".join(verify),
            tests=tests,
            budget=budget,
            progress=progress,
        )


def _expanded(
    files: list[Path], model: str, settings: Any, out: Path, beside: tuple[TestSet | None, Budget, Progress]
) -> ExpandReceipt:
    from openbook.serving.models import open_chat_model
    from openbook.training.generate.expand import expand as run
    from openbook.training.generate.seeds import read_seeds

    seeds = read_seeds(files)
    tests, budget, progress = beside
    return run(seeds, open_chat_model(model), settings, out, tests=tests, budget=budget, progress=progress)


def _tests(against: list[Path] | None) -> TestSet | None:
    from openbook.training.data.contamination import TestSet
    from openbook.training.data.reading import data_files, read_rows
    from openbook.training.data.receipt import Receipt

    return None if not against else TestSet(read_rows(data_files(against), Receipt()))
