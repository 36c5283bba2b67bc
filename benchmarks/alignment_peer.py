"""One system of `alignment.py`, in a process and an environment of its own: takes steps and says what they took.

`python alignment_peer.py SPEC`: SPEC is JSON (see `alignment.specification`); a line of JSON comes back: seconds of each step
after the first `warmup`, of its rollout, of its backward pass, the tokens that were written, and the most memory that the process
has had.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training_peer import peak_bytes

Spec = dict[str, Any]
Said = dict[str, Any]


class Clock:
    """Seconds of each step of some of its parts."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.now: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                self.now[name] = self.now.get(name, 0.0) + time.perf_counter() - began

        return called

    def end(self, seconds: float, **also: float) -> None:
        self.steps.append({"seconds": seconds, **self.now, **also})
        self.now = {}


def openbook(spec: Spec) -> Said:
    from openbook.core.threads import set_thread_environment

    set_thread_environment()
    import torch

    from openbook.training.parallel import Ranks
    from openbook.training.recipe import recipe_of
    from openbook.training.run import open_run

    began = time.perf_counter()
    run = open_run(recipe_of(spec["recipe"]), Ranks())
    opened = time.perf_counter() - began
    loop, clock = run.loop, Clock()
    loop.model.train()
    torch.Tensor.backward = clock.timed("backward", torch.Tensor.backward)  # type: ignore[method-assign]
    for _ in range(spec["warmup"] + spec["steps"]):
        began = time.perf_counter()
        step = loop.step()
        named = {name: step.metrics[name] for name in ("rollout_s", "reward_s", "renew_s") if name in step.metrics}
        written = step.metrics.get("length", 0.0) * spec["completions"]
        most = step.metrics.get("rollout_difference", 0.0)
        clock.end(time.perf_counter() - began, written=written, difference=most, **named)
    run.task.close()
    return {"steps": clock.steps[spec["warmup"] :], "opened": opened, "peak_bytes": peak_bytes()}


def trl(spec: Spec) -> Said:
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    sys.path.remove(str(Path(__file__).parent))  # a file beside this one has the name of a library
    import warnings

    warnings.filterwarnings("ignore")
    import torch
    from transformers import AutoTokenizer, TrainerCallback

    from datasets import load_dataset

    clock = Clock()
    written = [0]

    class Watch(TrainerCallback):
        began = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.end(time.perf_counter() - self.began, written=float(written[0]))
            written[0] = 0

    rows = load_dataset("json", data_files=spec["data"], split="train", cache_dir=spec["scratch"])
    tokenizer = AutoTokenizer.from_pretrained(spec["model"])
    steps = spec["warmup"] + spec["steps"]
    common: dict[str, Any] = {
        "output_dir": spec["scratch"],
        "max_steps": steps,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 1,
        "learning_rate": 1e-6,
        **spec["trl"],
    }
    trainer: Any
    if spec["task"] == "grpo":
        from trl import GRPOConfig, GRPOTrainer

        def reward(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
            written[0] += sum(map(len, completion_ids))
            return [float(len(one) % 7) for one in completions]

        trainer = GRPOTrainer(
            model=spec["model"],
            reward_funcs=reward,
            args=GRPOConfig(**common),
            train_dataset=rows,
            processing_class=tokenizer,
            callbacks=[Watch()],
        )
        trainer.model.generate = clock.timed("rollout_s", trainer.model.generate)
    else:
        from trl import DPOConfig, DPOTrainer

        trainer = DPOTrainer(
            model=spec["model"],
            args=DPOConfig(**common),
            train_dataset=rows,
            processing_class=tokenizer,
            callbacks=[Watch()],
        )
    if spec.get("show"):
        print(trainer.args, next(trainer.model.parameters()).dtype, torch.get_num_threads(), file=sys.stderr)
    trainer.train()
    return {"steps": clock.steps[spec["warmup"] :], "opened": 0.0, "peak_bytes": peak_bytes()}


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    print(json.dumps({"openbook": openbook, "trl": trl}[spec["system"]](spec)), file=out, flush=True)


if __name__ == "__main__":
    main()
