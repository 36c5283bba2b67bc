"""The remote model against a scripted server on loopback: answers, streams, and everything that can go wrong."""

from __future__ import annotations

import json

import pytest

from chat_server import ChatServer, Reply, refused, said, streamed
from openbook.core.errors import ModelUnavailable
from openbook.core.messages import ChatModel, ChatRequest, Completion, Message, ModelLimits, SamplingParams
from openbook.serving.endpoint import parse_endpoint
from openbook.serving.remote import RemoteChatModel

ASKED = ChatRequest(
    (Message.of("system", "Be brief."), Message.of("user", "Hello?")), SamplingParams(max_tokens=9, seed=4)
)


def _model(server: ChatServer, name: str = "#tiny", **options: float) -> RemoteChatModel:
    return RemoteChatModel(parse_endpoint(server.url + name), pause_s=0.001, **options)  # type: ignore[arg-type]


def test_a_whole_answer_and_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "second")
    monkeypatch.setenv("OPENBOOK_API_KEY", "secret-key")
    with ChatServer(said("Good day.")).running() as server:
        model: ChatModel = _model(server)
        assert model.complete(ASKED) == Completion("Good day.", "stop", 7, 3)
    assert server.requests[0] == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
        "temperature": 0.0,
        "max_tokens": 9,
        "stream": False,
        "seed": 4,
    }
    assert server.headers[0]["Authorization"] == "Bearer secret-key"


def test_a_stream_gives_its_pieces_and_then_the_whole() -> None:
    with ChatServer(streamed("Good ", "day.", finish="length")).running() as server:
        stream = _model(server).stream(ASKED)
        pieces = []
        while True:
            try:
                pieces.append(next(stream))
            except StopIteration as end:
                assert end.value == Completion("Good day.", "length")
                break
    assert pieces == ["Good ", "day."]


def test_closing_a_stream_cancels_the_request() -> None:
    with ChatServer(streamed(*["x" * 10_000] * 2_000)).running() as server:
        stream = _model(server).stream(ASKED)
        assert next(stream)
        stream.close()
        assert server.cancelled.wait(20)


def test_a_server_that_ignores_stream_is_understood() -> None:
    reply = said("Whole.")
    with ChatServer(Reply(200, reply.body, {"Content-Type": "application/json"})).running() as server:
        assert list(_model(server).stream(ASKED)) == ["Whole."]


@pytest.mark.parametrize("script", [streamed("Half an", finish=None, done=False), Reply(events=("{broken",))])
def test_a_stream_that_breaks_off_is_an_error(script: Reply) -> None:
    with ChatServer(script).running() as server, pytest.raises(ModelUnavailable):
        list(_model(server).stream(ASKED))


def test_without_a_name_the_first_model_is_taken_and_its_length_known() -> None:
    models = ({"id": "first", "max_model_len": 4096}, {"id": "second"})
    with ChatServer(said("Yes."), models=models).running() as server:
        model = _model(server, "")
        assert model.name == "first"
        assert model.limits == ModelLimits(4096)
        model.complete(ASKED)
    assert server.requests[0]["model"] == "first"


def test_no_model_there_is_said() -> None:
    with (
        ChatServer(said("Yes."), models=()).running() as server,
        pytest.raises(ModelUnavailable, match="lists no model"),
    ):
        _model(server, "").complete(ASKED)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (refused(401, "bad key secret-key"), ["401", "OPENBOOK_API_KEY"]),
        (refused(404, "no such model"), ["404", "it has: tiny"]),
        (refused(413, "too long"), ["413", "fewer passages"]),
        (Reply(body=b"<html>"), ["sent no JSON", "/v1"]),
        (Reply(body=b"[" * 100_000), ["sent no JSON"]),
        (Reply(body=b"[1]"), ["instead of an object"]),
        (Reply(body=b'{"choices": []}'), ["another shape"]),
        (Reply(body=b'{"choices": [{"message": {"content": 5}}]}'), ["another shape"]),
        (Reply(body=b'{"error": {"message": "out of memory"}}'), ["out of memory"]),
        (said(None), ["empty answer"]),
        (said("  ", "length"), ["empty answer", "tokens were spent"]),
        (Reply(302, b"", {"Location": "http://elsewhere.example/v1"}), ["redirects to http://elsewhere.example/v1"]),
    ],
)
def test_what_cannot_be_mended_by_trying_again_is_named(
    reply: Reply, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBOOK_API_KEY", "secret-key")
    with ChatServer(reply).running() as server, pytest.raises(ModelUnavailable) as caught:
        _model(server).complete(ASKED)
    for word in words:
        assert word in str(caught.value)
    assert "secret-key" not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(status: int) -> None:
    with ChatServer(refused(status, "busy"), refused(status, "busy"), said("Now.")).running() as server:
        assert _model(server).complete(ASKED).text == "Now."
        assert len(server.requests) == 3


def test_a_server_that_stays_broken_is_named() -> None:
    with (
        ChatServer(refused(500, "oh no")).running() as server,
        pytest.raises(ModelUnavailable, match=r"500: .*oh no.*4 times"),
    ):
        _model(server).complete(ASKED)
    assert len(server.requests) == 4


def test_a_server_that_is_too_slow_is_named() -> None:
    with (
        ChatServer(Reply(waits=True)).running() as server,
        pytest.raises(ModelUnavailable, match="did not finish within"),
    ):
        _model(server, timeout_s=0.2).complete(ASKED)


def test_a_host_that_is_not_there_is_named_with_the_remedy() -> None:
    with ChatServer(said("")).running() as server:
        url = server.url
    with pytest.raises(ModelUnavailable, match=r"cannot be reached.*start the server"):
        RemoteChatModel(parse_endpoint(url + "#tiny"), pause_s=0.001).complete(ASKED)


def test_a_model_that_wants_the_other_name_of_the_length() -> None:
    wants = refused(400, "Unsupported parameter: use 'max_completion_tokens' instead")
    with ChatServer(wants, said("Yes.")).running() as server:
        assert _model(server).complete(ASKED).text == "Yes."
    assert "max_tokens" not in server.requests[1]
    assert server.requests[1]["max_completion_tokens"] == 9


def test_many_requests_come_back_with_their_index_or_error() -> None:
    with ChatServer(said("a"), refused(401, "no"), said("c")).running() as server:
        model = _model(server, connections=1)
        found = dict(model.complete_many([ASKED] * 3))
        assert list(model.complete_many([])) == []
    assert sorted(found) == [0, 1, 2]
    assert sum(isinstance(one, ModelUnavailable) for one in found.values()) == 1
    assert json.dumps(sorted(one.text for one in found.values() if isinstance(one, Completion))) == '["a", "c"]'


def test_a_server_without_a_list_is_asked_for_it_once() -> None:
    with ChatServer(said("Yes.")).running() as server:
        model = RemoteChatModel(parse_endpoint(server.url.removesuffix("/v1") + "/v2#tiny"), pause_s=0.001)
        assert model.limits == ModelLimits()
        assert model.limits == ModelLimits()
        assert model.complete(ASKED).text == "Yes."
