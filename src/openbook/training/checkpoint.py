"""A run on disk: checkpoints that appear whole or not at all, with all that a run needs to go on as if nothing had been.

`RUN/step-00000200/`: a checkpoint directory like any other (`lm.load`), and in `training/` the moments of the optimizer as
safetensors and the rest as JSON. Generators are torch's own and the source's; nothing else draws.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from openbook.core.errors import ModelUnavailable
from openbook.lm.load import load_model, save_model
from openbook.lm.state import fill
from openbook.lm.stored import Stored
from openbook.training.loop import Loop

_PREFIX = "step-"


def save(loop: Loop[Any], run: Path, *, keep: int = 2, best: int | None = None) -> Path:
    """The checkpoint of the step that `loop` has done. Of the older ones the last `keep` - 1 stay, and that of step `best`.

    OSError where there is no room; then the older ones are as they were.
    """
    folder = run / f"{_PREFIX}{loop.done:08d}"
    beside = run / f".{folder.name}.{os.getpid()}.part"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        save_model(loop.model, beside)
        (beside / "training").mkdir()
        moments = {name: one.contiguous() for name, one in loop.optimizers.state().items()}
        save_file(moments, beside / "training" / "optimizer.safetensors")
        random = base64.b64encode(torch.get_rng_state().numpy().tobytes()).decode()
        said = {"done": loop.done, "source": loop.source.state(), "random": random}
        (beside / "training" / "state.json").write_text(json.dumps(said), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    for old in checkpoints(run)[:-keep]:
        if best is None or old.name != f"{_PREFIX}{best:08d}":
            shutil.rmtree(old)
    return folder


def checkpoints(run: Path) -> list[Path]:
    """Those that are whole, oldest first."""
    return sorted(path for path in run.glob(f"{_PREFIX}*") if (path / "training" / "state.json").is_file())


def resume(loop: Loop[Any], folder: Path) -> None:
    """`loop` as it was when `save` wrote `folder`. ModelUnavailable for what another model, optimizer or source has left."""
    try:
        said = json.loads((folder / "training" / "state.json").read_text("utf-8"))
        moments = load_file(folder / "training" / "optimizer.safetensors")
        random = torch.frombuffer(bytearray(base64.b64decode(said["random"])), dtype=torch.uint8)
        fill(loop.model, Stored(folder))
        loop.optimizers.resume(moments)
        loop.source.resume(said["source"])
        loop.done = int(said["done"])
        torch.set_rng_state(random)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ModelUnavailable(
            f"{folder} is no checkpoint of this run: {error!r}", "start anew in another folder"
        ) from None


def trained_model(run: Path) -> Any:
    """The model of the newest checkpoint."""
    return load_model(checkpoints(run)[-1])
