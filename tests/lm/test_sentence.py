"""The files of a sentence embedder: what is written is read again."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_bert
from openbook.library.embed.describe import describe_directory
from openbook.lm.sentence import DenseStep, Pooling, Recipe, read_recipe, write_recipe


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "mean_sqrt_len"])
@pytest.mark.parametrize("normalize", [True, False])
def test_what_is_written_is_read_again(tmp_path: Path, pooling: Pooling, normalize: bool) -> None:
    folder = tiny_bert.write(tmp_path / "one", tiny_bert.weights())
    recipe = Recipe("", 24, pooling, (), normalize, {"query": "ask: ", "passage": "say: "}, tiny_bert.E)
    write_recipe(folder, recipe, ["zh", "en"])
    assert read_recipe(folder) == recipe
    assert describe_directory(folder).languages == {"en", "zh"}


def test_dense_steps_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="weights of their own"):
        write_recipe(tmp_path, Recipe(dense=(DenseStep("2_Dense", 4, 4, True, "tanh"),)))
