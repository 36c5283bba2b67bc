"""What best-of-n and reward-guided decoding buy, and what they cost, on synthetic preferences whose truth is known.

`python benchmarks/best_of.py [--work DIR] [--seeds 3] [--requests 60]`. Of each seed: the small model of `alignment_proof.py`,
which writes answers of colours and things, and a reward model that was trained on pairs whose better answer names more colours.
Then as many answers as requests, each the best of n = 1, 2, 4, 8, 16, and guided token by token. Reported: the mean reward of the
answers that are given, by the reward model that chose them; the share of their words that are colours, which is the truth behind
it; how likely the model itself thinks them, per token; tokens a second of answers given, and of all that was written. Writes
`results/best_of.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from statistics import fmean
from tempfile import mkdtemp
from typing import Any

from alignment_data import COLOURS, PLACES
from alignment_proof import COMMON, RUNS, base_of, files, run
from machine import describe
from openbook.core.threads import set_thread_environment

RESULTS = Path(__file__).resolve().parent / "results" / "best_of.json"
COUNTS = (1, 2, 4, 8, 16)
WEIGHTS = (0.5, 1.0, 2.0)
TOP_K = 10
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=60)
    chosen = parser.parse_args()
    set_thread_environment()
    work = chosen.work or Path(mkdtemp())
    found: Row = {"machine": describe(), "requests": chosen.requests, "top_k": TOP_K, "seeds": {}}
    for seed in range(chosen.seeds):
        folder = work / str(seed)
        data = files(folder, seed)
        base = base_of(folder, data, seed)
        rows = measured(base, reward_of(folder, base, data, seed), chosen.requests)
        found["seeds"][str(seed)] = rows
        for name, row in rows.items():
            print(f"{seed} {name:12}", *(f"{key} {value:9.3f}" for key, value in row.items()), flush=True)
        found["means"] = {
            name: {key: round(fmean(one[name][key] for one in found["seeds"].values()), 3) for key in row}
            for name, row in rows.items()
        }
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def reward_of(folder: Path, base: Path, data: dict[str, str], seed: int) -> Path:
    done = folder / "reward" / "model"
    if done.is_dir():
        return done
    values = COMMON | RUNS["reward"] | {"model": {"path": str(base)}, "seed": seed, "out": str(folder / "reward")}
    return run(values | {"data": {"train": data["pairs"], "eval": data["held"]}})


def measured(base: Path, reward: Path, requests: int) -> dict[str, Row]:
    from openbook.lm.load import load_model
    from openbook.lm.tokenizers.tokenizer import Tokenizer
    from openbook.serving.best_of import BestOf
    from openbook.serving.engine.engine import Engine
    from openbook.serving.engine.guide import RewardGuide
    from openbook.serving.reward_scorer import RewardScorer

    scorer, plain = RewardScorer.load(reward), load_model(base)
    rows: dict[str, Row] = {}
    with Engine.load(base, max_num_seqs=32) as engine:
        tokenizer = Tokenizer.load(base)

        def told(name: str, answer: Callable[[], Iterator[tuple[int, Any]]], written: int | None = None) -> None:
            asked = requests_of(requests)
            began = time.perf_counter()
            answers = [one for _, one in sorted(answer(), key=lambda pair: pair[0])]
            seconds = time.perf_counter() - began
            texts = [one.text for one in answers]
            tokens = sum(one.completion_tokens for one in answers)
            scores = [scorer(one.messages, [text])[0] for one, text in zip(asked, texts, strict=True)]
            rows[name] = {
                "reward": round(fmean(score for score in scores if score is not None), 3),
                "colours": round(fmean(colours(text) for text in texts), 3),
                "token_logprob": round(logprob(plain, tokenizer, asked, texts), 3),
                "tokens_per_s": round(tokens / seconds, 1),
                "written_per_s": round((written or 1) * tokens / seconds, 1),
            }

        engine.generate([[5, 6, 7]] * 32, requests_of(1)[0].sampling)  # kernels are compiled
        for count in COUNTS:
            model = BestOf(engine.chat(), scorer, count)
            told(f"best of {count}", lambda model=model: model.complete_many(requests_of(requests)), count)  # type: ignore[misc]
        for weight in WEIGHTS:
            guide = RewardGuide.load(reward, tokenizer, engine.loop.engine.end_tokens, weight=weight, top_k=TOP_K)
            chat = engine.chat(guide)
            told(f"guided {weight:g}", lambda chat=chat: chat.complete_many(requests_of(requests)))  # type: ignore[misc]
    return rows


def requests_of(count: int) -> list[Any]:
    from openbook.core.messages import ChatRequest, Message, SamplingParams

    return [
        ChatRequest(
            (Message.of("user", f"say {place}"),), SamplingParams(temperature=1.0, max_tokens=48, seed=1_000 * number)
        )
        for number, place in enumerate(islice(cycle(PLACES), count))
    ]


def colours(text: str) -> float:
    """The share of the words."""
    words = text.split()
    return sum(word in COLOURS for word in words) / max(len(words), 1)


def logprob(model: Any, tokenizer: Any, asked: list[Any], texts: list[str]) -> float:
    """Of a token of the answers, by the model without any reward."""
    import numpy as np
    import torch

    from openbook.training.objectives.preference import answer_logprobs
    from openbook.training.sources.answers import Answers

    made = [
        tokenizer.render([*one.messages, {"role": "assistant", "content": text}])
        for one, text in zip(asked, texts, strict=True)
    ]
    answers = Answers.of([(np.array(one.ids), np.array(one.mask)) for one in made])
    with torch.no_grad():
        return float(answer_logprobs(model, answers).sum() / answers.counts.sum())


if __name__ == "__main__":
    main()
