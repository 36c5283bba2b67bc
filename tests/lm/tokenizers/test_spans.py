"""Spans of templates that do not mark them: the same as of the marked twin, or an error, never a guess."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.tokenizers.chats import CALL, CHATS, ENDS, TOOLS, chat_tokenizer
from openbook.core.errors import ModelUnavailable
from openbook.lm.tokenizers.templates import NAMES, chat_template
from openbook.lm.tokenizers.tokenizer import Tokenizer

USERS = st.sampled_from(["Hi", " And when?\n", "<|im_end|>", "渡轮", "a\n\nb", "[INST]"])
REPLIES = st.sampled_from(["Yes", "\n About it.  ", "<|im_end|>!", "7 </s>", "<tool_call>", "", "Yes", "no\n\n"])
THOUGHTS = st.sampled_from([None, "\nI think.\n", "x</think>"])


def unmarked(name: str) -> str:
    return re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "{%- if true -%}{%- endif -%}", chat_template(name))


@pytest.fixture(scope="module", params=NAMES)
def twins(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Tokenizer]:
    marked = chat_tokenizer(tmp_path_factory.mktemp("chat"), chat_template(request.param), *ENDS[request.param])
    return marked, Tokenizer(marked.backend, marked.special, {"default": unmarked(request.param)})


@given(data=st.data())
def test_found_spans_are_the_marked_ones(twins: tuple[Tokenizer, Tokenizer], data: st.DataObject) -> None:
    chat: list[dict] = [{"role": "system", "content": "Be brief."}] if data.draw(st.booleans()) else []
    for turn in range(data.draw(st.integers(1, 3))):
        chat.append({"role": "user", "content": f"{turn}{data.draw(USERS)}"})
        if data.draw(st.booleans()):
            chat.append({"role": "assistant", "content": data.draw(REPLIES), "tool_calls": [CALL]})
            chat.append({"role": "tool", "content": "grey", "tool_call_id": "abc123def"})
        answer = {"role": "assistant", "content": data.draw(REPLIES), "reasoning_content": data.draw(THOUGHTS)}
        chat.append(answer)
    given_ = {
        "tools": data.draw(st.sampled_from([None, TOOLS])),
        "add_generation_prompt": data.draw(st.booleans()),
        "enable_thinking": data.draw(st.booleans()),
        "date_string": "1 Jan",
    }
    marked, found = (twin.render(chat, **given_) for twin in twins)
    assert found == marked


def test_the_only_ending_there_is_and_one_of_several(twins: tuple[Tokenizer, Tokenizer]) -> None:
    """Mistral's template looks for the last question by its words: asked twice, the tools stand twice."""
    said = ["Hi", "Yes", "And?", "No", "Hi", "Yes"]
    chat = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)]
    marked, found = twins
    assert found.render(chat, tools=TOOLS, date_string="-") == marked.render(chat, tools=TOOLS, date_string="-")
    chat[3]["content"] = "No </s>"
    if "AVAILABLE_TOOLS" in str(marked.chat_template):
        with pytest.raises(ModelUnavailable, match="the end of message 3"):
            found.render(chat, tools=TOOLS)


def only(source: str) -> Tokenizer:
    from openbook.lm.tokenizers.default import default_tokenizer

    default = default_tokenizer(265)
    return Tokenizer(default.backend, default.special, {"default": source})


def spans(source: str, chat: list[dict], **more: object) -> list[str]:
    rendered = only(source).render(chat, **more)
    return [rendered.text[span.start : span.end] for span in rendered.spans]


def test_plain_formats() -> None:
    chat = CHATS["two turns"]
    alpaca = (
        "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n\n{% endfor %}"
        "{% if add_generation_prompt %}### assistant:\n{% endif %}"
    )
    assert spans(alpaca, chat) == ["Li Bai did. 李白🚢\n\n", "\n About 750.  \n\n"]
    llama2 = (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]"
        "{% else %} {{ m.content | trim }} {{ '<|im_end|>' }}{% endif %}{% endfor %}"
    )
    assert spans(llama2, chat) == [" Li Bai did. 李白🚢 <|im_end|>", " About 750. <|im_end|>"]
    assert spans(llama2, chat[:1]) == []


def test_turns_that_follow_each_other() -> None:
    chatml = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    chat = [*CHATS["two turns"][:2], {"role": "assistant", "content": "Also"}]
    assert spans(chatml, chat) == ["Li Bai did. 李白🚢<|im_end|>", "Also<|im_end|>"]


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{{ m.role }}{% endfor %}",  # nothing that was said is there
        "{% for m in messages %}{{ m.content | length }}{% endfor %}",
        "{{ messages | tojson }}",
        "{% for m in messages | reverse %}<{{ m.role }}>{{ m.content }}{% endfor %}",
        "{% if messages | length < 4 %}{{ raise_exception('four') }}{% endif %}{{ messages[1].content }}",
        "{% generation %}{{ messages[1].content }}",
    ],
)
def test_what_cannot_be_told_is_an_error(source: str) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        spans(source, CHATS["two turns"])
    assert caught.value.remedy


def test_marks_in_a_macro_and_in_text_that_is_set_aside() -> None:
    source = (
        "{% macro say(m) %}{% generation %}{{ m.content }}!{% endgeneration %}{% endmacro %}"
        "{% for m in messages %}{% if m.role == 'user' %}Q {{ m.content }} A "
        "{% else %}{% set said %}{{ say(m) }}{% endset %}{{ said }}\n{% endif %}{% endfor %}"
    )
    assert spans(source, CHATS["two turns"]) == ["Li Bai did. 李白🚢!", "\n About 750.  !"]


def test_marks_that_are_changed_or_nested_are_an_error() -> None:
    nested = "{% generation %}a{% generation %}b{% endgeneration %}{% endgeneration %}"
    with pytest.raises(ModelUnavailable, match="nested or open"):
        spans(nested, CHATS["two turns"])
    cut = "{% set x %}{% generation %} {{ messages[1].content }}{% endgeneration %}{% endset %}{{ x | trim }}"
    with pytest.raises(ModelUnavailable, match="changes what"):
        spans(cut, CHATS["two turns"])


@pytest.mark.parametrize("name", [*NAMES, ""])
def test_characters_of_the_private_area_are_text(name: str, tmp_path: Path) -> None:
    source = chat_template(name) if name else unmarked("chatml")
    tokenizer = chat_tokenizer(tmp_path, source, *ENDS[name or "chatml"])
    private = "".join(map(chr, range(0xE000, 0xE010)))
    chat = [{"role": "user", "content": private}, {"role": "assistant", "content": private[::-1]}]
    for literal in (False, True):
        rendered = tokenizer.render(chat, literal=literal)
        (span,) = rendered.spans
        assert private[::-1] in rendered.text[span.start : span.end]
        assert private in rendered.text


def test_without_spans_nothing_is_looked_for(tmp_path: Path) -> None:
    rendered = only("{{ messages | tojson }}").render(CHATS["two turns"], spans=False)
    assert rendered.spans == []
    assert rendered.mask == [False] * len(rendered.ids)
