"""A decoder of a million parameters that answers from a library by copying: `openbook ask "..." --model OUT`.

`python recipes/copy_model.py OUT`: 47 minutes on one core of a busy machine. `copy_check.py OUT` measures how often it is right:
346 of 400 questions through the library, 394 of 400 when the passages are drawn at random. What is wrong is a passage whose place
has the same name or kind, which a search likes to bring; with a last stage of 1,000 steps instead of 3,000, and fewer places
alike in it, it was 158 and 191 of 200.

The model reads the prompt that the library asks every model with, finds the sentence that answers the question, and writes it
with the number of its passage. Every example has names and values of its own, so that copying is all that can be learned; the
tokenizer is learned from the same prompts, so that the rules are short and a name or a value is one token. It knows nothing else.

Three things make it quick: the first weights (`copy_start.py`), Muon for the matrices of the layers
(https://kellerjordan.github.io/posts/muon/), and short prompts first. What forms is the circuit that copies what followed the
last time (Olsson et al. 2022, https://arxiv.org/abs/2209.11895), over the names of a question.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

from openbook.core.threads import set_thread_environment

set_thread_environment()

import torch  # noqa: E402
from copy_facts import NAMES, VALUES, Document, documents, prompt_of, some_days  # noqa: E402
from copy_start import begin_to_copy  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from openbook.core.messages import Message  # noqa: E402
from openbook.lm.families.base import Family  # noqa: E402
from openbook.lm.load import new_model, save_model  # noqa: E402
from openbook.lm.nn.attention import Attention  # noqa: E402
from openbook.lm.nn.batch import Batch  # noqa: E402
from openbook.lm.presets import new_config  # noqa: E402
from openbook.lm.tokenizers.tokenizer import Tokenizer  # noqa: E402
from openbook.lm.tokenizers.train import train as train_tokenizer  # noqa: E402

Form = Literal["list", "bare", "marked", "whole"]
"""Of a prompt. "list": passages, and then answers without questions, one after the other. "bare" passages are text between their
numbers, "marked" ones are as the library shows them, and the "whole" prompt has the rules too."""
VOCAB_SIZE = 1_024
MAX_SEQ_LEN = 1_536
"""Of this the library keeps 800 tokens for the answer and about 500 for the rules; the rest holds four or five short passages."""
SHAPE = {"num_key_value_heads": 4, "head_dim": 64, "rope_theta": 1e6, "intermediate_size": 256}
"""Of Qwen2, whose queries and keys have biases. Wide heads whose slow pairs compare over a whole prompt: see `copy_start`."""
FIRST_MLP_WEIGHTS = 3.0
"""Fresh weights have a deviation of 0.02, which is made for wide models."""
STEP_TOKENS = 2_048
TURNS = 4
"""Questions about the same passages, one after the other: more to learn from for the same work."""
MATRIX_RATE, TOKEN_RATE, BIAS_RATE = 5e-3, 3e-3, 1e-2
WARM_UP_STEPS = 20
REPORT_STEPS = 25
SMOOTHING = 0.9


class Stage(NamedTuple):
    """`shares`: how often a step has prompts of each form, which have `passages`: least and most. `alike`: the share of prompts
    whose places have few names or few kinds among them, so that neither alone tells which passage it is."""

    steps: int
    passages: tuple[int, int]
    shares: Mapping[Form, float]
    alike: float


STAGES = (
    Stage(350, (2, 4), {"list": 0.4, "bare": 0.3, "marked": 0.3}, 0.0),
    Stage(1_200, (2, 5), {"list": 0.2, "bare": 0.3, "marked": 0.5}, 0.7),
    Stage(3_000, (3, 5), {"list": 0.1, "marked": 0.2, "whole": 0.7}, 0.8),
)
"""The numbers of passages are learned before places are alike: together, they were not. The rates fall to nothing over the last
stage."""


class Example(NamedTuple):
    """`learned`: of each id, whether the loss counts it."""

    ids: list[int]
    learned: list[bool]


def new_tokenizer(random: Random) -> Tokenizer:
    """Bytes and the pieces of 300 prompts, with the chat template that new models get. A name or a value is one token."""
    texts = [message.text for _ in range(300) for message in chat(random, 6, 1, "whole")]
    words = [f"is {word}" for word in (*VALUES, *NAMES) for _ in range(300)]
    return train_tokenizer("bpe", [*texts, *words], VOCAB_SIZE)


def chat(random: Random, passages: int, turns: int, form: Form, alike: bool = False) -> list[Message]:
    """A prompt as the library writes it with its answer, and `turns` - 1 more questions that only need the passages."""
    shown = documents(random, passages, alike=alike)
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
    return f"{_between_numbers(shown)}\n\nQuestion: {question}"


def recital(tokenizer: Tokenizer, random: Random, passages: int, alike: bool = False) -> Example:
    """Each passage's answer, in any order, `TURNS` times, learned from its value on: what is asked for is not said."""
    shown = documents(random, passages, alike=alike)
    ids = tokenizer.encode(f"{_between_numbers(shown)}\n\n")
    learned = [False] * len(ids)
    (told,) = tokenizer.encode(" is")
    for _ in range(TURNS):
        for place, document in random.sample(list(enumerate(shown, 1)), passages):
            said = tokenizer.encode(f"{random.choice(document.facts).answer(place)}\n")
            known = said.index(told) + 1
            ids += said
            learned += [False] * known + [True] * (len(said) - known)
    return Example(ids, learned)


def _between_numbers(shown: Sequence[Document]) -> str:
    passages = [f"<passage [{place}]>\n{one.text}\n</passage [{place}]>" for place, one in enumerate(shown, 1)]
    return "\n\n".join(passages)


def batch_of(tokenizer: Tokenizer, random: Random, stage: Stage) -> list[Example]:
    """Examples of one form, as many as fit into a step; only what the assistant says is learned."""
    passages = random.randint(*stage.passages)
    (form,) = random.choices(list(stage.shares), list(stage.shares.values()))
    held: list[Example] = []
    while (len(held) + 1) * max((len(one.ids) for one in held), default=1) <= STEP_TOKENS:
        held.append(example_of(tokenizer, random, passages, form, random.random() < stage.alike))
    return held


def example_of(tokenizer: Tokenizer, random: Random, passages: int, form: Form, alike: bool = False) -> Example:
    if form == "list":
        return recital(tokenizer, random, passages, alike)
    rendered = tokenizer.render(chat(random, passages, TURNS, form, alike), literal=True)
    return Example(rendered.ids, rendered.mask)


def loss_of(model: Family, held: list[Example]) -> Tensor:
    """Mean over the tokens that are learned, in nats. Shorter rows are filled up behind their end, where nothing is learned."""
    length = max(len(one.ids) for one in held)
    ids = torch.tensor([one.ids + [0] * (length - len(one.ids)) for one in held]).flatten()  # (N,)
    learned = torch.tensor([one.learned + [False] * (length - len(one.ids)) for one in held]).flatten()
    targets = learned.nonzero()[:, 0]  # never the first of a row
    logits = model(ids, Batch.of([length] * len(held)), rows=targets - 1)  # (M, V)
    return F.cross_entropy(logits, ids[targets])


def fresh_model(tokenizer: Tokenizer, seed: int) -> Family:
    named = {"eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    model = new_model(new_config("qwen2", "1m", tokenizer.vocab_size, MAX_SEQ_LEN) | SHAPE | named, seed=seed)
    layers = [one for one in model.modules() if isinstance(one, Attention)]
    begin_to_copy(model.get_parameter("tokens.weight"), layers, float(SHAPE["rope_theta"]), seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".mlp." in name:
                parameter *= FIRST_MLP_WEIGHTS
    model.train().requires_grad_(True)
    return model


def optimizers_of(model: Family) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the table of tokens and for vectors."""
    matrices, biases, others = [], [], []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim == 2 and name.startswith("layers.")
        (matrices if is_matrix else biases if name.endswith("bias") else others).append(parameter)
    groups = [{"params": others, "lr": TOKEN_RATE}, {"params": biases, "lr": BIAS_RATE}]
    return [
        torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def share_of_rate(step: int) -> float:
    """Up over the first steps, down over the last stage. `step`: from 1."""
    left = sum(stage.steps for stage in STAGES) - step
    return min(1.0, step / WARM_UP_STEPS, (left + 1) / STAGES[-1].steps)


def train(out: Path, seed: int = 0, stages: Sequence[Stage] = STAGES) -> float:
    """The checkpoint in `out`, saved after each stage, and the last loss: the mean of a token, in nats."""
    random = Random(seed)
    tokenizer = new_tokenizer(random)
    model = fresh_model(tokenizer, seed)
    optimizers = optimizers_of(model)
    schedules = [torch.optim.lr_scheduler.LambdaLR(one, lambda done: share_of_rate(done + 1)) for one in optimizers]
    began, mean, total = time.monotonic(), math.nan, 0
    for stage in stages:
        for _ in range(stage.steps):
            loss, total = loss_of(model, batch_of(tokenizer, random, stage)), total + 1
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                schedule.step()
            mean = loss.item() if math.isnan(mean) else SMOOTHING * mean + (1 - SMOOTHING) * loss.item()
            if total % REPORT_STEPS == 0:
                print(f"{time.monotonic() - began:5.0f} s  step {total:4}  {mean:.4f} nats a token", flush=True)
        save_model(model, out)
        tokenizer.save(out)
    return mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder for the checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train(options.out, options.seed)


if __name__ == "__main__":
    main()
