"""Texts that are gone on with, over HTTP, asked by the official client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

from app.server.serving import Server
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


def test_an_echo_with_logprobs_says_how_likely_each_token_of_the_prompt_is(client: openai.OpenAI, model: Path) -> None:
    """As evaluation harnesses score texts: the log-probabilities are those of `lm.score`."""
    import torch

    from openbook.lm.load import load_model
    from openbook.lm.nn.batch import Batch
    from openbook.lm.score import token_logprobs

    tokenizer = default_tokenizer()
    prompts = [tokenizer.encode(text) for text in ("Once upon a time, 在很久以前.", "There was")]
    decoder = load_model(model)
    want = [token_logprobs(decoder, torch.tensor(ids), Batch.of([len(ids)])).tolist() for ids in prompts]
    asked: dict[str, Any] = {"model": "tiny", "prompt": prompts, "max_tokens": 1, "temperature": 0, "seed": 1234}
    for answer in (
        client.completions.create(**asked, echo=True, logprobs=1),
        client.completions.create(**asked | {"max_tokens": 0}, echo=True, logprobs=1),
    ):
        for choice, ids, expected in zip(answer.choices, prompts, want, strict=True):
            said = choice.logprobs
            assert said is not None and said.tokens and said.token_logprobs and said.top_logprobs and said.text_offset
            assert len(said.tokens) == len(said.token_logprobs) in (len(ids), len(ids) + 1)
            assert said.token_logprobs[0] is None
            assert said.token_logprobs[1 : len(ids)] == pytest.approx(expected[1:], abs=1e-4)
            assert choice.text.startswith(tokenizer.decode(ids))
            for token, value, top in list(zip(said.tokens, said.token_logprobs, said.top_logprobs, strict=True))[1:]:
                assert top[token] == value and max(top.values()) >= value
    assert len(answer.choices[0].logprobs.tokens) == len(prompts[0])  # type: ignore[union-attr,arg-type]
    streamed = list(client.completions.create(**asked, echo=True, logprobs=1, stream=True))
    whole = client.completions.create(**asked, echo=True, logprobs=1)
    for index in (0, 1):
        pieces = [one for chunk in streamed for one in chunk.choices if one.index == index]
        values = [value for one in pieces if one.logprobs for value in one.logprobs.token_logprobs or ()]
        assert values == whole.choices[index].logprobs.token_logprobs  # type: ignore[union-attr]
        assert "".join(one.text for one in pieces) == whole.choices[index].text


def test_logprobs_are_of_the_tokens_of_the_text(client: openai.OpenAI) -> None:
    choice = client.completions.create(**ASKED, logprobs=2).choices[0]
    said = choice.logprobs
    assert said is not None and said.tokens and said.top_logprobs and said.text_offset
    assert len(said.tokens) == 12 and all(2 <= len(top) <= 3 for top in said.top_logprobs)
    if not any(token.startswith("bytes:") for token in said.tokens):
        assert "".join(said.tokens) == choice.text
    chat = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "Hi"}], max_tokens=8, seed=1, logprobs=True, top_logprobs=3,
        extra_body={"ignore_eos": True},
    ).choices[0]  # fmt: skip
    assert chat.logprobs is not None and chat.logprobs.content is not None
    raw = b"".join(bytes(one.bytes or []) for one in chat.logprobs.content)
    assert raw.decode("utf-8", "replace") == chat.message.content
    assert all(len(one.top_logprobs) == 3 and one.logprob <= 0 for one in chat.logprobs.content)


def test_a_long_answer_is_whole_what_it_is_streamed(client: openai.OpenAI) -> None:
    """Tokens of a whole reply are read sixteen at a time; the last few come with the end."""
    for most in (15, 16, 17, 18, 33, 50):
        asked: dict[str, Any] = ASKED | {"max_tokens": most, "logprobs": 1, "n": 2}
        asked["extra_body"] = {"ignore_eos": True, "seed": 3}
        whole = client.completions.create(**asked)
        pieces: dict[int, str] = {0: "", 1: ""}
        for chunk in client.completions.create(**asked, stream=True):
            for choice in chunk.choices:
                pieces[choice.index] += choice.text
        assert [choice.text for choice in whole.choices] == [pieces[0], pieces[1]]
        assert whole.usage is not None and whole.usage.completion_tokens == 2 * most
        assert [len(choice.logprobs.tokens or ()) for choice in whole.choices if choice.logprobs] == [most, most]


def test_ids_are_told_of_all_that_was_written(server: Server) -> None:
    """The end token among them, each with its log-probability, at the temperature of the draws where that is asked for."""
    tokenizer = default_tokenizer()
    first = tokenizer.encode("Once upon a time")
    body: dict[str, Any] = {"prompt": first, "n": 2, "seed": 3, "max_tokens": 12, "return_token_ids": True}
    with server.http() as http:

        def choices(**more: Any) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (
                http.post("/v1/completions", json=body | more).raise_for_status().json()["choices"]
            )
            return found

        plain = choices(logprobs=0)
        for one in plain:
            ended = one["finish_reason"] == "stop"
            assert len(one["logprobs"]["token_logprobs"]) == len(one["token_ids"])
            assert tokenizer.decode(one["token_ids"][: -1 if ended else None]) == one["text"]
        # A token that is said to end answers is told too.
        end = plain[0]["token_ids"][3]
        cut = choices(stop_token_ids=[end], n=1)[0]
        assert cut["token_ids"] == plain[0]["token_ids"][: plain[0]["token_ids"].index(end) + 1]
        assert cut["finish_reason"] == "stop" and cut["logprobs"] is None
        cold = [choices(logprobs=0, temperature=0.5, tempered_logprobs=is_so) for is_so in (False, True)]
        assert cold[0][0]["token_ids"] == cold[1][0]["token_ids"]
        before, after = (sum(one[0]["logprobs"]["token_logprobs"]) for one in cold)
        assert after > before  # what is likely is likelier still
        for wrong, message in (({"stream": True}, "whole answers"), ({"tempered_logprobs": True}, "give logprobs")):
            refused = http.post("/v1/completions", json=body | wrong)
            assert refused.status_code == 400 and message in refused.text
