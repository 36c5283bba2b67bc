"""Tokenised once, opened after that; anew for another file, tokenizer or setting; never half."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chat_tokenizers import characters
from openbook.core.errors import BadData
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data import tokenised as module
from openbook.training.data.reading import data_files
from openbook.training.data.samples import SampleSettings
from openbook.training.data.shards import Shards
from openbook.training.data.tokenised import ReadSettings, open_tokenised, receipt_of, tokenised

SETTINGS = SampleSettings(64)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"instruction": f"q{at}", "output": f"a{at}"}) + "\n" for at in range(300)), "utf-8"
    )
    return path


def run(path: Path, tokenizer: Tokenizer | None = None, settings: SampleSettings = SETTINGS) -> Shards:
    return tokenised(data_files([path]), tokenizer or characters(template="chatml"), settings, path.parent / "cache")


def folders(path: Path) -> list[str]:
    return sorted(one.name for one in (path.parent / "cache").iterdir())


def test_the_second_time_it_is_only_opened(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(rows)
    assert len(first) == 300
    receipt = receipt_of(first)
    assert receipt is not None
    assert (receipt.rows, receipt.samples, receipt.tokens) == (300, 300, first.num_tokens)
    assert receipt.learned == sum(int(first.learned(at).sum()) for at in range(300))
    assert receipt.formats == {"alpaca": 300}
    monkeypatch.setattr(module, "_samples", None)
    again = run(rows)
    assert [again.ids(at).tolist() for at in range(300)] == [first.ids(at).tolist() for at in range(300)]
    assert receipt_of(again) == receipt


def test_another_file_tokenizer_or_setting_is_tokenised_anew(rows: Path) -> None:
    run(rows)
    run(rows, settings=SampleSettings(65))
    run(rows, settings=SampleSettings(64, "drop"))
    run(rows, characters(template="qwen3"))
    run(rows, characters(template="chatml", bos=True))
    rows.write_text(rows.read_text("utf-8") + '{"instruction": "q", "output": "a"}\n', "utf-8")
    assert len(run(rows)) == 301
    assert len(folders(rows)) == 6


def test_a_failure_leaves_nothing_half_made(rows: Path) -> None:
    rows.write_text(rows.read_text("utf-8") + "{\n" * 9, "utf-8")
    with pytest.raises(BadData, match="9 of 309 rows are broken"):
        run(rows)
    assert folders(rows) == []
    reading = ReadSettings(max_broken=0.05)
    made = tokenised(
        data_files([rows]), characters(template="chatml"), SampleSettings(64), rows.parent / "cache", reading=reading
    )
    found = receipt_of(made)
    assert found is not None
    assert found.broken == 9
    assert any("9 left out: broken" in line for line in found.lines())


def test_a_file_without_anything_to_learn_is_told(rows: Path) -> None:
    with pytest.raises(BadData, match=r"nothing is left to learn from: 300 alpaca rows.*300 dropped: too long"):
        run(rows, settings=SampleSettings(4))


def test_shards_of_another_tokenizer_are_refused(rows: Path) -> None:
    run(rows)
    (folder,) = (rows.parent / "cache").iterdir()
    assert len(open_tokenised(folder, characters(template="chatml"))) == 300
    with pytest.raises(BadData, match="another tokenizer"):
        open_tokenised(folder, characters())


def test_a_place_that_cannot_be_written_is_told(rows: Path) -> None:
    (rows.parent / "cache").write_text("a file", "utf-8")
    with pytest.raises(BadData, match="could not be written"):
        run(rows)
