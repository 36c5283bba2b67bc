"""The model that `openbook run` talks to: an engine here or a server, the best of several answers, a reward model as guide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from openbook.core.messages import ChatModel
    from openbook.serving.engine.engine import Engine


class Chosen(NamedTuple):
    """`best_of` answers are written and `reward` chooses; `guide` changes what each token is drawn from."""

    model: str
    quantize: str | None
    best_of: int
    reward: str | None
    guide: str | None
    guide_weight: float
    guide_top_k: int


def check(chosen: Chosen, temperature: float) -> None:
    """UsageError for options that do not go together, before anything is loaded."""
    from openbook.core.errors import UsageError

    if chosen.best_of > 1 and chosen.reward is None:
        raise UsageError(
            f"--best-of {chosen.best_of} needs something to choose by", "name a reward model with --reward DIR"
        )
    if chosen.reward is not None and chosen.best_of == 1:
        raise UsageError("--reward chooses among several answers, and there is one", "give --best-of 8 beside it")
    if chosen.best_of > 1 and temperature == 0:
        raise UsageError("at temperature 0 all answers are the same", "give a --temperature above 0")
    if chosen.guide is not None:
        from openbook.serving.engine.guide import check_guide

        check_guide(chosen.guide_weight, chosen.guide_top_k)


@contextmanager
def answering(chosen: Chosen) -> Iterator[ChatModel]:
    """The model, closed at the end. Raises what `check`, `Engine.load`, `RewardGuide.load` and `RewardScorer.load` raise."""
    if _is_remote(chosen.model):
        yield _best(_remote(chosen), chosen)
        return
    from openbook.lm.local import model_directory
    from openbook.serving.engine.engine import Engine

    directory = model_directory(chosen.model)
    with Engine.load(directory, quantize=chosen.quantize, max_num_seqs=chosen.best_of) as engine:  # type: ignore[arg-type]
        yield _best(_guided(engine, chosen), chosen)


def _is_remote(model: str) -> bool:
    from openbook.app.cli.options import settings
    from openbook.serving.endpoint import is_url

    return is_url(model) or model in settings().models


def _remote(chosen: Chosen) -> ChatModel:
    from openbook.core.errors import UsageError
    from openbook.serving.models import open_chat_model

    for option, value in (("--guide", chosen.guide), ("--quantize", chosen.quantize)):
        if value is not None:
            raise UsageError(f"{option} is for a model that runs here", "name its directory, or leave the option out")
    return open_chat_model(chosen.model)


def _guided(engine: Engine, chosen: Chosen) -> ChatModel:
    if chosen.guide is None:
        return engine.chat()
    from openbook.lm.local import model_directory
    from openbook.lm.tokenizers.tokenizer import Tokenizer
    from openbook.serving.engine.guide import RewardGuide

    guide = RewardGuide.load(
        model_directory(chosen.guide),
        Tokenizer.load(engine.directory),
        engine.loop.engine.end_tokens,
        weight=chosen.guide_weight,
        top_k=chosen.guide_top_k,
        num_seqs=chosen.best_of,
    )
    return engine.chat(guide)


def _best(model: ChatModel, chosen: Chosen) -> ChatModel:
    if chosen.reward is None:
        return model
    from openbook.lm.local import model_directory
    from openbook.serving.best_of import BestOf
    from openbook.serving.reward_scorer import RewardScorer

    return BestOf(model, RewardScorer.load(model_directory(chosen.reward)), chosen.best_of)
