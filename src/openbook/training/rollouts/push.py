"""Weights for a server that writes: saved where it sees them, whole or not at all, and then it is told."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

from safetensors import SafetensorError

from openbook.core.errors import ModelUnavailable, RunStopped
from openbook.lm.adapters.merge import merged_tensors
from openbook.lm.families.base import Family
from openbook.lm.load import save_model
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.engine.weights import renewed
from openbook.training.parallel import Ranks
from openbook.training.rollouts.completion_server import CompletionServer
from openbook.training.rollouts.written import Renewal

_NAME = re.compile(r"policy-\d{6}")
_REMEDY = "go on with --resume when it is mended"


class WeightPush:
    """Each push is a folder of its own, policy-NUMBER, in `folder`; those before it are taken away once the server has the new
    one. An adapter is merged. UsageError for a model that has no plain weights. The first process pushes, all of them wait.
    """

    def __init__(
        self, model: Family, tokenizer: Tokenizer, folder: Path, server: CompletionServer, ranks: Ranks
    ) -> None:
        merged_tensors(model)
        self._model, self._tokenizer, self._server, self._ranks = model, tokenizer, server, ranks
        self._folder, self._number = folder.expanduser().absolute(), 0

    def push(self) -> Renewal:
        """RunStopped where the weights cannot be saved, or the server does not take them."""
        found, problem = Renewal(), None
        if self._ranks.is_first:
            try:
                found = self._pushed()
            except RunStopped as error:
                problem = error
        if self._ranks.any(problem is not None):
            raise problem or RunStopped("the first process could not push its weights", "see what it said")
        return found

    def _pushed(self) -> Renewal:
        began = time.monotonic()
        try:
            place = self._saved()
        except (OSError, ModelUnavailable, SafetensorError) as error:
            cause = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise RunStopped(
                f"the weights cannot be saved in {self._folder} ({cause})",
                f"make room, or name another rollout.push; {_REMEDY}",
            ) from None
        size = sum(one.stat().st_size for one in place.iterdir())
        try:
            self._server.update(place)
        except ModelUnavailable as error:
            raise RunStopped(
                error.message,
                "let rollout.push be a folder that the server sees under the same path, and start it with "
                f"--allow-weight-updates; {_REMEDY}",
            ) from None
        for one in self._folder.iterdir():
            if _NAME.fullmatch(one.name) and one != place:
                shutil.rmtree(one, ignore_errors=True)
        return Renewal(time.monotonic() - began, size)

    def _saved(self) -> Path:
        self._number += 1
        place, beside = self._folder / f"policy-{self._number:06d}", self._folder / f".policy-{os.getpid()}"
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            save_model(renewed(self._model, merged_tensors(self._model)), beside)
            self._tokenizer.save(beside)
            if place.exists():
                shutil.rmtree(place)  # of a run before
            beside.rename(place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return place
