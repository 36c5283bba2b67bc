"""A decoder of a million parameters that answers from a library by copying: `openbook ask "..." --model OUT`.

`python recipes/copy_model.py OUT`: up to half an hour on two cores. How often it is right has not been measured yet: a first
training learned to copy from bare passages and stopped before whole prompts; `copy_check.py` measures it.

The model reads the prompt that the library asks every model with, finds the sentence that answers the question, and writes it
with the number of its passage. Every example has names and values of its own, so that copying is all that can be learned; the
tokenizer is learned from the same prompts, so that the rules are short and a value is one token. It knows nothing else.

Contexts grow: first short passages without anything around them, in which the heads form that copy what followed the last time
(Olsson et al. 2022, https://arxiv.org/abs/2209.11895); then passages as the library shows them, then whole prompts. A stage
ends when its loss is low.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

from openbook.core.threads import set_thread_environment

set_thread_environment()

import torch  # noqa: E402
from copy_facts import VALUES, Document, documents, prompt_of, some_days  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from openbook.core.messages import Message  # noqa: E402
from openbook.lm.families.base import Family  # noqa: E402
from openbook.lm.load import new_model, save_model  # noqa: E402
from openbook.lm.nn.batch import Batch  # noqa: E402
from openbook.lm.presets import new_config  # noqa: E402
from openbook.lm.tokenizers.tokenizer import Tokenizer  # noqa: E402
from openbook.lm.tokenizers.train import train as train_tokenizer  # noqa: E402

VOCAB_SIZE = 1_024
MAX_SEQ_LEN = 1_536
"""Of this the library keeps 800 tokens for the answer and about 500 for the rules; the rest holds three short passages."""
STEP_TOKENS = 2_048
RATE = 2e-3
FIRST_WEIGHTS = 3.0
"""Fresh weights have a deviation of 0.02, which is made for wide models; in a narrow one attention begins all but even."""
WARM_UP_STEPS = 20
SMOOTHING = 0.9
LEAST_STEPS = 30
"""A first batch can be an easy one: so many losses are looked at before a stage may end."""


class Stage(NamedTuple):
    """`passages`: least and most. `form`: "bare" passages are text between their numbers, "marked" ones are as the library shows
    them, and the "whole" prompt has the rules too. `turns`: questions about the same passages, one after the other: more to
    learn from for the same work. It ends when the mean loss of a token is below `goal`, or after `most_steps`.
    """

    passages: tuple[int, int]
    form: Literal["bare", "marked", "whole"]
    turns: int
    goal: float
    most_steps: int
    rate: float = RATE


STAGES = (
    Stage((1, 1), "bare", 1, 0.05, 500),
    Stage((1, 2), "bare", 2, 0.05, 1_000),
    Stage((1, 3), "bare", 3, 0.05, 1_000),
    Stage((1, 3), "marked", 3, 0.05, 1_000),
    Stage((1, 3), "whole", 3, 0.01, 500),
    Stage((1, 3), "whole", 3, 0.002, 60, RATE / 5),
)


class Example(NamedTuple):
    """`learned`: of each id, whether the loss counts it."""

    ids: list[int]
    learned: list[bool]


def new_tokenizer(random: Random) -> Tokenizer:
    """Bytes and the pieces of 300 prompts, with the chat template that new models get. A value is one token."""
    texts = [message.text for _ in range(300) for message in chat(random, 6, 1, "whole")]
    return train_tokenizer("bpe", [*texts, *(f"is {value}" for value in VALUES for _ in range(300))], VOCAB_SIZE)


def chat(random: Random, passages: int, turns: int, form: Literal["bare", "marked", "whole"]) -> list[Message]:
    """A prompt as the library writes it with its answer, and `turns` - 1 more questions that only need the passages."""
    shown = documents(random, passages)
    asked = [(place, fact) for place, document in enumerate(shown, 1) for fact in document.facts]
    first, *others = random.sample(asked, min(turns, len(asked)))
    rules, user = prompt_of(first[1].question, shown, some_days(random, passages)).messages
    if form == "bare":
        said = [Message.of("user", _bare(shown, first[1].question))]
    else:
        said = [rules, user] if form == "whole" else [user]
    said.append(Message.of("assistant", first[1].answer(first[0])))
    for place, fact in others:
        said += [Message.of("user", f"Question: {fact.question}"), Message.of("assistant", fact.answer(place))]
    return said


def _bare(shown: Sequence[Document], question: str) -> str:
    """A short form of the prompt, for the first steps."""
    passages = [f"<passage [{place}]>\n{one.text}\n</passage [{place}]>" for place, one in enumerate(shown, 1)]
    return "\n\n".join([*passages, f"Question: {question}"])


def batch_of(tokenizer: Tokenizer, random: Random, stage: Stage) -> list[Example]:
    """Examples of about one length, as many as fit into a step; only what the assistant says is learned."""
    passages = random.randint(*stage.passages)
    held: list[Example] = []
    while (len(held) + 1) * max((len(one.ids) for one in held), default=1) <= STEP_TOKENS:
        rendered = tokenizer.render(chat(random, passages, stage.turns, stage.form), literal=True)
        held.append(Example(rendered.ids, rendered.mask))
    return held


def loss_of(model: Family, held: list[Example]) -> Tensor:
    """Mean over the tokens that are learned, in nats. Shorter rows are filled up behind their end, where nothing is learned."""
    length = max(len(one.ids) for one in held)
    ids = torch.tensor([one.ids + [0] * (length - len(one.ids)) for one in held]).flatten()  # (N,)
    learned = torch.tensor([one.learned + [False] * (length - len(one.ids)) for one in held]).flatten()
    targets = learned.nonzero()[:, 0]  # never the first of a row
    logits = model(ids, Batch.of([length] * len(held)), rows=targets - 1)  # (M, V)
    return F.cross_entropy(logits, ids[targets])


def train(out: Path, seed: int = 0, minutes: float = 30.0) -> float:
    """The checkpoint in `out`, and the last loss. It stops after `minutes` with what there is."""
    random = Random(seed)
    tokenizer = new_tokenizer(random)
    named = {"eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    model = new_model(new_config("llama", "1m", tokenizer.vocab_size, MAX_SEQ_LEN) | named, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= FIRST_WEIGHTS
    model.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
    began, mean, total = time.monotonic(), 0.0, 0
    for number, stage in enumerate(STAGES):
        mean = float("inf")
        for step in range(1, stage.most_steps + 1):
            held, total = batch_of(tokenizer, random, stage), total + 1
            for group in optimizer.param_groups:
                group["lr"] = stage.rate * min(1.0, total / WARM_UP_STEPS)
            loss = loss_of(model, held)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            mean = loss.item() if mean == float("inf") else SMOOTHING * mean + (1 - SMOOTHING) * loss.item()
            spent = time.monotonic() - began
            is_learned = mean < stage.goal and step >= LEAST_STEPS
            is_over = is_learned or step == stage.most_steps or spent > 60 * minutes
            if step % 10 == 0 or is_over:
                print(f"{spent:5.0f} s  stage {number}  step {step:4}  {mean:.4f} nats a token", flush=True)
            if is_over:
                break
        save_model(model, out)
        tokenizer.save(out)
    return mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder for the checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    train(options.out, options.seed, options.minutes)


if __name__ == "__main__":
    main()
