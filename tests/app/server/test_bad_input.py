"""Bodies that cannot be: each gets a 400 that names what is wrong, and the server stays up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.server.serving import Server

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 2}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with server.http() as one:
        yield one


def refused(http: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    answer = http.post(path, json=body)
    assert answer.status_code == 400, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
    return error


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "JSON object"),
        (b"{", "not JSON"),
        (b"[1]", "JSON object"),
        (b'{"messages": NaN}', "NaN is no JSON number"),
        (b'{"messages": ' + b"9" * 5_000 + b"}", "not JSON"),
        (b"\xff\xfe{}", "not"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"messages": ' + b"[" * 100 + b"]" * 100 + b"}", "nested deeper than 64"),
    ],
)
def test_what_is_no_json_object_is_told(http: httpx.Client, body: bytes, said: str) -> None:
    answer = http.post(CHAT, content=body, headers=JSON)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_an_unknown_field_names_the_nearest_known_one(http: httpx.Client) -> None:
    error = refused(http, CHAT, **ASKED, temprature=1)
    assert error["param"] == "temprature" and "'temperature'" in error["message"] and error["code"] == "unknown_field"
    inner = refused(http, CHAT, messages=[{"role": "user", "contnet": "a"}])
    assert inner["param"] == "messages[0].contnet" and "'content'" in inner["message"]
    assert "give tools" in refused(http, CHAT, **ASKED, functions=[])["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 0),
        ("n", 10**9),
        ("n", -1),
        ("max_tokens", -1),
        ("max_tokens", 0),
        ("max_tokens", 10**30),
        ("max_completion_tokens", "many"),
        ("temperature", -1),
        ("temperature", 1e300),
        ("top_p", 2),
        ("top_k", -2),
        ("min_p", -0.1),
        ("seed", 10**30),
        ("logit_bias", {"5": 1_000}),
        ("logit_bias", {"five": 1}),
        ("logit_bias", {"-1": 1}),
        ("logit_bias", {"99999999": 1}),
        ("logit_bias", {"9" * 5_000: 1}),
        ("stop_token_ids", [-1]),
        ("presence_penalty", 3),
        ("repetition_penalty", 0),
        ("top_logprobs", 5),
        ("stream", "maybe"),
        ("stream_options", {"include_usage": True}),
        ("tool_choice", "required"),
        ("response_format", {"type": "xml"}),
        ("messages", []),
        ("messages", "Hello?"),
        ("messages", [{"role": "robot", "content": "a"}]),
        ("messages", [{"role": "user"}]),
        ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]}]),
        ("messages", [{"role": "tool", "content": "a"}]),
        ("messages", [{"role": "user", "content": "a", "tool_calls": []}, {"role": "user", "content": None}]),
    ],
)
def test_a_value_that_cannot_be_names_its_field(http: httpx.Client, field: str, value: Any) -> None:
    error = refused(http, CHAT, **ASKED | {field: value})
    assert field in (error["param"] or "") or field in error["message"]
    assert http.post(CHAT, json=ASKED).status_code == 200


def test_two_forms_of_one_answer_are_refused(http: httpx.Client) -> None:
    both = refused(http, CHAT, **ASKED, guided_regex="a+", response_format={"type": "json_object"})
    assert "one form" in both["message"]


def test_a_prompt_that_is_too_long_is_told_with_both_numbers(http: httpx.Client) -> None:
    error = refused(http, CHAT, messages=[{"role": "user", "content": "word " * 600}])
    assert error["code"] == "context_length_exceeded"
    assert "the prompt has 610 tokens" in error["message"] and "the limit is 512 with the answer" in error["message"]
    text = "word " * 800_000
    for path, asked in (
        (CHAT, {"messages": [{"role": "user", "content": text}]}),
        ("/v1/completions", {"prompt": text}),
    ):
        error = refused(http, path, **asked)
        assert error["code"] == "context_length_exceeded" and "the limit is 512 with the answer" in error["message"]
        assert "the prompt has 4,000,0" in error["message"] and "the first 4,096 of them are" in error["message"]
    ids = refused(http, "/v1/completions", prompt=[5] * 512)
    assert "the prompt has 512 tokens, the limit is 512" in ids["message"]
    assert http.post("/v1/completions", json={"prompt": [5] * 511, "max_tokens": 1}).status_code == 200
    echo = {"prompt": [5] * 512, "max_tokens": 0, "echo": True, "logprobs": 0}
    assert len(http.post("/v1/completions", json=echo).json()["choices"][0]["logprobs"]["tokens"]) == 512


@pytest.mark.parametrize("prompt", ["", [], [[]], [""], [5, "a"], [10**9], [-1], [["a"]], [None], 5, None])
def test_prompts_that_cannot_be_are_refused(http: httpx.Client, prompt: Any) -> None:
    refused(http, "/v1/completions", prompt=prompt, max_tokens=2)


def test_text_that_no_utf8_can_carry_is_refused(http: httpx.Client) -> None:
    body = b'{"messages": [{"role": "user", "content": "a\\ud800"}]}'
    answer = http.post(CHAT, content=body, headers=JSON)
    assert answer.status_code == 400 and "surrogate" in answer.text
    answer = http.post(
        CHAT, content=b'{"messages": [{"role": "user", "content": "a"}], "model": "\\ud800"}', headers=JSON
    )
    assert answer.status_code == 404


def test_paths_and_methods_that_are_not_there(http: httpx.Client) -> None:
    assert http.get("/v1/nothing").json()["error"]["message"] == "Not Found"
    assert http.get(CHAT).status_code == 405
    assert http.post(CHAT, json=ASKED | {"model": "gpt-9"}).status_code == 404
    assert "use 'tiny'" in http.post(CHAT, json=ASKED | {"model": "gpt-9"}).json()["error"]["message"]
    assert http.get("/v1/models/tiny").json()["id"] == "tiny"
    assert http.get("/docs").status_code == 404


def test_ids_that_no_token_has_are_refused(http: httpx.Client) -> None:
    assert "no token" in refused(http, "/detokenize", tokens=[2**31 - 1])["message"]
    refused(http, "/tokenize")
    refused(http, "/tokenize", prompt="a", messages=ASKED["messages"])


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"guided_grammar": 'start: start "a"'}, 'the grammar start: start "a"'),
        ({"guided_grammar": 'start: "a" start'}, 'the grammar start: "a" start'),
        ({"guided_json": {"$ref": "#"}}, 'the schema {"$ref": "#"}'),
        ({"guided_regex": r"a[^\s\S]"}, "the grammar"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_form_that_no_answer_can_have_is_refused(
    http: httpx.Client, form: dict[str, Any], said: str, stream: bool
) -> None:
    assert said in refused(http, CHAT, **ASKED, **form, stream=stream)["message"]


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
def test_a_grammar_that_leads_nowhere_later_is_the_request_s_fault(http: httpx.Client, path: str) -> None:
    asked = ASKED if path == CHAT else {"prompt": "a"}
    form = {"guided_grammar": 'start: ("a"|"b") x\nx: "c" x', "max_tokens": 8}
    error = refused(http, path, **asked | form)
    assert error["code"] == "grammar_failed" and "change the schema or grammar" in error["message"]
    with http.stream("POST", path, json=asked | form | {"stream": True}) as answer:
        last = [line for line in answer.iter_lines() if line][-1]
    assert '"grammar_failed"' in last and "invalid_request_error" in last
