"""What is refused before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import small_runs
from openbook.core.errors import UsageError
from openbook.training.begin import open_model, open_tokenizer
from openbook.training.parallel import Ranks
from openbook.training.tasks.open import open_task


@pytest.mark.parametrize("objective", ["rerank", "reader", "contrastive", "next_sentence", "classifier", "masked"])
@pytest.mark.parametrize("mixed", [{"replay": "older.txt"}, {"weights": [1.0]}])
def test_objectives_without_a_mixture_refuse_one(tmp_path: Path, objective: str, mixed: dict[str, Any]) -> None:
    """They would read what they are for and leave the rest out without a word."""
    run = small_runs.recipe(tmp_path)
    begun = open_model(run, open_tokenizer(run))
    data = run.data.model_copy(update=mixed)
    with pytest.raises(UsageError, match=f"objective {objective} does not mix data"):
        open_task(run.model_copy(update={"objective": objective, "data": data}), begun, Ranks())
