"""However a model is spread over processes, its run is the run of one process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import several_processes
from openbook.lm.adapters.files import load_adapter
from openbook.lm.load import load_model
from openbook.training import checkpoint
from openbook.training.log import read_log
from openbook.training.parallel import Ranks
from openbook.training.recipe import recipe_of
from openbook.training.run import open_run, train
from small_runs import SHAPE, text_file, values

HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
LLAMA = {"size": "1m", "tokenizer": "characters", "shape": SHAPE | HEADS}
LAST = "step-00000010"
WAYS: dict[str, dict[str, Any]] = {
    "ddp": {"parallel": "ddp"},
    "fsdp": {"parallel": "fsdp"},
    "tensor": {"parallel": "tensor"},
    "1f1b": {"parallel": "pipeline"},
    "gpipe": {"parallel": "pipeline", "pipeline_schedule": "gpipe"},
}


def of(folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    """The values of a small run in `folder`/`name`, of ten steps of two micro-batches a process."""
    common = {"model": LLAMA, "steps": 10, "micro_batch_size": 1, "eval_every": 5, "save_every": 5}
    return values(folder, **(common | {"out": str(folder / name)} | changes))


def losses(out: Path, name: str = "loss") -> list[float]:
    return [row[name] for row in read_log(out / "log.jsonl") if name in row]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run in one process, and in two of them in each way."""
    folder = tmp_path_factory.mktemp("ways")
    text_file(folder)
    train(recipe_of(of(folder, "one")))
    several_processes.run(folder / "two", [{"values": of(folder, way, **said)} for way, said in WAYS.items()])
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_the_losses_are_those_of_one_process(folder: Path, way: str) -> None:
    """Of ten steps, and of the held-out rows, within 1e-5; the norms of the gradient too."""
    for name in ("loss", "eval_loss", "norm", "weight", "tokens"):
        expected, found = (losses(folder / out, name) for out in ("one", way))
        assert len(expected) == (10 if name != "eval_loss" else 2)
        assert found == pytest.approx(expected, abs=1e-5), name


def test_a_process_without_a_held_out_row_reads_beside_the_others(tmp_path: Path) -> None:
    """Of one row for two processes: where each has a part of the parameters, nobody's forward pass ends without all."""
    few = {
        "data": {"train": str(text_file(tmp_path)), "eval_share": 0.1, "layout": "windows", "eval_rows": 1},
        "steps": 2,
    }
    train(recipe_of(of(tmp_path, "one", **few, eval_every=2)))
    several_processes.run(tmp_path / "two", [{"values": of(tmp_path, "fsdp", **few, eval_every=2, parallel="fsdp")}])
    expected, found = (losses(tmp_path / out, "eval_loss") for out in ("one", "fsdp"))
    assert len(expected) == 1
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="module")
def copies(folder: Path) -> Path:
    """The checkpoint of one process, read by two and written by them, whole or in parts; the parts read in another way."""
    jobs = [copied(folder, "one", f"{way}-whole", **said) for way, said in WAYS.items()]
    parts = ("fsdp", "tensor")
    jobs += [copied(folder, "one", f"{way}-parts", checkpoint="sharded", **WAYS[way]) for way in parts]
    jobs += [copied(folder, f"{way}-parts", f"{way}-{other}", **WAYS[other]) for way, other in (parts, parts[::-1])]
    several_processes.run(folder / "copies", jobs)
    return folder


def copied(folder: Path, name: str, to: str, **said: Any) -> dict[str, Any]:
    return {"values": of(folder, name, **said), "copy": str(folder / to)}


@pytest.mark.parametrize("name", [*(f"{way}-whole" for way in WAYS), "fsdp-tensor", "tensor-fsdp"])
def test_a_checkpoint_goes_through_two_processes_to_the_bit(copies: Path, name: str) -> None:
    assert_same_checkpoints(copies / "one" / LAST, copies / name / LAST)


@pytest.mark.parametrize("way", ["fsdp", "tensor"])
def test_parts_are_joined_in_one_process(copies: Path, way: str) -> None:
    """Each process has written less than the whole, and no pickle; one process reads them all."""
    parts = list((copies / f"{way}-parts" / LAST / "training" / "parts").iterdir())
    assert [path.suffix for path in parts] == [".safetensors"] * 2
    assert not (copies / f"{way}-parts" / LAST / "model.safetensors").exists()
    loop = open_run(recipe_of(of(copies, f"{way}-parts")), Ranks()).loop
    checkpoint.resume(loop, copies / f"{way}-parts" / LAST)
    checkpoint.save(loop, copies / f"{way}-joined")
    assert_same_checkpoints(copies / "one" / LAST, copies / f"{way}-joined" / LAST)


def assert_same_checkpoints(first: Path, second: Path) -> None:
    for name in ("model.safetensors", "training/optimizer.safetensors"):
        assert_same_tensors(first, second, name)


def assert_same_tensors(first: Path, second: Path, name: str) -> None:
    expected, found = load_file(first / name), load_file(second / name)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected), name


SHARDED = {f"{way}-sharded": WAYS[way] | {"checkpoint": "sharded"} for way in ("fsdp", "tensor")}


@pytest.fixture(scope="module")
def again(folder: Path) -> Path:
    """Runs in two processes, and the same gone on with from their middle."""
    several_processes.run(folder / "sharded", [{"values": of(folder, way, **said)} for way, said in SHARDED.items()])
    jobs = []
    for way, said in GONE_ON.items():
        shutil.copytree(folder / way, folder / f"{way}-again")
        shutil.rmtree(folder / f"{way}-again" / LAST)
        jobs.append({"values": of(folder, f"{way}-again", **said), "resume": True})
    several_processes.run(folder / "again", jobs)
    return folder


GONE_ON = {way: WAYS[way] for way in ("fsdp", "tensor", "1f1b")} | SHARDED


@pytest.mark.slow
@pytest.mark.parametrize("way", GONE_ON)
def test_a_resumed_run_is_the_same_to_the_bit(again: Path, way: str) -> None:
    """From its middle, in two processes; what it leaves is a whole model."""
    for name in ("loss", "eval_loss", "norm"):
        assert losses(again / f"{way}-again", name) == losses(again / way, name)
    for out in (again / way, again / f"{way}-again"):
        assert not (out / "model" / "training").exists()
        assert (out / LAST / "training" / "parts").is_dir() == ("sharded" in way)
    assert_same_tensors(again / way / "model", again / f"{way}-again" / "model", "model.safetensors")


@pytest.mark.slow
def test_one_process_goes_on_from_parts_and_leaves_a_whole_model(again: Path) -> None:
    """Its model is the best one, which may be in parts still."""
    out = again / "goes-on"
    shutil.copytree(again / "fsdp-sharded", out)
    shutil.rmtree(out / "model")
    shutil.rmtree(out / LAST)
    train(recipe_of(of(again, "goes-on")), resume=True)
    assert losses(out) == pytest.approx(losses(again / "one"), abs=1e-5)
    assert not (out / LAST / "training" / "parts").exists()
    expected, found = (load_file(one / "model" / "model.safetensors") for one in (again / "one", out))
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=1e-4)


LORA = {"kind": "lora", "r": 4}


@pytest.mark.slow
def test_adapters_learn_in_several_processes(folder: Path) -> None:
    """LoRA on a whole base, and on one of which each process has a part: the losses of one, and an adapter for the base."""
    said = {"model": {"path": str(folder / "one" / "model")}, "adapter": LORA, "forgetting": False, "lr": 1e-2}
    train(recipe_of(of(folder, "lora-one", **said)))
    ways = ("ddp", "fsdp")
    jobs = [{"values": of(folder, f"lora-{way}", parallel=way, **said)} for way in ways]
    copies = [copied(folder, "lora-one", f"lora-copied-{way}", parallel=way, **said) for way in ways]
    several_processes.run(folder / "lora", [*jobs, *copies])
    for way in ways:
        for name in ("loss", "eval_loss", "norm"):
            assert losses(folder / f"lora-{way}", name) == pytest.approx(losses(folder / "lora-one", name), abs=1e-5)
        for name in ("adapter_model.safetensors", "training/trained.safetensors", "training/optimizer.safetensors"):
            assert_same_tensors(folder / "lora-one" / LAST, folder / f"lora-copied-{way}" / LAST, name)
        model = load_model(folder / "one" / "model")
        assert load_adapter(model, folder / f"lora-{way}" / "model")
