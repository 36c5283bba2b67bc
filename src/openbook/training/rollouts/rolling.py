"""Prompts to episodes with rewards: what the model writes now, what an environment answers, what it is all worth."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from openbook.core.errors import RunStopped
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.row import Message
from openbook.training.data.samples import Prompts
from openbook.training.rewards.rewards import Rewards
from openbook.training.rewards.sampled import Sampled
from openbook.training.rewards.table import RewardTable
from openbook.training.rollouts.environment import Environment, Turns
from openbook.training.rollouts.episode import Episode
from openbook.training.rollouts.prompts import Prompt
from openbook.training.rollouts.timed import Timed
from openbook.training.rollouts.written import Prompted, Renewal, Writer, Written

_SEEDS = 2**63


class Times(NamedTuple):
    """Seconds."""

    write: float = 0.0
    reward: float = 0.0


@dataclass
class Rolled:
    """Episodes in groups, in the order of the prompts, with what it took."""

    episodes: list[Episode]
    table: RewardTable
    times: Times


@dataclass
class _Underway:
    episode: Episode
    turns: Turns | None
    left: int
    index: int
    messages: list[Message] = field(default_factory=list)


class Roller:
    """`seed`: of all draws. `max_tokens`: of an episode behind its prompt."""

    def __init__(
        self,
        writer: Writer,
        tokenizer: Tokenizer,
        rewards: Rewards | None,
        *,
        seed: int,
        max_tokens: int,
        environment: Environment | None = None,
        max_turns: int = 1,
        turn_s: float = 60.0,
        prompts: Prompts = "chat",
    ) -> None:
        self.writer, self.tokenizer, self.rewards = writer, tokenizer, rewards
        self._seed, self._max_tokens = seed, max_tokens
        self._environment, self._max_turns, self._prompts = environment, max_turns, prompts
        self._timed = Timed(turn_s)

    def renew(self) -> Renewal:
        return self.writer.renew()

    def rest(self) -> None:
        self.writer.rest()

    def roll(self, prompts: Sequence[tuple[int, Prompt]], completions: int, number: int) -> Rolled:
        """`completions` of each (number, prompt), numbers all different. `number`: what tells these draws from other ones.
        RunStopped where rewards have too many faults, or the model says no numbers.
        """
        began = time.monotonic()
        try:
            episodes = self._episodes(prompts, completions, number)
        except FloatingPointError as error:
            raise RunStopped(str(error), "lower the rate, and go on from an earlier checkpoint") from None
        written = time.monotonic()
        table = self._scored(episodes, [prompt for _, prompt in prompts], completions)
        for episode, reward in zip(episodes, table.total.tolist(), strict=True):
            episode.reward = reward
        return Rolled(episodes, table, Times(written - began, time.monotonic() - written))

    def _episodes(self, prompts: Sequence[tuple[int, Prompt]], completions: int, number: int) -> list[Episode]:
        under = []
        for group, (place, prompt) in enumerate(prompts):
            for index in range(completions):
                turns = self._begun(prompt.row)
                episode = Episode(place, group, prompt.ids)
                under.append(_Underway(episode, turns, self._max_tokens, index, list(prompt.messages)))
        first = [
            Prompted(prompt.ids, completions, self._drawn_by(number, place, 0), self._max_tokens)
            for place, prompt in prompts
        ]
        answers = [one for group in self.writer.write(first) for one in group]
        going, turn = under, 0
        while going:
            for one, written in zip(going, answers, strict=True):
                self._take(one, written)
            turn += 1
            going = [one for one in going if self._answered(one, turn)]
            wanted = [
                Prompted(
                    [*one.episode.prompt_ids, *one.episode.ids],
                    1,
                    self._drawn_by(number, one.episode.prompt, turn) + one.index,
                    one.left,
                )
                for one in going
            ]
            answers = [one for (one,) in self.writer.write(wanted)] if wanted else []
        return [one.episode for one in under]

    def _begun(self, row: Mapping[str, Any]) -> Turns | None:
        """The episode of a row, where there is an environment. RunStopped where it raises: it would do so again."""
        if (environment := self._environment) is None:
            return None
        try:
            return self._timed(lambda: environment(row))
        except Exception as error:  # the user's own code
            raise RunStopped(
                f"the environment cannot begin an episode: {type(error).__name__}: {error}", "mend it, and go on"
            ) from None

    def _take(self, under: _Underway, written: Written) -> None:
        episode = under.episode
        episode.ids += written.tokens
        episode.learned += [True] * len(written.tokens)
        episode.logprobs += written.logprobs
        episode.is_finished = written.is_finished
        said = self._text(written.tokens[:-1] if written.is_finished else written.tokens)
        episode.text += said
        under.left -= len(written.tokens)
        under.messages.append({"role": "assistant", "content": said})

    def _answered(self, under: _Underway, turn: int) -> bool:
        """Whether the episode goes on; what its environment says is behind it then."""
        episode = under.episode
        if under.turns is None or turn >= self._max_turns or not episode.is_finished:
            return False
        try:
            messages = self._said(under)
            ids = self._behind(under.messages, messages) if messages else []
        except Exception:  # the user's own code: its fault ends the episode, and is counted
            episode.faults += 1
            return False
        if not messages or len(ids) >= under.left:
            return False
        episode.ids += ids
        episode.learned += [False] * len(ids)
        episode.text += self._text(ids)
        episode.turns += 1
        under.left -= len(ids)
        under.messages += messages
        return True

    def _text(self, ids: Sequence[int]) -> str:
        """Rows of a table beyond the tokenizer's tokens say nothing, though a model may draw them."""
        return self.tokenizer.decode([one for one in ids if one < self.tokenizer.vocab_size])

    def _said(self, under: _Underway) -> list[Message]:
        """What the environment answers. Raises what it raises, TimeoutError, and TypeError for what are no messages."""
        turns, completion = under.turns, under.messages[-1]["content"]
        assert turns is not None
        messages = list(self._timed(lambda: turns.step(completion)))
        for one in messages:
            if not (
                isinstance(one, Mapping) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
            ):
                raise TypeError("an environment answers with messages: role and content, both texts")
        return messages

    def _behind(self, before: Sequence[Message], messages: Sequence[Message]) -> list[int]:
        """The ids that stand between the end token of the last completion and the first token of the next."""
        if self._prompts != "chat":
            text = "\n".join(str(one.get("content") or "") for one in messages)
            return self.tokenizer.encode(text, add_special_tokens=False)
        rendered = self.tokenizer.render([*before, *messages], add_generation_prompt=True, literal=True)
        return list(rendered.ids[rendered.spans[-1].last :])

    def _scored(self, episodes: Sequence[Episode], prompts: Sequence[Prompt], completions: int) -> RewardTable:
        if self.rewards is None:
            return RewardTable(np.zeros(len(episodes)), {})
        return self.rewards.score(
            [
                Sampled(
                    prompts[at // completions].row,
                    prompts[at // completions].messages,
                    one.text,
                    one.num_written,
                    one.is_finished,
                )
                for at, one in enumerate(episodes)
            ]
        )

    def _drawn_by(self, number: int, place: int, turn: int) -> int:
        """A seed that no other completions have: apart by more than there are completions of a prompt."""
        random = np.random.Generator(
            np.random.Philox(key=[self._seed % 2**64, number % 2**64], counter=[place, turn, 0, 0])
        )
        return int(random.integers(_SEEDS))
