"""Where sentences end: marks, closers, references and abbreviations in both languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.library.split.sentences import sentence_spans


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He came. She went!", ["He came.", "She went!"]),
        ("Dr. Lund paid 3.5 euros at 10:30. Then?", ["Dr. Lund paid 3.5 euros at 10:30.", "Then?"]),
        ("So.[citation needed] It was.[12][13] No.:33 Yes.", ["So.[citation needed]", "It was.[12][13]", "No.:33", "Yes."]),
        ("他来了。她走了！", ["他来了。", "她走了！"]),
        ("《谁是凶手！！》。他说。", ["《谁是凶手！！》。", "他说。"]),
        ("“走吧。”他说；我走了。", ["“走吧。”", "他说；", "我走了。"]),
        ("One\n\ntwo", ["One", "two"]),
    ],
)  # fmt: skip
def test_sentences_end_where_a_reader_says(text, expected):
    assert sentences(text) == expected


@given(st.text(alphabet='aB1 .!?。；”"[]:\n', max_size=80))
def test_nothing_but_white_space_is_lost(text):
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())
