"""Log-probabilities of answers under the model that a run begins with, computed once and kept beside the tokenised data.

So no second model is in memory while the first one learns. A file is named by all that its numbers depend on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from openbook.core.errors import BadData
from openbook.core.progress import Progress, silent
from openbook.lm.families.base import Family
from openbook.training.objectives.preference import reference_logprobs
from openbook.training.parallel import Ranks
from openbook.training.precision import products_in
from openbook.training.sources.answers import Answer, Answers

TOKENS = 4_096
"""Of a forward pass."""


def known_logprobs(
    model: Family,
    answers: Sequence[Answer],
    folder: Path,
    ranks: Ranks,
    precision: str = "float32",
    progress: Progress = silent,
) -> NDArray[np.float32]:
    """(S,) sums over each answer's tokens; read where they are known, else computed, by each rank its part.

    `model`: whole, as the run begins with it. BadData where `folder` cannot be written.
    """
    path = folder / f"reference-{_key(model, answers, precision)}.npy"
    ranks.wait()
    found = _read(path, len(answers))
    is_missing = ranks.any(found is None)  # somewhere, as on a disk that others do not share: then all compute together
    if found is not None and not is_missing:
        return found
    order = sorted(range(len(answers)), key=lambda place: len(answers[place][0]))[ranks.rank :: ranks.world_size]
    sums = np.zeros(len(answers), np.float64)
    done = 0
    for places in _batches(order, [len(ids) for ids, _ in answers]):
        progress("reference", done, len(order), "log-probabilities before training")
        with products_in(precision, model.device):
            sums[places] = reference_logprobs(model, Answers.of([answers[place] for place in places])).numpy()
        done += len(places)
    joined = np.array(ranks.sum(sums.tolist()), np.float32)
    if ranks.is_first:
        _write(path, joined)
    ranks.wait()
    return joined


def _batches(order: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """Neighbours of about one length, `TOKENS` together."""
    found: list[list[int]] = []
    count = 0
    for place in order:
        count += lengths[place]
        if not found or count > TOKENS:
            found.append([])
            count = lengths[place]
        found[-1].append(place)
    return found


@torch.no_grad()
def _key(model: Family, answers: Sequence[Answer], precision: str) -> str:
    """16 hexadecimal digits of every weight and every answer."""
    digest = hashlib.sha256(precision.encode())
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype} ".encode())
        digest.update(parameter.detach().contiguous().view(torch.uint8).numpy().data)
    for ids, learned in answers:
        digest.update(len(ids).to_bytes(8, "little"))
        digest.update(ids.tobytes())
        digest.update(learned.tobytes())
    return digest.hexdigest()[:16]


def _read(path: Path, count: int) -> NDArray[np.float32] | None:
    """None for a file that is broken: it is computed again."""
    try:
        found: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (count,) and found.dtype == np.float32 else None


def _write(path: Path, found: NDArray[np.float32]) -> None:
    """Beside and renamed: whole or not there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            np.save(file, found)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise BadData(
            f"{path} could not be written: {error}", "make room, or name another place in data.cache"
        ) from None
