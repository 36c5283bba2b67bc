"""Texts that are gone on with, over HTTP, asked by the official client."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from openbook.lm.tokenizers.default import default_tokenizer

ASKED: dict[str, Any] = {
    "model": "tiny",
    "prompt": "Once upon a time",
    "max_tokens": 12,
    "seed": 3,
    "extra_body": {"ignore_eos": True},
}


def test_a_stream_is_the_whole_text_in_pieces(client: openai.OpenAI) -> None:
    whole = client.completions.create(**ASKED)
    chunks = list(client.completions.create(**ASKED, stream=True, stream_options={"include_usage": True}))
    assert "".join(one.text for chunk in chunks for one in chunk.choices) == whole.choices[0].text != ""
    assert chunks[-1].usage is not None and whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens == 12


def test_ids_are_as_good_as_text_and_lists_answer_each(client: openai.OpenAI) -> None:
    tokenizer = default_tokenizer()
    texts = ["Once upon a time", "There was"]
    ids = [tokenizer.encode(text) for text in texts]
    alone = [client.completions.create(**ASKED | {"prompt": text}).choices[0].text for text in texts]
    for prompts in (texts, ids):
        both = client.completions.create(**ASKED | {"prompt": prompts})
        assert [choice.text for choice in both.choices] == alone
        assert [choice.index for choice in both.choices] == [0, 1]
    assert client.completions.create(**ASKED | {"prompt": ids[0]}).choices[0].text == alone[0]


def test_echo_repeats_the_prompt(client: openai.OpenAI) -> None:
    plain = client.completions.create(**ASKED).choices[0].text
    assert client.completions.create(**ASKED, echo=True).choices[0].text == ASKED["prompt"] + plain
    chunks = list(client.completions.create(**ASKED, echo=True, stream=True))
    assert "".join(one.text for chunk in chunks for one in chunk.choices) == ASKED["prompt"] + plain


def test_the_best_of_several_is_one_of_them(client: openai.OpenAI) -> None:
    best = client.completions.create(**ASKED, best_of=4)
    each = client.completions.create(**ASKED, n=4)
    assert len(best.choices) == 1
    assert best.choices[0].text in [choice.text for choice in each.choices]
    assert best.usage is not None and best.usage.completion_tokens == 48
    with pytest.raises(openai.BadRequestError, match="larger"):
        client.completions.create(**ASKED, best_of=1, n=2)
    with pytest.raises(openai.BadRequestError, match="stream"):
        client.completions.create(**ASKED, best_of=2, stream=True)


def test_what_stands_behind_is_refused_by_name(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"suffix is not served here.*fill in the middle"):
        client.completions.create(**ASKED, suffix="The end.")


def test_text_becomes_ids_and_comes_back(client: openai.OpenAI) -> None:
    tokenizer = default_tokenizer()
    said = client.post("../tokenize", body={"prompt": "Hello, 世界"}, cast_to=dict[str, Any])
    assert said["tokens"] == tokenizer.encode("Hello, 世界")
    assert said["count"] == len(said["tokens"]) and said["max_model_len"] == 512
    back = client.post("../detokenize", body={"tokens": said["tokens"]}, cast_to=dict[str, Any])
    assert back == {"prompt": "Hello, 世界"}
    chat = client.post("../tokenize", body={"messages": [{"role": "user", "content": "Hi"}]}, cast_to=dict[str, Any])
    usage = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "Hi"}], max_tokens=1
    ).usage
    assert usage is not None and chat["count"] == usage.prompt_tokens
