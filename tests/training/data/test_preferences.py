"""Preferences of every form as samples: what is the prompt, what is learned, and what becomes of rows that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openbook.core.errors import BadData
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.dialogues import DIFFER, EMPTY, SAME, UNANSWERED, Ends, ends_of, without_first_turn
from openbook.training.data.formats import format_of, rows_of
from openbook.training.data.preferences import SHORTENED, Preferences, preferences
from openbook.training.data.reading import data_files
from openbook.training.data.samples import SampleSettings
from openbook.training.data.tokenised import receipt_of
from small_preferences import written


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return default_tokenizer(400)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


FORMS: dict[str, dict[str, Any]] = {
    "texts": {"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."},
    "explicit messages": {"prompt": [user("Hi?")], "chosen": [said("Hello.")], "rejected": [said("No.")]},
    "implicit messages": {"chosen": [user("Hi?"), said("Hello.")], "rejected": [user("Hi?"), said("No.")]},
    "the prompt said twice": {
        "prompt": "Hi?",
        "chosen": [user("Hi?"), said("Hello.")],
        "rejected": [user("Hi?"), said("No.")],
    },
    "sharegpt": {
        "conversations": [{"from": "human", "value": "Hi?"}],
        "chosen": {"from": "gpt", "value": "Hello."},
        "rejected": {"from": "gpt", "value": "No."},
    },
    "transcripts": {"chosen": "\n\nHuman: Hi?\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi?\n\nAssistant: No."},
}


def of(record: dict[str, Any]) -> Ends | str:
    form = format_of(record)
    assert form is not None
    (row,) = rows_of(record, form)
    return ends_of(row)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FORMS)
def test_all_forms_are_one_prompt_and_two_ends(name: str) -> None:
    assert of(FORMS[name]) == Ends((user("Hi?"),), ((said("Hello."),), (said("No."),)), (True, False))


def test_what_both_dialogues_share_is_the_prompt() -> None:
    """As HH-RLHF has them: earlier turns of the assistant are no part of the answer."""
    shared = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c"
    found = of({"chosen": f"{shared}\n\nAssistant: yes", "rejected": f"{shared}\n\nAssistant: no"})
    assert isinstance(found, Ends)
    assert [one["content"] for one in found.prompt] == ["a", "b", "c"]
    assert found.ends == ((said("yes"),), (said("no"),))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"chosen": [user("a"), said("x")], "rejected": [user("b"), said("y")]}, DIFFER),
        (
            {
                "chosen": [user("a"), said("x"), user("c"), said("y")],
                "rejected": [user("a"), said("z"), user("c"), said("y")],
            },
            DIFFER,
        ),
        ({"prompt": "other", "chosen": [user("a"), said("x")], "rejected": [user("a"), said("y")]}, DIFFER),
        ({"prompt": "a", "chosen": "x", "rejected": "x"}, SAME),
        ({"prompt": "a", "chosen": "x", "rejected": "  "}, EMPTY),
        ({"prompt": "a", "completion": "", "label": True}, EMPTY),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c", "rejected": "\n\nHuman: a\n\nAssistant: b"},
            UNANSWERED,
        ),
    ],
)
def test_why_rows_are_none(record: dict[str, Any], reason: str) -> None:
    assert of(record) == reason


def made(folder: Path, rows: list[dict[str, Any]], tokenizer: Tokenizer, **settings: Any) -> Preferences:
    files = data_files([written(folder / "rows.jsonl", rows)])
    return preferences(files, tokenizer, SampleSettings(**settings), folder / "cache")


def test_what_is_dropped_is_counted(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [
        {"prompt": "a", "chosen": "x", "rejected": "y"},
        {"prompt": "a", "chosen": "x", "rejected": "x"},
        {"prompt": "a", "chosen": "x", "rejected": ""},
        {"chosen": [user("a"), said("x")], "rejected": [user("b"), said("y")]},
        {"prompt": "long " * 50, "chosen": "x", "rejected": "y"},
    ]
    data = made(tmp_path, rows, tokenizer, max_len=40)
    receipt = receipt_of(data.shards)
    assert receipt is not None and data.kinds == "cr" and str(data) == "1 pairs"
    assert dict(receipt.dropped) == {SAME: 1, EMPTY: 1, DIFFER: 1, "too long": 1}
    assert (receipt.rows, receipt.samples) == (5, 2)
    assert any("rows.jsonl:2" in line and SAME in line for line in receipt.lines())


def test_only_the_answer_is_learned_its_end_included(tmp_path: Path, tokenizer: Tokenizer) -> None:
    prompt = [user("a"), said("earlier"), user("b")]
    data = made(tmp_path, [{"prompt": prompt, "chosen": "first", "rejected": "second"}], tokenizer)
    for place, text in enumerate(("first", "second")):
        ids, learned = data.shards.ids(place), data.shards.learned(place)
        assert tokenizer.decode(ids[learned]) == f"{text}<|im_end|>"
        assert "earlier" in tokenizer.decode(ids[~learned])
    first, second = ((data.shards.ids(at), data.shards.learned(at)) for at in (0, 1))
    prompts = [ids[: learned.argmax()].tolist() for ids, learned in (first, second)]
    assert prompts[0] == prompts[1]


def test_a_prompt_loses_its_first_turns_on_both_sides_and_never_an_answer(tmp_path: Path, tokenizer: Tokenizer) -> None:
    prompt = [{"role": "system", "content": "be kind"}, user("far " * 60), said("x"), user("near")]
    rows = [{"prompt": prompt, "chosen": "yes", "rejected": "no, " * 9}]
    data = made(tmp_path, rows, tokenizer, max_len=100, too_long="truncate")
    receipt = receipt_of(data.shards)
    assert receipt is not None and receipt.shortened[SHORTENED] == 1
    for place, text in enumerate(("yes", "no, " * 9)):
        ids, learned = data.shards.ids(place), data.shards.learned(place)
        assert len(ids) <= 101 and tokenizer.decode(ids[learned]) == f"{text}<|im_end|>"
        shown = tokenizer.decode(ids)
        assert "be kind" in shown and "near" in shown and "far" not in shown


def test_policies_for_pairs_that_are_too_long(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [{"prompt": "a", "chosen": "yes " * 50, "rejected": "no"}]
    for policy in ("auto", "drop", "truncate"):
        with pytest.raises(BadData, match="nothing is left"):
            made(tmp_path, rows, tokenizer, max_len=40, too_long=policy)
    with pytest.raises(BadData, match="a row 40"):
        made(tmp_path, rows, tokenizer, max_len=40, too_long="error")
    with pytest.raises(BadData, match="cannot be cut"):
        made(tmp_path, rows, tokenizer, max_len=40, too_long="cut")


def test_the_longest_answer_that_fits_is_kept_whole(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [{"prompt": "a", "chosen": "yes and more", "rejected": "no"}]
    longest = int(made(tmp_path, rows, tokenizer).shards.lengths.max())
    assert len(made(tmp_path / "fits", rows, tokenizer, max_len=longest - 1).kinds) == 2
    with pytest.raises(BadData, match="too long"):
        made(tmp_path / "not", rows, tokenizer, max_len=longest - 2)


def test_questions_without_a_template(tmp_path: Path, tokenizer: Tokenizer) -> None:
    data = made(tmp_path, [{"prompt": "one two", "chosen": " three", "rejected": " six"}], tokenizer, prompts="text")
    ids, learned = data.shards.ids(0), data.shards.learned(0)
    assert tokenizer.decode(ids[learned]).startswith(" three")
    assert tokenizer.decode(ids[~learned]).endswith("one two")


def test_answers_by_themselves_and_pairs_are_told_apart(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [
        {"prompt": "a", "completion": "x", "label": True},
        {"prompt": "a", "completion": "y", "label": False},
        {"prompt": "a", "completion": "z", "label": False},
    ]
    data = made(tmp_path, rows, tokenizer)
    assert data.kinds == "100" and data.is_good.tolist() == [True, False, False] and not len(data.pairs)
    first, second = data.parted(0.3)
    assert (first.kinds, second.kinds) == ("10", "0")
    assert second.shards.ids(0).tolist() == data.shards.ids(2).tolist()


def test_a_pair_and_its_margin_stay_together_when_a_part_is_held_out(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [{"prompt": f"{at}", "chosen": "x", "rejected": "y", "margin": at} for at in range(3)]
    data = made(tmp_path, rows, tokenizer)
    first, second = data.parted(0.5)
    assert (first.kinds, first.margins, second.kinds, second.margins) == ("cr", (0.0,), "crcr", (1.0, 2.0))
    assert second.pairs.tolist() == [[0, 1], [2, 3]]
    assert second.shards.ids(0).tolist() == data.shards.ids(2).tolist()


def test_what_is_made_once_is_only_opened(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"prompt": "a", "chosen": "x", "rejected": "y"}]
    files = data_files([written(tmp_path / "rows.jsonl", rows)])
    first = preferences(files, tokenizer, SampleSettings(), tmp_path)
    monkeypatch.setattr("openbook.training.data.preferences.made_of", None)
    again = preferences(files, tokenizer, SampleSettings(), tmp_path)
    assert again.kinds == first.kinds and again.shards.ids(0).tolist() == first.shards.ids(0).tolist()


def test_rows_that_prefer_nothing_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(BadData, match="a chat prefers no answer"):
        made(tmp_path, [{"messages": [user("a"), said("b")]}], tokenizer)


def test_the_first_turn_goes_and_the_system_message_stays() -> None:
    system = {"role": "system", "content": "s"}
    prompt = (system, user("a"), said("b"), user("c"))
    assert without_first_turn(prompt) == (system, user("c"))
    assert without_first_turn((system, user("c"))) is None


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": [user("a"), said("b"), user("c")], "chosen": "d", "rejected": "e"}, "several turns"),
        (
            {"prompt": "a", "chosen": [said("b"), said("c")], "rejected": [said("d")]},
            "messages user, assistant, assistant",
        ),
    ],
)
@pytest.mark.parametrize("prompts", ["alpaca", "text"])
def test_what_only_a_chat_template_can_put_is_named_with_its_place(
    tmp_path: Path, tokenizer: Tokenizer, row: dict[str, Any], told: str, prompts: str
) -> None:
    rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}, row]
    with pytest.raises(BadData, match=rf"rows\.jsonl:2: a chat with .*{told}.* data\.prompts={prompts}") as caught:
        made(tmp_path, rows, tokenizer, prompts=prompts)
    assert "data.prompts=chat" in caught.value.remedy
