"""Which tasks and answers are of use, in both languages, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest

from openbook.training.generate.language import language_of
from openbook.training.generate.validate import fault_of_answer, fault_of_task, is_loop


@pytest.mark.parametrize(
    ("text", "language", "fault"),
    [
        ("Explain how a bridge carries weight.", "en", ""),
        ("用三句话解释桥梁如何承受重量。", "zh", ""),
        ('"Time flies." Explain the saying.', "en", ""),
        ("Sing a song", "en", "too short"),
        ("唱歌", "zh", "too short"),
        ("word " * 151, "en", "too long"),
        ("Describe the image of a house.", "en", "more than text"),
        ("描述图片里的房子是什么样的。", "zh", "more than text"),
        ("Explain how a bridge carries weight.", "zh", "another language"),
        ("用三句话解释桥梁如何承受重量。", "en", "another language"),
        ("¿Por qué el cielo es azul y no verde?", "en", "begins with a sign"),
        ("- Explain how a bridge carries weight.", "en", "begins with a sign"),
        ("I'm sorry, but I cannot think of one.", "en", "a refusal"),
        ("抱歉，我想不出更多的任务了。", "zh", "a refusal"),
        ("Rewritten prompt: explain how bridges work.", "en", "words of the request"),
        ("Explain bridges. <|im_end|> Task done now.", "en", "marks"),
    ],
)
def test_tasks(text: str, language: Any, fault: str) -> None:
    found = fault_of_task(text, language)
    assert fault in found and bool(found) == bool(fault)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("It spreads the load over its piers.", ""),
        ("4", ""),
        ("  ...  ", "empty"),
        ("I cannot help with that.", "a refusal"),
        ("As an AI language model, I have no view.", "a refusal"),
        ("explain how a bridge carries weight!", "the task again"),
        ("桥梁把重量分散到桥墩上。", "another language"),
        ("and so on and so forth " * 20, "round in circles"),
        ("word " * 1_001, "too long"),
        ("It does.<|im_end|>", "marks"),
    ],
)
def test_answers(text: str, fault: str) -> None:
    found = fault_of_answer("Explain how a bridge carries weight.", text)
    assert fault in found and bool(found) == bool(fault)


def test_a_translation_may_be_in_another_language() -> None:
    assert fault_of_answer("Translate 'the bridge is long' for me.", "这座桥很长，也很美。") == ""
    assert fault_of_answer("请翻译成英文：这座桥很长。", "This bridge is long indeed.") == ""


def test_languages() -> None:
    assert [language_of(one) for one in ("Hello there", "你好，世界", "12 + 5 = 17", "これは本です", "Привет, мир")] == [
        "en", "zh", "en", "other", "other",
    ]  # fmt: skip
    assert language_of("请解释 Python 的 list 和 tuple 有什么区别") == "zh"


def test_prose_is_no_loop() -> None:
    prose = "The engine turns heat into motion. " + " ".join(
        f"Part {at} does work {at + 1} for {at * 7}." for at in range(20)
    )
    assert not is_loop(prose)
    assert is_loop("又是这样的一天，" * 20)
