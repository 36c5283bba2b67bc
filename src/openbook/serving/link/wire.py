"""What the two processes of a server say to each other, as plain lists for msgpack: requests in, events out.

Reads without torch: the HTTP process imports it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

from openbook.core.errors import ModelUnavailable, OpenbookError, UsageError
from openbook.core.messages import SamplingParams
from openbook.serving.engine.events import Chosen, Event

_ERRORS: dict[str, type[OpenbookError]] = {"UsageError": UsageError, "ModelUnavailable": ModelUnavailable}


@dataclass(frozen=True)
class EngineSettings:
    """What the engine process is told to load; the fields of `Engine.load`, and its compute threads."""

    directory: str
    quantize: str | None = None
    max_seq_len: int | None = None
    max_num_seqs: int = 32
    kv_cache_gb: float | None = None
    kv_dtype: str | None = None
    speculate: str | None = None
    num_speculative: int = 4
    adapters: dict[str, str] | None = None
    max_adapters: int | None = None
    threads: int | None = None


@dataclass(frozen=True)
class EngineFacts:
    """What became of it. `precision`: of the weights; `phases_s`: seconds that each phase of the start took; `adapters`: of each
    that was loaded at the start, its virtual tokens.
    """

    model_type: str
    precision: str
    vocab_size: int
    max_seq_len: int
    max_num_seqs: int
    num_blocks: int
    block_size: int
    weight_bytes: int
    kv_bytes: int
    threads: int
    phases_s: dict[str, float]
    max_adapters: int = 0
    adapters: dict[str, int] = field(default_factory=dict)


class EngineStats(NamedTuple):
    """Sequences and blocks after a step. Since the start: `num_tokens` chosen, for whoever; `num_proposed` by speculation, of
    which `num_accepted`.
    """

    running: int = 0
    waiting: int = 0
    blocks_in_use: int = 0
    num_preempted: int = 0
    num_tokens: int = 0
    num_proposed: int = 0
    num_accepted: int = 0


def pack_params(params: SamplingParams) -> dict[str, Any]:
    """The fields that differ from the defaults."""
    usual = SamplingParams()
    return {name: said for name, said in asdict(params).items() if said != getattr(usual, name)}


def unpack_params(said: dict[str, Any]) -> SamplingParams:
    known = {one.name for one in fields(SamplingParams)}
    assert known.issuperset(said), "both processes run the same program"
    return SamplingParams(**{name: _as_tuple(value) for name, value in said.items()})


def _as_tuple(value: Any) -> Any:
    """msgpack has lists only, the parameters tuples only."""
    return tuple(_as_tuple(one) for one in value) if isinstance(value, list) else value


def pack_event(number: int, event: Event) -> list[Any]:
    """`number`: the request as the HTTP process counts it. Each request has one answer, so that `answer` is not sent."""
    prompt = [pack_chosen(one) for one in event.prompt]
    return [number, *pack_chosen(event.chosen), event.finish_reason, event.is_end, event.num_cached, prompt]


def unpack_event(said: Sequence[Any]) -> Event:
    number, token, logprob, likeliest, reason, is_end, cached, prompt = said
    chosen = (
        unpack_chosen((token, logprob, likeliest)) if likeliest else Chosen(token, logprob)
    )  # one a token of an answer
    return Event(
        number, chosen, reason, is_end, cached, prompt=tuple(unpack_chosen(one) for one in prompt) if prompt else ()
    )


def pack_chosen(chosen: Chosen) -> tuple[Any, ...]:
    return chosen.token, chosen.logprob, chosen.likeliest


def unpack_chosen(said: Sequence[Any]) -> Chosen:
    token, logprob, likeliest = said
    return Chosen(token, logprob, tuple((one, value) for one, value in likeliest))


def pack_error(error: Exception) -> list[str]:
    if isinstance(error, OpenbookError):
        kind = next((name for name, one in _ERRORS.items() if isinstance(error, one)), "OpenbookError")
        return [kind, error.message, error.remedy]
    return ["OpenbookError", f"{type(error).__name__}: {error}", "report it"]


def unpack_error(said: Sequence[str]) -> OpenbookError:
    kind, message, remedy = said
    return _ERRORS.get(kind, OpenbookError)(message, remedy)
