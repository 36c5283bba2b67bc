"""One system of `training.py`, in a process and an environment of its own: opens a model, takes steps, says what they took.

`python training_peer.py SPEC`: SPEC is JSON (see `training.specification`); a line of JSON comes back: seconds and tokens of each
step after the first `warmup`, the losses of all, and the most memory that the process has had (VmHWM, from its start).

"openbook" opens the recipe as `openbook train` does, and takes the steps of its loop. "trl" is `SFTTrainer` on the same ids and
the same marks of what is learned, with PEFT for LoRA. Where `order` is given, both take exactly these samples in these steps.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

Spec = dict[str, Any]
Said = dict[str, Any]


def peak_bytes() -> int:
    """The most memory that this process has had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def openbook(spec: Spec) -> Said:
    from openbook.core.threads import set_thread_environment

    set_thread_environment()
    import numpy as np

    from openbook.training.parallel import Ranks
    from openbook.training.recipe import recipe_of
    from openbook.training.run import open_run
    from openbook.training.sources.step import Tokens

    run = open_run(recipe_of(spec["recipe"]), Ranks())
    loop = run.loop
    if spec.get("order"):
        samples = [
            (np.array(ids, np.int64), np.array(learned, bool)) for ids, learned in read_samples(Path(spec["samples"]))
        ]

        class Fixed:
            """The steps of a list."""

            at = 0

            def next_step(self) -> list[Tokens]:
                self.at += 1
                chosen = [samples[one] for one in spec["order"][self.at - 1]]
                return [Tokens.of(sorted(chosen, key=lambda one: len(one[0])))]

            def state(self) -> dict[str, Any]:
                return {}

            def resume(self, state: dict[str, Any]) -> None: ...

        loop.source = Fixed()
    loop.model.train()
    if spec.get("all_logits"):
        loop.objective = AllLogits()
    steps: list[tuple[float, int, float]] = []
    learned: list[float] = []
    for _ in range(spec["warmup"] + spec["steps"]):
        began = time.perf_counter()
        step = loop.step()
        steps.append((time.perf_counter() - began, step.tokens, step.loss))
        learned.append(step.weight)
    return said(steps, spec["warmup"], {"learned": learned[spec["warmup"] :]} | flops(loop.model))


class AllLogits:
    """For the ablation: the logits of all rows, learned or not, and the loss over those that are."""

    def weight(self, micro: Any) -> float:
        return float(micro.weight)

    def loss(self, model: Any, micro: Any) -> Any:
        from torch.nn import functional as F

        from openbook.training.loss import LossSum

        logits = model(micro.ids, micro.batch()).float()
        total = F.cross_entropy(logits[micro.rows], micro.targets, reduction="sum")
        return LossSum(total, micro.weight)


def flops(model: Any) -> Said:
    """What a token takes forward and backward: 6 for a weight of a product; without attention's own products. The head apart,
    which only a learned token needs."""
    parts = dict(model.named_parameters())
    inside = sum(one.numel() for name, one in parts.items() if "layers." in name and one.ndim == 2)
    return {"body_flops": 6.0 * inside, "head_flops": 6.0 * parts["tokens.weight"].numel()}


def trl(spec: Spec) -> Said:
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    sys.path.remove(str(Path(__file__).parent))  # a file beside this one has the name of a library
    import warnings

    warnings.filterwarnings("ignore")
    import torch
    from torch.utils.data import SequentialSampler
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from datasets import Dataset

    samples = read_samples(Path(spec["samples"]))
    order = [one for step in spec.get("order") or () for one in step] or range(len(samples))
    rows = Dataset.from_list(
        [{"input_ids": samples[one][0], "completion_mask": [int(mark) for mark in samples[one][1]]} for one in order]
    )
    steps: list[tuple[float, int, float]] = []

    class Watch(TrainerCallback):
        began = 0.0
        seen = 0

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            steps.append((time.perf_counter() - self.began, 0, 0.0))

    class InOrder(SFTTrainer):  # type: ignore[misc]
        """Takes the steps of a list where one is given, and counts the tokens that are none of padding."""

        tokens: list[int] = []

        def _get_train_sampler(self, *given: Any) -> Any:
            return SequentialSampler(self.train_dataset) if spec.get("order") else super()._get_train_sampler(*given)

        def get_batch_samples(self, *given: Any, **named: Any) -> Any:
            batches, count = super().get_batch_samples(*given, **named)
            read = 0
            for batch in batches:
                mask = batch.get("attention_mask")
                read += int(mask.sum()) if mask is not None else batch["input_ids"].numel()
            self.tokens.append(read)
            return batches, count

    config = SFTConfig(
        output_dir=spec["scratch"],
        max_steps=spec["warmup"] + spec["steps"],
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **spec["trl"],
    )
    peft = None
    if spec.get("lora"):
        from peft import LoraConfig

        peft = LoraConfig(**spec["lora"])
    watch = Watch()
    trainer = InOrder(
        model=spec["model"],
        args=config,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(spec["model"]),
        callbacks=[watch],
        peft_config=peft,
    )
    if spec.get("show"):
        print(config, next(trainer.model.parameters()).dtype, torch.get_num_threads(), file=sys.stderr)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    found = [
        (seconds, tokens, loss) for (seconds, *_), tokens, loss in zip(steps, trainer.tokens, losses, strict=False)
    ]
    return said(found, spec["warmup"], {})


def read_samples(path: Path) -> list[tuple[list[int], list[bool]]]:
    """Ids, and of each whether it is learned."""
    return [tuple(json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def said(steps: list[tuple[float, int, float]], warmup: int, also: Said) -> Said:
    timed = steps[warmup:]
    return {
        "seconds": [round(seconds, 4) for seconds, *_ in timed],
        "tokens": [tokens for _, tokens, _ in timed],
        "losses": [loss for *_, loss in steps],
        "peak_bytes": peak_bytes(),
        **also,
    }


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    print(json.dumps({"openbook": openbook, "trl": trl}[spec["system"]](spec)), file=out, flush=True)


if __name__ == "__main__":
    main()
