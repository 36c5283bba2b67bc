"""Chats as text, ids and spans: exactly as transformers renders them, and the spans hold what the assistant said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

os.environ["HF_HUB_OFFLINE"] = "1"
from transformers import PreTrainedTokenizerFast

from lm.tokenizers.chats import CHATS, ENDS, TOOLS, chat_tokenizer
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.messages import ImagePart, Message, TextPart
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.render import plain_message
from openbook.lm.tokenizers.templates import NAMES, chat_template
from openbook.lm.tokenizers.tokenizer import Tokenizer

FEATURES = """
{%- for m in messages -%}
    {%- if loop.index0 == 3 %}{% break %}{% endif -%}
    {{- m['role'] ~ ': ' ~ m.content | default('-', true) | upper | trim }} {{ {'ü': [1, none, true], 'b': '<é>'} | tojson }}
    {{ m | tojson(indent=2, sort_keys=true) }}
{% endfor %}
{% set ns = namespace(n=0) %}
{% for x in range(3) %}{% if x == 1 %}{% continue %}{% endif %}
{% set ns.n = ns.n + x * 2 ** 2 %}{% endfor %}
  {% if tools %}{{ tools[0].function.name[::-1] }}{% endif %}
{{ ns.n }} {{ 'a,b'.split(',') | join('-') }}
{{ "%s=%d" % ('x', 3) }} {{ '{:>5}'.format('r') }} {{ unset }}|{{ documents is none }}
{%- macro shout(x) %}{{ x ~ '!' }}{% endmacro %}{{ shout('a') }} {{ messages | selectattr('role', 'eq', 'user') | list | length }}
{{ messages | map(attribute='role') | unique | list }} {{ dict(a=1) }} {{ 'x' * 3 }} {{ eos_token }} {{ add_generation_prompt }}
"""


@pytest.mark.parametrize("name", [*NAMES, "features"])
def test_texts_ids_and_masks_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    source = FEATURES if name == "features" else chat_template(name)
    ours = chat_tokenizer(tmp_path, source, *ENDS.get(name, (None, "<|im_end|>")))
    theirs = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    for chat in CHATS.values():
        for given_ in (
            {},
            {"tools": TOOLS, "add_generation_prompt": True},
            {"enable_thinking": False, "add_generation_prompt": True, "date_string": "1 Jan"},
            {"tools": TOOLS, "tools_in_user_message": False},
        ):
            rendered = ours.render(chat, spans=name != "features", **given_)
            assert rendered.text == theirs.apply_chat_template(chat, tokenize=False, **given_)
            if name == "features":
                continue
            said = theirs.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True, **given_)
            assert rendered.ids == said["input_ids"]
            assert rendered.mask == [bool(one) for one in said["assistant_masks"]]


def test_the_template_owns_the_special_tokens(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer(tmp_path, chat_template("mistral"), "<s>", "</s>")
    from tokenizers import processors

    bos = tokenizer.id_of("<s>")
    tokenizer.backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", bos)]
    )
    assert tokenizer.encode("x")[0] == bos
    assert tokenizer.render(CHATS["two turns"]).ids.count(bos) == 1
    twice = Tokenizer(tokenizer.backend, tokenizer.special, {"default": "{{ bos_token }}{{ bos_token }}"})
    with pytest.raises(ModelUnavailable, match="writes bos twice"):
        twice.render(CHATS["two turns"], spans=False)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=4))
def test_tokens_of_a_span_are_all_that_reach_into_it(replies: list[str]) -> None:
    tokenizer = default_tokenizer()
    chat = [
        one
        for reply in replies
        for one in ({"role": "user", "content": reply[::-1]}, {"role": "assistant", "content": reply})
    ]
    rendered = tokenizer.render(chat)
    assert [rendered.text[span.start : span.end] for span in rendered.spans] == [f"{one}<|im_end|>" for one in replies]
    for span in rendered.spans:
        inside = tokenizer.decode(rendered.ids[span.first : span.last])
        assert inside.endswith(rendered.text[span.start : span.end])
        assert rendered.ids[span.last - 1] == tokenizer.eos_id
    assert sum(rendered.mask) == sum(span.last - span.first for span in rendered.spans)


def test_a_token_over_the_border_counts() -> None:
    tokenizer = default_tokenizer()
    rendered = tokenizer.render([{"role": "user", "content": "x"}, {"role": "assistant", "content": "\n\nyes"}])
    (span,) = rendered.spans
    assert tokenizer.decode(rendered.ids[span.first : span.last]) in ("\n\n\nyes<|im_end|>", "\n\nyes<|im_end|>")


def test_messages_of_every_kind() -> None:
    assert plain_message(Message.of("user", "hi")) == {"role": "user", "content": "hi"}
    seen = Message("user", (TextPart("look"), ImagePart(b"", "image/png")))
    assert plain_message(seen)["content"] == [{"type": "text", "text": "look"}, {"type": "image"}]
    told = plain_message({"role": "assistant", "content": None, "reasoning": "so", "name": None})
    assert told == {"role": "assistant", "reasoning": "so", "thinking": "so", "reasoning_content": "so"}
    with pytest.raises(UsageError, match="a chat holds object"):
        plain_message({"role": "user", "content": object()})


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    tokenizer = default_tokenizer()
    with pytest.raises(UsageError, match="no messages"):
        tokenizer.render([])
    bare = Tokenizer(tokenizer.backend, tokenizer.special)
    with pytest.raises(ModelUnavailable, match="has no chat template") as caught:
        bare.render(CHATS["one question"])
    assert "chat_template.jinja" in caught.value.remedy
    several = Tokenizer(tokenizer.backend, {}, {"default": "a", "tool_use": "b", "rag": "c"})
    with pytest.raises(UsageError, match="it has default, rag, tool_use"):
        several.render(CHATS["one question"], template="none")
    assert several.render(CHATS["one question"]).text == "a"
    assert several.render(CHATS["one question"], tools=TOOLS).text == "b"
    assert several.render(CHATS["one question"], tools=TOOLS, template="rag").text == "c"
