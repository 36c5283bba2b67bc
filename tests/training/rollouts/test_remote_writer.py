"""A server writes what the engine in this process would have written; one that is down, slow or talks nonsense is named."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine_server import EngineServer
from openbook.core.errors import ModelUnavailable, RunStopped
from openbook.serving.endpoint import parse_endpoint
from openbook.training.parallel import Ranks
from openbook.training.rollouts.completion_server import CompletionServer
from openbook.training.rollouts.push import WeightPush
from openbook.training.rollouts.remote_writer import RemoteWriter, at_once
from openbook.training.rollouts.written import Prompted, Written
from small_rollouts import VOCABULARY, model, tokenizer, writer

PROMPTS = [Prompted([5, 9, 12, 40], 3, 7, 10), Prompted(list(range(20, 41)), 2, 900, 6)]


@pytest.fixture
def server() -> Iterator[EngineServer]:
    with EngineServer(model()).running() as one:
        yield one


def opened(server: EngineServer, **named: Any) -> CompletionServer:
    made = tokenizer()
    assert made.eos_id is not None
    said: dict[str, Any] = {"vocab_size": VOCABULARY, "attempts": 2, "pause_s": 0.0, "timeout_s": 30.0} | named
    found = CompletionServer(parse_endpoint(server.url), made, [made.eos_id], **said)
    server.closing.callback(found.close)
    found.probe()
    return found


def remote(of: CompletionServer, push: WeightPush | None = None, temperature: float = 1.0) -> RemoteWriter:
    return RemoteWriter(of, push, temperature=temperature, max_num_seqs=8)


def tokens(written: list[list[Written]]) -> list[list[list[int]]]:
    return [[one.tokens for one in group] for group in written]


def logprobs(written: list[list[Written]]) -> list[float]:
    return [value for group in written for one in group for value in one.logprobs]


@pytest.mark.parametrize("temperature", [1.0, 0.6, 0.0])
def test_it_writes_what_the_engine_here_does(server: EngineServer, temperature: float) -> None:
    local = writer(model(), temperature)
    found = remote(opened(server), temperature=temperature).write(PROMPTS)
    wanted = local.write(PROMPTS)
    assert tokens(found) == tokens(wanted)
    assert logprobs(found) == pytest.approx(logprobs(wanted), abs=1e-5)
    assert [[one.is_finished for one in group] for group in found] == [
        [one.is_finished for one in group] for group in wanted
    ]


def test_nothing_but_temperature_changes_what_is_drawn(server: EngineServer) -> None:
    remote(opened(server)).write(PROMPTS)
    for said in server.requests:
        assert (said["top_p"], said["top_k"], said["min_p"], said["repetition_penalty"]) == (1.0, -1, 0.0, 1.0)
        assert said["stop_token_ids"] == [tokenizer().eos_id] and "stop" not in said
        assert 0 <= said["seed"] < 2**62


def test_many_completions_are_several_requests_with_the_same_draws(
    server: EngineServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = remote(opened(server))
    whole = tokens(one.write(PROMPTS))
    monkeypatch.setattr("openbook.training.rollouts.remote_writer._MOST_COMPLETIONS", 1)
    assert tokens(one.write(PROMPTS)) == whole
    assert [said["n"] for said in server.requests[-5:]] == [1] * 5


def test_weights_that_are_pushed_change_what_is_written(server: EngineServer, tmp_path: Path) -> None:
    policy = model()
    of = opened(server)
    push = WeightPush(policy, tokenizer(), tmp_path / "push", of, Ranks())
    one = remote(of, push)
    renewal = one.renew()
    assert renewal.bytes > 0 and renewal.seconds > 0
    before = one.write(PROMPTS)
    with torch.no_grad():
        for place, parameter in enumerate(policy.parameters()):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(place)))
    assert tokens(one.write(PROMPTS)) == tokens(before)  # not told yet
    one.renew()
    after = one.write(PROMPTS)
    wanted = writer(policy).write(PROMPTS)
    assert tokens(after) == tokens(wanted) != tokens(before)
    assert logprobs(after) == pytest.approx(logprobs(wanted), abs=1e-4)
    assert [path.name for path in (tmp_path / "push").iterdir()] == ["policy-000002"]


def test_what_is_no_push_stays_in_the_folder(server: EngineServer, tmp_path: Path) -> None:
    for name in ("policy-old", "mine", "policy-000009"):
        (tmp_path / name).mkdir()
    of = opened(server)
    remote(of, WeightPush(model(), tokenizer(), tmp_path, of, Ranks())).renew()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "policy-000001", "policy-old"]


def test_a_server_that_takes_no_weights_stops_the_run(server: EngineServer, tmp_path: Path) -> None:
    server.allows = False
    of = opened(server)
    with pytest.raises(RunStopped, match=r"not changed here.*--allow-weight-updates.*--resume"):
        remote(of, WeightPush(model(), tokenizer(), tmp_path, of, Ranks())).renew()


def test_a_full_disk_stops_the_run_and_leaves_nothing(
    server: EngineServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    of = opened(server)
    push = WeightPush(model(), tokenizer(), tmp_path, of, Ranks())
    monkeypatch.setattr("openbook.training.rollouts.push.save_model", full)
    with pytest.raises(RunStopped, match=r"No space left.*make room"):
        push.push()
    assert not server.updates and not list(tmp_path.iterdir())


def test_text_without_ids_is_tokenised_again(server: EngineServer) -> None:
    server.tells = "text"
    of = opened(server)
    assert not of.gives_ids and not of.gives_logprobs
    found = remote(of).write(PROMPTS)
    assert all(math.isnan(value) for value in logprobs(found))
    for group, wanted in zip(found, writer(model()).write(PROMPTS), strict=True):
        for one, other in zip(group, wanted, strict=True):
            assert len(one.tokens) == len(one.logprobs) <= 10
            assert one.is_finished <= other.is_finished


def test_ids_without_log_probabilities(server: EngineServer) -> None:
    server.tells = "ids"
    of = opened(server)
    assert of.gives_ids and not of.gives_logprobs
    found = remote(of).write(PROMPTS)
    assert tokens(found) == tokens(writer(model()).write(PROMPTS))
    assert all(math.isnan(value) for value in logprobs(found))


def test_an_end_that_the_server_leaves_out_is_put_back(server: EngineServer) -> None:
    of = opened(server)
    server.changes = {"token_ids": [7], "logprobs": {"token_logprobs": [-0.5]}, "finish_reason": "stop"}
    ((one, *_), *_) = remote(of).write(PROMPTS)
    assert one.tokens == [7, tokenizer().eos_id] and one.is_finished
    assert one.logprobs[0] == -0.5 and math.isnan(one.logprobs[1])


def test_a_server_that_minds_unknown_fields_is_asked_without_them(server: EngineServer) -> None:
    server.faults = [(400, b'{"error": {"message": "Unrecognized request argument supplied: top_k"}}')]
    remote(opened(server)).write(PROMPTS)
    assert "top_k" in server.requests[0] and "top_k" not in server.requests[-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token_ids": [VOCABULARY]}, "not those of this model"),
        ({"token_ids": [1, "2"]}, "not those of this model"),
        ({"token_ids": None}, "not those of this model"),
        ({"token_ids": [1] * 11, "logprobs": {"token_logprobs": [-1.0] * 11}}, "more than the"),
        ({"logprobs": None}, "not one for each"),
        ({"token_ids": [1, 2, 3], "logprobs": {"token_logprobs": [-1.0]}}, "not one for each"),
        ({"token_ids": [1], "logprobs": {"token_logprobs": [float("nan")]}}, "that are none"),
        ({"token_ids": [1], "logprobs": {"token_logprobs": [0.7]}}, "that are none"),
        ({"finish_reason": "abort"}, "ended with 'abort'"),
        ({"index": 0}, "indices"),
    ],
)
def test_nonsense_is_named(server: EngineServer, changes: dict[str, Any], message: str) -> None:
    of = opened(server)
    server.changes = changes
    with pytest.raises(RunStopped, match=f"{message}.*--resume"):
        remote(of).write(PROMPTS)


@pytest.mark.parametrize("index", ["0", None, False, 0.0])
def test_an_index_that_is_no_number_is_named(server: EngineServer, index: object) -> None:
    of = opened(server)
    server.changes = {"index": index}
    with pytest.raises(ModelUnavailable, match="indices"):
        of.write(Prompted([5, 9, 12], 1, 7, 4), 1.0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "no JSON"),
        (b"[]", "list instead of an object"),
        (b"{}", "no list of completions"),
        (b'{"choices": []}', "0 completions"),
        (b'{"choices": [1, 2, 3]}', "no list of completions"),
    ],
)
def test_an_answer_of_another_shape_is_named(server: EngineServer, body: bytes, message: str) -> None:
    of = opened(server)
    server.faults = [(200, body)] * 9
    with pytest.raises(RunStopped, match=message):
        remote(of).write(PROMPTS)


def test_a_server_that_is_busy_is_asked_again(server: EngineServer) -> None:
    of = opened(server)
    server.faults = [(429, b"{}")]
    assert tokens(remote(of).write(PROMPTS[:1])) == tokens(writer(model()).write(PROMPTS[:1]))
    server.faults = [(503, b"{}")] * 9
    with pytest.raises(RunStopped, match=r"answered 503.*2 times"):
        remote(of).write(PROMPTS[:1])


def test_a_server_that_hangs_is_given_up(server: EngineServer) -> None:
    of = opened(server, timeout_s=0.5)
    server.faults = [(0, b"")] * 9
    with pytest.raises(RunStopped, match=r"did not finish within 0.5 s.*--resume"):
        remote(of).write(PROMPTS[:1])


def test_a_server_that_is_down_is_named() -> None:
    with EngineServer(model()).running() as one:
        of = opened(one)
        of.close()
    with pytest.raises(RunStopped, match="cannot be reached"):
        remote(of).write(PROMPTS[:1])
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        of.probe()


def test_the_key_is_sent_and_never_said(server: EngineServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBOOK_API_KEY", "sesame-17")
    of = opened(server)
    assert all(said["Authorization"] == "Bearer sesame-17" for said in server.headers)
    server.faults = [(401, json.dumps({"error": {"message": "bad key sesame-17"}}).encode())]
    with pytest.raises(RunStopped) as caught:
        remote(of).write(PROMPTS[:1])
    assert "sesame" not in f"{caught.value} {caught.value.remedy}" and "OPENBOOK_API_KEY" in caught.value.remedy


def test_at_once_keeps_the_order_and_begins_nothing_after_an_error() -> None:
    assert at_once(lambda one: one * 2, range(50), 7) == list(np.arange(50) * 2)
    assert at_once(lambda one: one, [], 3) == []
    begun: list[int] = []

    def work(one: int) -> int:
        begun.append(one)
        raise ValueError("no")

    before = threading.active_count()
    with pytest.raises(ValueError, match="no"):
        at_once(work, range(40), 1)
    assert begun == [0] and threading.active_count() == before
