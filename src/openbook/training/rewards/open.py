"""Opens what a recipe names under `rewards`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from openbook.core.errors import UsageError
from openbook.core.messages import ChatModel
from openbook.training.rewards.builtin import ChoiceReward, FormatReward, LengthReward, NumberReward, OverlongReward
from openbook.training.rewards.function import FunctionReward, RegexReward
from openbook.training.rewards.model import ModelReward
from openbook.training.rewards.program import ProgramReward
from openbook.training.rewards.rewards import Rewards, Term
from openbook.training.rewards.sampled import Reward
from openbook.training.rewards.settings import RewardTerm

OpenModel = Callable[[str], ChatModel]


def open_rewards(parts: Sequence[RewardTerm], open_model: OpenModel | None = None) -> Rewards:
    """The rewards of a recipe, ready to score. `open_model`: of judges; none: `serving.models.open_chat_model`.

    UsageError for files that are not there, functions that cannot be imported and names that are given twice;
    SandboxUnavailable for a program where no sandbox runs; ModelUnavailable for what is no model.
    """
    if not parts:
        raise UsageError("there is no reward", "name one under rewards: function, builtin, program, model or judge")
    if twice := [name for name, count in Counter(part.label for part in parts).items() if count > 1]:
        raise UsageError(f"two rewards are called {twice[0]!r}", "give one of them another name")
    with ExitStack() as closing:
        terms = []
        for part in parts:
            reward = _opened(part, open_model)
            if isinstance(reward, FunctionReward | RegexReward):
                closing.callback(reward.close)
            terms.append(Term(reward, part.weight, part.on_fault, part.max_faults))
        return Rewards(terms, closing.pop_all())


def _opened(part: RewardTerm, open_model: OpenModel | None) -> Reward:
    name = part.label
    match part.kind:
        case "function":
            assert part.function is not None
            return FunctionReward(
                part.function,
                name,
                timeout_s=part.timeout or 60.0,
                memory_bytes=(part.memory_mb or 4096) << 20,
                completions=part.completions or "text",
                alone=part.alone is not False,
            )
        case "builtin":
            return _builtin(part)
        case "program":
            assert part.program is not None
            return ProgramReward(
                part.program,
                name,
                timeout_s=part.timeout or 10.0,
                memory_bytes=(part.memory_mb or 1024) << 20,
                unsafe_local=bool(part.unsafe_local),
            )
        case "model":
            assert part.model is not None
            return ModelReward.load(part.model, name, part.adapter)
        case "judge":
            return _judge(part, open_model)


def _builtin(part: RewardTerm) -> Reward:
    name, key, place = part.label, part.key or "answer", part.place or "any"
    match part.builtin:
        case "number":
            return NumberReward(name, key, place)
        case "choice":
            return ChoiceReward(name, key, place, part.choices or ("A", "B", "C", "D"))
        case "format":
            return FormatReward(name, part.tags or ("think", "answer"), bool(part.is_opened))
        case "length":
            return LengthReward(name, part.target or 0)
        case "overlong":
            return OverlongReward(name, part.target or 0, part.buffer or 0)
        case _:
            return RegexReward(part.pattern or "", name, timeout_s=part.timeout or 10.0)


def _judge(part: RewardTerm, open_model: OpenModel | None) -> Reward:
    from openbook.training.judge.reward import open_judge_reward

    return open_judge_reward(part, open_model)
