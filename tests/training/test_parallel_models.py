"""Each kind of model that can be spread, with ragged rows and with several copies, against one process; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import several_processes
from openbook.core.errors import UsageError
from openbook.lm.load import new_model
from openbook.training.log import read_log
from openbook.training.parallel import Elsewhere, Ranks
from openbook.training.parallel_mesh import Layout, laid_out, layout_of
from openbook.training.parallel_pipeline import cut
from openbook.training.parallel_tensor import check_parts
from openbook.training.recipe import recipe_of
from openbook.training.run import train
from small_runs import SHAPE, recipe, text_file, values

HEADS = SHAPE | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
UNTIED = HEADS | {"num_hidden_layers": 3, "tie_word_embeddings": False}
BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4}
RAGGED = {"layout": "packed", "documents": "line"}


def of(family: str, shape: dict[str, Any], parallel: Any, **changes: Any) -> dict[str, Any]:
    model = {"family": family, "size": "1m", "tokenizer": "characters", "shape": shape}
    return {"model": model, "parallel": parallel, "micro_batch_size": 1} | changes


CASES: dict[str, dict[str, Any]] = {
    "bert-tensor": of("bert", BERT, "tensor", objective="masked"),
    "gpt2-tensor": of("gpt2", GPT2, "tensor"),
    "qwen2-tensor": of("qwen2", HEADS, "tensor", data=RAGGED),
    "qwen3-tensor": of("qwen3", HEADS, "tensor", gradient_checkpointing=True),
    "untied-1f1b": of("llama", UNTIED, "pipeline", data=RAGGED),
    "tied-gpipe": of("llama", HEADS, "pipeline", data=RAGGED, pipeline_schedule="gpipe", gradient_checkpointing=True),
    "half-tensor": of("llama", HEADS, "tensor", precision="bfloat16"),
    "half-1f1b": of("llama", HEADS, "pipeline", precision="bfloat16-pure"),
}
COPIES: dict[str, dict[str, Any]] = {
    "two-tensors": of("qwen3", HEADS, {"data": 2, "tensor": 2}, data=RAGGED),
    "two-pipelines": of("llama", HEADS, {"data": 2, "pipeline": 2}, data=RAGGED),
}


def run_of(folder: Path, name: str, said: dict[str, Any]) -> dict[str, Any]:
    data = {"train": str(text_file(folder)), "eval_share": 0.1, "layout": "windows"} | said.get("data", {})
    own = {"steps": 4, "eval_every": None, "save_every": None, "out": str(folder / name), "data": data}
    return values(folder, **(said | own))


def compared(folder: Path, cases: dict[str, dict[str, Any]], processes: int) -> Path:
    """Each case in one process, and in several."""
    for name, said in cases.items():
        train(recipe_of(run_of(folder, f"{name}-one", said | {"parallel": "ddp"})))
    jobs = [{"values": run_of(folder, name, said)} for name, said in cases.items()]
    several_processes.run(folder / "jobs", jobs, processes)
    return folder


def assert_same(folder: Path, name: str, tolerance: float) -> None:
    expected, found = (list(read_log(folder / out / "log.jsonl")) for out in (f"{name}-one", name))
    assert len(expected) == len(found) == 5
    for one, other in zip(expected, found, strict=True):
        assert other.keys() == one.keys()
        for key in one.keys() - {"seconds", "memory_bytes"}:
            assert other[key] == pytest.approx(one[key], abs=tolerance), key


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compared(tmp_path_factory.mktemp("two"), CASES, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_are_one(two: Path, name: str) -> None:
    """Losses, norms of the gradient and metrics of each step."""
    assert_same(two, name, 2e-2 if name.startswith("half") else 1e-5)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compared(tmp_path_factory.mktemp("four"), COPIES, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", COPIES)
def test_two_copies_in_two_processes_each_are_one(four: Path, name: str) -> None:
    assert_same(four, name, 1e-5)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"batch_size": 3}, "no multiple of 2"),
        ({"parallel": "fsdp", "optimizer": "muon"}, "adamw"),
        ({"parallel": "tensor", "ema": 0.9}, "ema"),
        ({"parallel": "pipeline", "precision": "float16"}, "float16"),
        ({"parallel": "tensor", "compile": True}, "compiled"),
        ({"parallel": "pipeline", "objective": "masked"}, "next_token"),
        ({"parallel": "pipeline"}, "1f1b needs"),
        ({"parallel": "pipeline", "checkpoint": "sharded"}, "checkpoint=sharded"),
        ({"parallel": "ddp", "checkpoint": "sharded"}, "checkpoint=sharded"),
        ({"parallel": {"data": 2, "tensor": 2}}, "wants 2 x 2 processes"),
        ({"parallel": "fsdp", "model": {"path": "base"}, "adapter": {"kind": "prefix"}}, "lora, dora"),
        ({"parallel": "tensor", "model": {"path": "base"}, "adapter": {"kind": "lora"}}, "whole models"),
        ({"parallel": "tensor", "model": {"path": "base"}, "continual": {"l2sp": 0.1}}, "continual"),
        ({"parallel": "pipeline", "model": {"path": "base"}, "micro_batch_size": 1}, "forgotten"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, said: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        laid_out(recipe(tmp_path, **said), Ranks(0, 2))


def test_one_process_is_not_several(tmp_path: Path) -> None:
    for way in ("fsdp", "tensor", "pipeline"):
        with pytest.raises(UsageError, match="several processes") as error:
            laid_out(recipe(tmp_path, parallel=way), Ranks())
        assert "torchrun" in error.value.remedy


def test_a_layout_has_as_many_places_as_processes(tmp_path: Path) -> None:
    said = {"parallel": {"data": 2, "pipeline": 3}}
    assert layout_of(recipe(tmp_path, **said), 6) == Layout("pipeline", 2, 3)
    assert layout_of(recipe(tmp_path), 6) == Layout("ddp", 6, 1)
    assert layout_of(recipe(tmp_path, parallel="tensor"), 6) == Layout("tensor", 1, 6)
    with pytest.raises(UsageError, match="not both"):
        recipe(tmp_path, parallel={"tensor": 2, "pipeline": 2})


def test_models_that_cannot_be_parted_are_refused() -> None:
    raw = {"model_type": "llama", "vocab_size": 60, "max_position_embeddings": 64} | HEADS
    check_parts(new_model(raw), 2)
    with pytest.raises(UsageError, match="2 key heads"):
        check_parts(new_model(raw), 4)
    with pytest.raises(UsageError, match="experts"):
        experts = {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
        check_parts(new_model(raw | experts), 2)


def test_a_cut_model_keeps_its_names_and_its_layers() -> None:
    """Every parameter is in one stage; a tied table in the first and in the last."""
    raw = {"model_type": "llama", "vocab_size": 60, "max_position_embeddings": 64} | UNTIED
    for tied in (False, True):
        whole = dict(new_model(raw | {"tie_word_embeddings": tied}).named_parameters())
        stages = [new_model(raw | {"tie_word_embeddings": tied}) for _ in range(3)]
        for place, model in enumerate(stages):
            cut(model, place, 3)
        names = [name for model in stages for name, _ in model.named_parameters()]
        assert set(names) == set(whole)
        assert len(names) == len(whole) + tied
        assert isinstance(stages[1].get_submodule("layers.0"), Elsewhere)
        for model in stages:
            assert all(torch.equal(one, whole[name]) for name, one in model.named_parameters())
    with pytest.raises(UsageError, match="3 layers"):
        cut(new_model(raw), 0, 4)
