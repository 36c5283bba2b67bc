"""After a power cut a file is the old one or whole: it is on the disk before it has its name, and the name is before the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lm.checkpoints import TINY, byte_tokenizer, tiny
from openbook.core.errors import ModelUnavailable
from openbook.lm.adapters.attach import attach
from openbook.lm.adapters.files import save_adapter
from openbook.lm.adapters.settings import LoraSettings
from openbook.lm.convert import convert
from openbook.lm.disk import copy_file, make_directory, write_json
from openbook.lm.load import new_model, save_model
from openbook.lm.stored import write_shards
from openbook.lm.tokenizers.default import default_tokenizer


def tensors_alone(directory: Path) -> None:
    make_directory(directory)
    write_shards(directory, {"a": torch.ones(3)})


def adapter(directory: Path) -> None:
    model = new_model(TINY)
    attach(model, LoraSettings())
    save_adapter(model, "default", directory)


def gguf(directory: Path) -> None:
    tiny(directory.parent / "source")
    byte_tokenizer(directory.parent / "source")
    convert(directory.parent / "source", directory / "x.gguf", "gguf")


def converted(directory: Path) -> None:
    tiny(directory.parent / "source")
    byte_tokenizer(directory.parent / "source")
    convert(directory.parent / "source", directory, "safetensors")


SAVES: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "model": (lambda path: save_model(new_model(TINY), path), {"model.safetensors", "config.json"}),
    "shards": (
        lambda path: save_model(new_model(TINY), path, max_shard_bytes=100_000),
        {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"},
    ),
    "tensors alone": (tensors_alone, {"model.safetensors"}),
    "adapter": (adapter, {"adapter_model.safetensors", "adapter_config.json"}),
    "tokenizer": (lambda path: default_tokenizer().save(path), {"tokenizer.json", "chat_template.jinja"}),
    "gguf": (gguf, {"x.gguf"}),
    "conversion": (converted, {"model.safetensors", "tokenizer.json", "tokenizer_config.json"}),
}


@pytest.mark.parametrize("kind", SAVES)
def test_a_file_is_on_the_disk_before_it_has_its_name(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, int]] = []
    names: dict[str, int] = {}
    sync, rename = os.fsync, os.replace

    def synced(opened: int) -> None:
        events.append(("on disk", os.fstat(opened).st_ino))
        sync(opened)

    def renamed(source: Path, target: Path) -> None:
        names[Path(target).name] = number = Path(source).stat().st_ino
        assert ("on disk", number) in events, f"{target} gets its name too early"
        events.append(("named", number))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    save, files = SAVES[kind]
    save(tmp_path / "out")
    assert files <= set(names), "each is written beside and renamed"
    last = max(events.index(("named", number)) for number in names.values())
    assert ("on disk", (tmp_path / "out").stat().st_ino) in events[last:], "the names are on the disk at the end"
    assert ("on disk", tmp_path.stat().st_ino) in events, "so is the directory's"
    assert not list((tmp_path / "out").glob(".*"))


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    inside = tmp_path / "file" / "x"
    for save, _ in SAVES.values():
        with pytest.raises(ModelUnavailable, match=r"file.* could not be written"):
            save(inside)
    with pytest.raises(ModelUnavailable, match=r"none/x\.json could not be written: No such file"):
        write_json(tmp_path / "none" / "x.json", {})
    with pytest.raises(ModelUnavailable, match="could not be written"):
        copy_file(tmp_path / "none", tmp_path / "x")
