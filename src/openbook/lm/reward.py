"""A reward model in use: how good an answer is, or how right each step of a solution is.

Texts become ids by the same functions in training and here. `reward.json` beside the weights says how. In reading order: ids of
answers and of steps; the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.checkpoint import read_json
from openbook.lm.families.base import Family
from openbook.lm.nn.batch import Batch
from openbook.lm.tokenizers.instructions import ALPACA
from openbook.lm.tokenizers.pair_layout import PairLayout
from openbook.lm.tokenizers.tokenizer import Tokenizer

Prompts = Literal["chat", "alpaca", "text"]
Kind = Literal["answers", "steps"]
Message = Mapping[str, Any]
SETTINGS = "reward.json"
STEP_END = "\n"
"""Behind each step: the score is taken at its last token."""
_TOKENS = 8_192
"""Of a forward pass."""


def prompt_ids(
    tokenizer: Tokenizer, prompt: Sequence[Message], prompts: Prompts = "chat", behind: str = ""
) -> list[int]:
    """What a model reads before it answers: by the chat template, as Alpaca put it, or the text as it is with `behind` it.

    UsageError for a chat that the template refuses.
    """
    if prompts == "chat":
        return list(tokenizer.render(prompt, add_generation_prompt=True, spans=False, literal=True).ids)
    asked = "\n\n".join(_text(one) for one in prompt)
    ids = tokenizer.encode(ALPACA.format(asked) if prompts == "alpaca" else asked + behind, add_special_tokens=False)
    around = tokenizer.encode("", add_special_tokens=True)
    begins = tokenizer.bos_id is not None and around[:1] == [tokenizer.bos_id]
    return [around[0], *ids] if begins else list(ids)


def step_ids(
    tokenizer: Tokenizer, prompt: Sequence[Message], steps: Sequence[str], prompts: Prompts = "chat"
) -> tuple[list[int], list[int]]:
    """The ids of a prompt and of steps behind it, and the place of the last token of each step.

    Each step is encoded by itself, so that its end is a token of its own wherever the solution goes on. UsageError for a
    chat that the template refuses.
    """
    ids = prompt_ids(tokenizer, prompt, prompts, STEP_END)
    ends = []
    for step in steps:
        ids = ids + tokenizer.encode(step.strip() + STEP_END, add_special_tokens=False)
        ends.append(len(ids) - 1)
    return ids, ends


def pair_ids(
    tokenizer: Tokenizer, layout: PairLayout, prompt: Sequence[Message], answer: Sequence[Message]
) -> tuple[list[int], list[int], int]:
    """The ids and segments of a prompt and an answer, as an encoder reads pairs of texts, and where the answer begins."""
    texts = ["\n\n".join(_text(one) for one in part) for part in (prompt, answer)]
    first, second = tokenizer.encode_batch(texts, add_special_tokens=False)
    return *layout.join(first, second), len(layout.begin) + len(first) + len(layout.between)


class Settings(NamedTuple):
    """What `reward.json` says. `max_tokens`: of the longest sample in training."""

    kind: Kind
    prompts: Prompts
    max_tokens: int


class RewardModel:
    """Scores of answers or of steps. `model`: as `lm.heads.load_with_score` gives it."""

    def __init__(self, model: Family, tokenizer: Tokenizer, settings: Settings) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self._layout = None if model.causal else PairLayout.of(tokenizer.backend)

    @classmethod
    def load(cls, directory: Path | str, adapter: Path | str | None = None) -> RewardModel:
        """What objective `reward` left: a model, or its base with the adapter that was trained on it. ModelUnavailable where it
        is none.
        """
        from openbook.lm.adapters.files import load_adapter
        from openbook.lm.heads import load_with_score

        if adapter is None and (Path(directory) / "adapter_config.json").is_file():
            raise ModelUnavailable(
                f"{directory} is an adapter, without the model that it changes",
                "merge the two: openbook model merge BASE ADAPTER OUT",
            )

        found = load_with_score(directory, torch.float32)
        if found.fresh and adapter is None:
            raise ModelUnavailable(f"{directory} has no head for a score", "train one: openbook train reward")
        if adapter is not None:
            load_adapter(found.model, Path(adapter))
        source = Path(adapter or directory)
        said = read_json(source / SETTINGS) if (source / SETTINGS).is_file() else {}
        most = int(said.get("max_tokens", getattr(found.model.config, "max_seq_len", 512)))
        settings = Settings(said.get("kind", "answers"), said.get("prompts", "chat"), most)
        return cls(found.model.eval(), Tokenizer.load(directory), settings)

    def scores(self, prompts: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[float]:
        """Of each answer to its prompt. UsageError for a dialogue that is longer than any in training."""
        return [
            float(one[-1]) for one in self._scored([self._ids(*pair) for pair in zip(prompts, answers, strict=True)])
        ]

    def step_scores(self, prompt: Sequence[Message], steps: Sequence[str]) -> list[float]:
        """The chance, 0 to 1, that each step is right, given those before it. UsageError for a model of whole answers."""
        if self.settings.kind != "steps":
            raise UsageError("this reward model scores whole answers, not steps", "use scores()")
        ids, ends = step_ids(self.tokenizer, prompt, steps, self.settings.prompts)
        (found,) = self._scored([(ids, [0] * len(ids), ends)])
        return torch.sigmoid(found).tolist()

    def _ids(self, prompt: Sequence[Message], answer: str) -> tuple[list[int], list[int], list[int]]:
        """ids, segments, and where scores are taken."""
        end = [{"role": "assistant", "content": answer}]
        if self._layout is not None:
            ids, segments, _ = pair_ids(self.tokenizer, self._layout, prompt, end)
            return ids, segments, [0]
        if self.settings.prompts == "chat":
            ids = self.tokenizer.render([*prompt, *end], spans=False, literal=True).ids
        else:
            ids = self._plain(prompt, answer)
        return ids, [0] * len(ids), [len(ids) - 1]

    def _plain(self, prompt: Sequence[Message], answer: str) -> list[int]:
        asked = "\n\n".join(_text(one) for one in prompt)
        ids = self.tokenizer.encode((ALPACA.format(asked) if self.settings.prompts == "alpaca" else asked) + answer)
        eos = self.tokenizer.eos_id
        return ids if eos is None or ids[-1] == eos else [*ids, eos]

    @torch.no_grad()
    def _scored(self, samples: Sequence[tuple[list[int], list[int], list[int]]]) -> list[Tensor]:
        """Of each sample its scores; those of about one length are read together."""
        for ids, _, _ in samples:
            if len(ids) > self.settings.max_tokens:
                raise UsageError(
                    f"an answer has {len(ids):,} tokens with its prompt, the model read {self.settings.max_tokens:,}",
                    "shorten it, or train the reward model with a larger max_seq_len",
                )
        found: dict[int, Tensor] = {}
        order, batch = sorted(range(len(samples)), key=lambda place: len(samples[place][0])), list[int]()
        for place in order:
            if batch and sum(len(samples[one][0]) for one in batch) + len(samples[place][0]) > _TOKENS:
                found |= self._read(samples, batch)
                batch = []
            batch.append(place)
        if batch:
            found |= self._read(samples, batch)
        return [found[place] for place in range(len(samples))]

    def _read(
        self, samples: Sequence[tuple[list[int], list[int], list[int]]], batch: Sequence[int]
    ) -> dict[int, Tensor]:
        lengths = [len(samples[place][0]) for place in batch]
        ids = torch.tensor([one for place in batch for one in samples[place][0]])
        made = Batch.of(lengths, causal=self.model.causal)
        if self._layout is not None:
            segments = torch.tensor([one for place in batch for one in samples[place][1]])
            named: dict[str, Any] = {"segments": segments, "head": "sentence"}
            return dict(zip(batch, self.model(ids, made, **named).float(), strict=True))
        begins, counts = made.starts.tolist(), [len(samples[place][2]) for place in batch]
        places = [begins[at] + row for at, place in enumerate(batch) for row in samples[place][2]]
        rows = torch.tensor(places, dtype=torch.int64)  # of no steps too
        found = self.model(ids, made, rows=rows).float()[:, 0]
        return dict(zip(batch, torch.split(found, counts), strict=True))


def _text(message: Message) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content)
