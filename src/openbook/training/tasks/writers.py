"""Who writes the completions of a run: the engine over the model in this process, or a server that its weights are brought to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from openbook.core.errors import UsageError
from openbook.core.messages import SamplingParams
from openbook.serving.endpoint import parse_endpoint
from openbook.training.begin import Begun
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.rollouts.completion_server import CompletionServer
from openbook.training.rollouts.push import WeightPush
from openbook.training.rollouts.remote_writer import RemoteWriter
from openbook.training.rollouts.writer import EngineWriter
from openbook.training.rollouts.written import Writer


@dataclass(frozen=True)
class Writers:
    """`learned` writes what is learned from, `evaluated` what is only evaluated: always with the weights of this process.
    `notes`: for a person.
    """

    learned: Writer
    evaluated: Writer
    notes: tuple[str, ...] = ()


def open_writers(recipe: Recipe, begun: Begun, ends: Sequence[int], ranks: Ranks) -> Writers:
    """UsageError for what a server cannot be used for, ModelUnavailable for one that does not answer."""
    part = recipe.rollout

    def engine(temperature: float) -> EngineWriter:
        return EngineWriter(
            begun.model,
            ends,
            SamplingParams(temperature=temperature),
            precision=part.precision,
            max_num_seqs=part.max_num_seqs,
            max_seq_len=recipe.max_seq_len,
        )

    if part.url is None:
        return Writers(engine(part.temperature), engine(part.eval_temperature))
    server = _server(recipe, begun, ends)
    push = None
    if part.push is not None:
        push = WeightPush(begun.model, begun.tokenizer, Path(part.push), server, ranks)

    def remote(temperature: float) -> RemoteWriter:
        return RemoteWriter(server, push, temperature=temperature, max_num_seqs=part.max_num_seqs)

    judge = engine(part.eval_temperature) if push is None else remote(part.eval_temperature)
    return Writers(remote(part.temperature), judge, tuple(_notes(recipe, server)))


def _server(recipe: Recipe, begun: Begun, ends: Sequence[int]) -> CompletionServer:
    part = recipe.rollout
    assert part.url is not None
    endpoint = parse_endpoint(part.url)
    if part.model is not None:
        endpoint = replace(endpoint, model=part.model)
    server = CompletionServer(
        endpoint,
        begun.tokenizer,
        ends,
        vocab_size=begun.model.config.vocab_size,
        timeout_s=part.timeout_s,
        connections=part.max_num_seqs,
    )
    try:
        server.probe()
        context = server.context
    finally:
        server.close()
    if context is not None and context < recipe.max_seq_len:
        raise UsageError(
            f"the server takes {context:,} tokens of prompt and completion, max_seq_len is {recipe.max_seq_len:,}",
            "start the server with more, or lower max_seq_len",
        )
    if not server.gives_logprobs and part.push is None:
        raise UsageError(
            "the server does not tell ids and log-probabilities of what it writes, and its weights are not those that learn",
            "serve with `openbook serve` or vLLM, or give rollout.push=DIR",
        )
    return server


def _notes(recipe: Recipe, server: CompletionServer) -> list[str]:
    part = recipe.rollout
    found = [f"{server.name} at {server.endpoint.url} writes, " + (
        f"with the weights that are pushed to {part.push} before each rollout"
        if part.push is not None
        else f"with weights that stay: a token counts at most {part.chosen_importance:g} times for what has been learned since"
    )]  # fmt: skip
    if not server.gives_ids:
        found.append(
            "the server tells no token ids: its text is tokenised again, and the trainer's own log-probabilities stand "
            "for those that it was drawn with"
        )
    elif not server.gives_logprobs:
        found.append("the server tells no log-probabilities: the trainer's own stand for them")
    elif part.temperature != 1:
        found.append(
            f"log-probabilities have to be those at temperature {part.temperature:g}: openbook serve tells them so, "
            "vLLM with --logprobs-mode processed_logprobs; rollout_difference shows it"
        )
    return found
