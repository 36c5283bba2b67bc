"""What a recipe reads: the layout that goes with its data, mixtures and replay, what is held out, what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from chat_tokenizers import characters
from openbook.core.errors import BadData, UsageError
from openbook.training.data.reading import data_files
from openbook.training.data.samples import SampleSettings
from openbook.training.data.tokenised import write_tokenised
from openbook.training.parallel import Ranks
from openbook.training.recipe import recipe_of
from openbook.training.rows import Rows, open_rows

TOKENIZER = characters(template="chatml")


def chats(path: Path, word: str, count: int = 40) -> Path:
    rows = ({"instruction": f"say {word}", "output": f"{word} {at}"} for at in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def text(path: Path, word: str = "word", count: int = 200) -> Path:
    path.write_text(f"{word} and more\n" * count, "utf-8")
    return path


def rows(folder: Path, **data: Any) -> Rows:
    plain = {name: str(one) if isinstance(one, Path) else one for name, one in data.items()}
    recipe = recipe_of(
        {
            "model": {"size": "1m"},
            "data": plain,
            "steps": 2,
            "batch_size": 4,
            "max_seq_len": plain.pop("max_seq_len", 96),
            "out": str(folder / "run"),
        }
    )
    return open_rows(recipe, TOKENIZER, Ranks())


def said(rows: Rows, steps: int) -> str:
    return "".join(TOKENIZER.decode(micro.ids.tolist()) for _ in range(steps) for micro in rows.source.next_step())


def test_the_layout_goes_with_the_data(tmp_path: Path) -> None:
    plain, asked = text(tmp_path / "a.txt"), chats(tmp_path / "b.jsonl", "yes")
    assert rows(tmp_path, train=plain).layout == "windows"
    assert rows(tmp_path, train=asked).layout == "packed"
    assert rows(tmp_path, train=[str(plain), str(asked)]).layout == "packed"
    assert rows(tmp_path, train=plain, eval=asked).layout == "packed"
    assert rows(tmp_path, train=asked, layout="single").layout == "single"
    assert rows(tmp_path, train=plain, layout="packed").train.lengths.max() <= 97


def test_a_mixture_keeps_its_weights(tmp_path: Path) -> None:
    one, other = chats(tmp_path / "a.jsonl", "yes", 20), chats(tmp_path / "b.jsonl", "no", 60)
    mixed = rows(tmp_path, train=[str(one), str(other)], weights=[3, 1], layout="single")
    heard = said(mixed, 20)
    assert (heard.count("say yes"), heard.count("say no")) == (60, 20)
    assert mixed.per_epoch == 80
    notes = list(mixed.notes())
    assert any(f"{one}: 75.0 % of the rows, seen 3.00 times in an epoch" in line for line in notes)
    with pytest.raises(UsageError, match="does not mix data"):
        _ = mixed.train


def test_older_data_is_replayed(tmp_path: Path) -> None:
    new, old = chats(tmp_path / "new.jsonl", "yes", 40), chats(tmp_path / "old.jsonl", "no", 60)
    mixed = rows(tmp_path, train=new, replay=old, replay_share=0.25, layout="single", eval_share=0.1)
    heard = said(mixed, 20)
    assert (heard.count("say yes"), heard.count("say no")) == (60, 20)
    assert mixed.per_epoch == round(len(mixed.parts[0].train) / 0.75)
    (held,) = mixed.held_outs
    assert all("say yes" in TOKENIZER.decode(held.ids(at).tolist()) for at in range(len(held)))
    assert len(held) + len(mixed.parts[0].train) == 40
    assert any("replay of" in line for line in mixed.notes())


def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    path = chats(tmp_path / "a.jsonl", "yes")
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"instruction": "q", "output": "long " * 100}) + "\n")
    notes = list(rows(tmp_path, train=path).notes())
    assert any("1 dropped: too long" in line and "a.jsonl:41" in line for line in notes)
    with pytest.raises(BadData, match=r"a\.jsonl:41 has \d+ tokens, a row 96"):
        rows(tmp_path, train=path, too_long="error")


def test_what_openbook_data_pack_wrote_is_taken(tmp_path: Path) -> None:
    path, packed = chats(tmp_path / "a.jsonl", "yes"), tmp_path / "packed"
    write_tokenised(data_files([path]), TOKENIZER, SampleSettings(96), packed)
    found = rows(tmp_path, train=packed)
    assert found.layout == "packed"
    assert len(found.train) == 40
    write_tokenised(data_files([path]), characters(), SampleSettings(999, prompts="alpaca"), tmp_path / "others")
    with pytest.raises(BadData, match="another tokenizer"):
        rows(tmp_path, train=tmp_path / "others")


@pytest.mark.parametrize(
    "data", [{"weights": [1, 2]}, {"weights": [0]}, {"replay": "a", "replay_share": 1}, {"format": "parquet"}]
)
def test_settings_that_cannot_be(tmp_path: Path, data: dict[str, Any]) -> None:
    with pytest.raises((UsageError, ValidationError)):
        rows(tmp_path, train="a", **data)
