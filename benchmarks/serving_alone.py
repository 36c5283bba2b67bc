"""What only concerns ours, for `serving.py`: what a step is made of, prefixes, waste of the cache, what HTTP costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import serving_http
from serving_peer import Openbook, mixed, prompt_of

SHARED = 1_000


def measure(model: Path) -> dict[str, Any]:
    ours = Openbook(str(model), "int8")
    found: dict[str, Any] = {"step": step(ours), "prefix": prefix(ours), "kv_waste": waste(ours)}
    found["http"] = serving_http.measure(ours.model, model)
    print(found)
    return found


def engine_of(ours: Openbook, **settings: Any) -> Any:
    from openbook.serving.engine.core import EngineCore

    return EngineCore(ours.model, **{"num_blocks": 2_048, "max_seq_len": 2_048} | settings)


def params(tokens: int) -> Any:
    from openbook.core.messages import SamplingParams

    return SamplingParams(max_tokens=tokens, ignore_eos=True)


def step(ours: Openbook, sequences: int = 32) -> dict[str, float]:
    """Milliseconds of a step of `sequences` that each decode one token, by part; the share that is no forward pass."""
    from openbook.serving.engine import core

    engine = engine_of(ours)
    for number in range(sequences):
        engine.add(prompt_of(128, number), params(64))
    engine.step()
    while any(one.num_to_compute > 1 for one in engine.scheduler.running) or engine.scheduler.waiting:
        engine.step()
    times: dict[str, list[float]] = {}

    def timed(owner: Any, name: str, called: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                times.setdefault(called, []).append(time.perf_counter() - began)

        setattr(owner, name, wrapped)

    before = core.choose
    timed(engine.scheduler, "plan", "plan")
    timed(engine.scheduler, "computed", "computed")
    timed(engine.runner, "run", "run")
    timed(ours.model.fused, "forward", "forward")
    timed(core, "choose", "choose")
    whole = []
    try:
        for _ in range(40):
            began = time.perf_counter()
            engine.step()
            whole.append(time.perf_counter() - began)
    finally:
        core.choose = before  # type: ignore[attr-defined]
        del ours.model.fused.forward
    found = {name: 1e3 * statistics.median(each) for name, each in times.items()}
    found["step"] = 1e3 * statistics.median(whole)
    found["share_beside_forward"] = 1 - found["forward"] / found["step"]
    return found


def prefix(ours: Openbook, rounds: int = 5) -> dict[str, float]:
    """Seconds to the first token behind `SHARED` tokens that are new, and that another request has had."""
    fresh, again = [], []
    for number in range(rounds):
        engine = engine_of(ours)
        shared = prompt_of(SHARED, 100 + number)
        for seconds, tail in ((fresh, 1), (again, 2)):
            began = time.perf_counter()
            engine.add(shared + prompt_of(8, tail), params(1))
            while not engine.is_idle:
                engine.step()
            seconds.append(time.perf_counter() - began)
    first, second = statistics.median(fresh), statistics.median(again)
    return {"new_s": first, "shared_s": second, "ratio": first / second}


def waste(ours: Openbook) -> float:
    """The largest share of the slots in use that hold no token, while the mixed requests run."""
    engine = engine_of(ours)
    for one in mixed():
        engine.add(one.prompt, params(one.tokens))
    shares = []
    while not engine.is_idle:
        engine.step()
        running = engine.scheduler.running
        used = sum(one.num_computed for one in running)
        slots = sum(len(one.block_table) for one in running) * engine.blocks.block_size
        if slots:
            shares.append(1 - used / slots)
    return statistics.median(shares)
