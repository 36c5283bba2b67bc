"""Prompts with answers that copy from them, and some that do not, for `speculation.py`: made from public texts by fixed rules.

quotes: three passages of SQuAD and two questions; the answer is the sentences that answer them, each with the number of its
passage, as an assistant that cites writes it. edits: a function of HumanEval and a wish to rename its first parameter; the answer
is the whole function. new text: a beginning of WikiText-2 and what follows it, which copies no more than any text does.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from random import Random
from typing import Any

from openbook.lm.tokenizers.tokenizer import Tokenizer
from replay import Case

LONGEST_PROMPT = 512
LEAST_ANSWER, LONGEST_ANSWER = 40, 128


def cases(data: Path, tokenizer: Tokenizer, count: int) -> dict[str, list[Case]]:
    """`count` of each kind, the same every time."""
    made = {"quotes": _quotes(data), "edits": _edits(data), "new text": _new_text(data)}
    return {kind: _fitting(texts, tokenizer, count) for kind, texts in made.items()}


def _fitting(texts: list[tuple[str, str]], tokenizer: Tokenizer, count: int) -> list[Case]:
    Random(1).shuffle(texts)
    found: list[Case] = []
    for prompt, answer in texts:
        case = Case(tokenizer.encode(prompt), tokenizer.encode(answer)[:LONGEST_ANSWER])
        if len(case.prompt) <= LONGEST_PROMPT and len(case.answer) >= LEAST_ANSWER:
            found.append(case)
        if len(found) == count:
            return found
    raise SystemExit(f"only {len(found)} of {count} cases fit")


def _quotes(data: Path) -> list[tuple[str, str]]:
    with gzip.open(data / "squad" / "squad_v1.1_dev_part.json.gz", "rt", encoding="utf-8") as file:
        articles: list[dict[str, Any]] = json.load(file)["data"]
    found = []
    for article in articles:
        paragraphs = article["paragraphs"]
        for at in range(0, len(paragraphs) - 2, 3):
            three = paragraphs[at : at + 3]
            asked = [
                (number, paragraph, paragraph["qas"][0])
                for number, paragraph in enumerate(three, 1)
                if paragraph["qas"]
            ]
            if len(asked) < 2:
                continue
            passages = "\n".join(f"[{number}] {paragraph['context']}" for number, paragraph in enumerate(three, 1))
            questions = " ".join(qa["question"] for _, _, qa in asked[:2])
            said = " ".join(f"{_sentence(paragraph['context'], qa)} [{number}]" for number, paragraph, qa in asked[:2])
            found.append((f"{passages}\n\nQuestion: {questions}\nAnswer:", f" {said}"))
    return found


def _sentence(context: str, qa: dict[str, Any]) -> str:
    """The one with the answer."""
    place = qa["answers"][0]["answer_start"]
    begin = max((match.end() for match in re.finditer(r"[.!?] ", context[:place])), default=0)
    end = re.search(r"[.!?]( |$)", context[place:])
    return context[begin : place + end.start() + 1 if end else len(context)]


def _edits(data: Path) -> list[tuple[str, str]]:
    with gzip.open(data / "humaneval" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as file:
        problems = [json.loads(line) for line in file]
    found = []
    for one in problems:
        code = one["prompt"] + one["canonical_solution"]
        first = re.search(rf"def {one['entry_point']}\(\s*(\w+)", code)
        if first:
            renamed = re.sub(rf"\b{first[1]}\b", "given", code)
            found.append((f"Rename {first[1]} to given.\n\n```\n{code}```\n\n```\n", f"{renamed}```"))
    return found


def _new_text(data: Path) -> list[tuple[str, str]]:
    lines = gzip.decompress((data / "wikitext2" / "valid.txt.gz").read_bytes()).decode("utf-8").splitlines()
    long = [line for line in lines if len(line) > 1_200]
    return [(line[:600], line[600:1_200]) for line in long]
