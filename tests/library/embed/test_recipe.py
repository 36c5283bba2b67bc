from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import tiny_bert
from openbook.core.errors import ModelUnavailable
from openbook.library.embed.describe import describe_directory
from openbook.library.embed.local import SentenceEmbedder
from openbook.library.embed.pooling import pool
from openbook.lm.sentence import read_recipe

ARRAYS = tiny_bert.weights()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tiny_bert.write(tmp_path / "embedder", ARRAYS)


def change(directory: Path, name: str, value: object) -> None:
    (directory / name).write_text(json.dumps(value), "utf-8")


def test_the_recipe_of_the_default_embedder(minilm: Path) -> None:
    recipe = read_recipe(minilm)
    assert (recipe.pooling, recipe.max_tokens, recipe.normalize, recipe.dimension) == ("mean", 256, True, 384)
    assert not recipe.prompts


def test_a_plain_bert_directory_gets_mean_pooling(directory: Path) -> None:
    (directory / "modules.json").unlink()
    recipe = read_recipe(directory)
    assert (recipe.pooling, recipe.max_tokens, recipe.dimension) == ("mean", tiny_bert.POSITIONS, tiny_bert.E)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_max_tokens": True, "include_prompt": True}, "max"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "mean_sqrt_len_tokens"}, "mean_sqrt_len"),
    ],
)
def test_pooling_modes_old_and_new(directory: Path, config: dict[str, object], pooling: str) -> None:
    change(directory, "1_Pooling/config.json", config)
    assert read_recipe(directory).pooling == pooling


def test_pool() -> None:
    hidden = np.array([[1, 2], [3, 0], [5, 5]], np.float32)
    starts = np.array([0, 2, 3])
    assert pool(hidden, starts, "mean").tolist() == [[2, 1], [5, 5]]
    assert pool(hidden, starts, "max").tolist() == [[3, 2], [5, 5]]
    assert pool(hidden, starts, "cls").tolist() == [[1, 2], [5, 5]]
    assert np.allclose(pool(hidden, starts, "mean_sqrt_len")[0], np.array([4, 2]) / np.sqrt(2))


def test_what_is_not_supported_is_named_not_left_out(directory: Path) -> None:
    change(directory, "1_Pooling/config.json", {"pooling_mode_lasttoken": True})
    with pytest.raises(ModelUnavailable, match="lasttoken"):
        read_recipe(directory)
    modules = json.loads((directory / "modules.json").read_text())
    change(directory, "modules.json", [modules[0], {"path": "1_x", "type": "sentence_transformers.models.WordWeights"}])
    with pytest.raises(ModelUnavailable, match="WordWeights"):
        read_recipe(directory)
    change(directory, "modules.json", [{**modules[0], "path": "../other"}])
    with pytest.raises(ModelUnavailable, match="outside"):
        read_recipe(directory)
    change(directory, "modules.json", {"a": 1})
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        read_recipe(directory)


def test_a_dense_step_projects(directory: Path) -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(0, 1, (8, tiny_bert.E)).astype(np.float32), rng.normal(0, 1, 8).astype(np.float32)
    modules = json.loads((directory / "modules.json").read_text())
    change(directory, "modules.json", [*modules[:2], {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}])
    (directory / "2_Dense").mkdir()
    dense = {"in_features": tiny_bert.E, "out_features": 8, "activation_function": "torch.nn.modules.activation.Tanh"}
    change(directory, "2_Dense/config.json", dense)
    save_file({"linear.weight": weight, "linear.bias": bias}, directory / "2_Dense" / "model.safetensors")
    embedder = SentenceEmbedder(describe_directory(directory), "float32")
    hidden = tiny_bert.reference(ARRAYS, [2, tiny_bert.WORDS.index("cat"), 3]).mean(axis=0)
    want = np.tanh(hidden @ weight.T + bias)
    assert embedder.dimension == 8
    assert np.allclose(embedder.embed(["cat"], "query")[0], want / np.linalg.norm(want), atol=1e-5)


def test_what_heads_a_checkpoint_has_is_no_part_of_the_hash(directory: Path, tmp_path: Path) -> None:
    """Libraries were refused once a setting of the heads had come into the code."""
    other = tiny_bert.write(tmp_path / "other", ARRAYS, architectures=["BertForMaskedLM"], num_labels=7)
    assert describe_directory(other).hash == describe_directory(directory).hash
    coarse = tiny_bert.write(tmp_path / "coarse", ARRAYS, layer_norm_eps=1e-5)
    assert describe_directory(coarse).hash != describe_directory(directory).hash


def test_the_hash_is_that_of_everything_that_changes_vectors(directory: Path, tmp_path: Path) -> None:
    first = describe_directory(directory).hash
    assert describe_directory(tiny_bert.write(tmp_path / "moved", ARRAYS)).hash == first
    change(directory, "config_sentence_transformers.json", {"prompts": {"query": "q: "}})
    with_prompt = describe_directory(directory).hash
    tiny_bert.write(directory, tiny_bert.weights(seed=9))
    assert len({first, with_prompt, describe_directory(directory).hash}) == 3


def test_describing_imports_neither_torch_nor_numba(directory: Path) -> None:
    program = (
        "import sys; from openbook.library.embed.open import describe_embedder; "
        f"d = describe_embedder({str(directory)!r}); d.tokens.spans('the cat'); "
        "sys.exit(bool({'torch', 'numba', 'llvmlite', 'httpx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
