"""Pairs that are to be judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openbook.core.errors import BadData
from openbook.training.judge.pairs import AGAIN, Pairs, read_pairs


def read(folder: Path, *rows: Any) -> Pairs:
    path = folder / "pairs.jsonl"
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in rows), "utf-8")
    return read_pairs(path)


def test_all_forms_of_pairs(tmp_path: Path) -> None:
    user = [{"role": "user", "content": "p"}]
    found = read(
        tmp_path,
        {"prompt": "p", "completions": ["b", "a"]},
        {"prompt": user, "responses": ["c", "a", "b"]},
        {"prompt": "q", "chosen": "z", "rejected": "a"},
        {
            "prompt": user,
            "chosen": [{"role": "assistant", "content": "x"}],
            "rejected": [{"role": "assistant", "content": "y"}],
        },
    )
    texts = [(one.prompt_text, one.answer_text(0), one.answer_text(1), one.gold) for one in found.pairs]
    assert texts == [
        ("p", "a", "b", None), ("p", "a", "c", None), ("p", "b", "c", None), ("q", "a", "z", 1), ("p", "x", "y", 0),
    ]  # fmt: skip
    assert found.left_out == {AGAIN: 1}
    assert found.pairs[3].as_row(1) == {"prompt": "q", "chosen": "z", "rejected": "a"}


def test_a_pair_is_known_again_in_the_other_order(tmp_path: Path) -> None:
    (one,) = read(tmp_path, {"prompt": "p", "chosen": "b", "rejected": "a"}).pairs
    (other,) = read(tmp_path, {"prompt": "p", "chosen": "a", "rejected": "b"}).pairs
    assert (one.id, one.ends) == (other.id, other.ends)
    assert (one.gold, other.gold) == (1, 0)


def test_chats_stay_chats(tmp_path: Path) -> None:
    asked = [{"role": "system", "content": "s"}, {"role": "user", "content": "p"}]
    (pair,) = read(tmp_path, {"prompt": asked, "completions": ["a", "b"]}).pairs
    assert pair.prompt_text == "system: s\n\nuser: p"
    assert pair.as_row(0) == {"prompt": asked, "chosen": "a", "rejected": "b"}


def test_what_is_no_pair_is_counted(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {"prompt": "p", "completions": ["a", "b"]},
        {"prompt": "p", "completions": ["a", "a"]},
        {"prompt": "p", "completions": ["a", " "]},
        {"prompt": "p", "completions": ["a"]},
        {"prompt": "p"},
        {"completions": ["a", "b"]},
        [1],
        "{broken",
        '{"prompt": "\\ud800", "completions": ["a", "b"]}',
    )
    assert len(found.pairs) == 1
    reasons = dict(found.left_out)
    assert reasons.pop("chosen and rejected are the same") == 1
    assert reasons.pop("empty completion") == 1
    assert sum(reasons.values()) == 6
    assert found.places["chosen and rejected are the same"].endswith(":2")


def test_a_file_without_pairs_says_why(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"no chosen and rejected, and no list of completions \(first: .*:1\)"):
        read(tmp_path, {"prompt": "p"})
    with pytest.raises(BadData, match="empty"):
        read(tmp_path)
