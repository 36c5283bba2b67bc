"""Adapters over HTTP: each request gets the model that it names, and only admins change which there are."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch

from app.server.serving import Server, serving
from app.server.test_faults import LONG, events, held, until
from openbook.core.messages import SamplingParams
from openbook.lm.adapters.attach import activate, adapter_parameters, attach, detach
from openbook.lm.adapters.files import save_adapter
from openbook.lm.adapters.settings import LoraSettings, PrefixSettings, Settings
from openbook.lm.load import load_model
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving import Engine

pytestmark = pytest.mark.slow  # servers of their own: minutes

KINDS: dict[str, Settings] = {
    "ada": LoraSettings(r=2, alpha=8.0),
    "bob": LoraSettings(r=8, target_modules=("all-linear",)),
    "cy": PrefixSettings(6),
}
PROMPTS = ("What is a river?", "Once upon a time there was a stone that", "a")
GREEDY: dict[str, Any] = {"max_tokens": 12, "temperature": 0, "ignore_eos": True}


@pytest.fixture(scope="module")
def adapters(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for each kind, with changes that are as large as the weights."""
    root = tmp_path_factory.mktemp("adapters")
    base = load_model(model)
    for place, (name, chosen) in enumerate(KINDS.items()):
        attach(base, chosen, name, seed=place)
        generator = torch.Generator().manual_seed(place)
        with torch.no_grad():
            for parameter in adapter_parameters(base, name):
                parameter += 0.3 * torch.empty(parameter.shape).normal_(generator=generator)
        save_adapter(base, name, root / name)
        activate(base, None)
        detach(base, name)
    return root


@pytest.fixture(scope="module")
def server(model: Path, adapters: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    keys = home / "keys"
    keys.write_text("secret-one root admin\nsecret-two guest\n")
    named = [f"--adapter={name}={adapters / name}" for name in KINDS]
    with serving(model, home, "--max-num-seqs", 16, "--max-adapters", 4, "--api-keys", keys, *named) as one:
        yield one


@pytest.fixture
def admin(server: Server) -> Iterator[httpx.Client]:
    with server.http("secret-one") as one:
        yield one


def asked(server: Server, name: str, prompt: str) -> str:
    return server.client("secret-one").completions.create(model=name, prompt=prompt, **_body()).choices[0].text


def _body() -> dict[str, Any]:
    known = {key: value for key, value in GREEDY.items() if key != "ignore_eos"}
    return known | {"extra_body": {"ignore_eos": True}}


def alone(model: Path, adapters: Path, name: str, prompts: tuple[str, ...]) -> list[str]:
    """By an engine of its own, one after the other."""
    tokenizer = Tokenizer.load(model)
    chosen = {name: adapters / name} if name in KINDS else {}
    found = []
    with Engine.load(model, adapters=chosen) as engine:
        for prompt in prompts:
            ticket = engine.submit(
                tokenizer.encode(prompt), SamplingParams(**GREEDY), adapter=name if name in KINDS else None
            )
            found.append(tokenizer.decode([event.chosen.token for event in ticket]))
    return found


def test_many_in_one_batch_are_each_as_alone(server: Server, model: Path, adapters: Path) -> None:
    names = ["tiny", *KINDS]
    with ThreadPoolExecutor(12) as pool:
        with held(server):
            waiting = {(name, prompt): pool.submit(asked, server, name, prompt) for name in names for prompt in PROMPTS}
            until(lambda: server.metric("openbook:sequences_inside", "secret-one") == len(waiting))
        together = {key: one.result() for key, one in waiting.items()}
    expected = {name: alone(model, adapters, name, PROMPTS) for name in names}
    assert {name: [together[name, prompt] for prompt in PROMPTS] for name in names} == expected
    assert len({tuple(said) for said in expected.values()}) == len(names)


def test_every_route_takes_the_adapter_and_says_its_name(server: Server) -> None:
    client = server.client("secret-one")
    messages: Any = [{"role": "user", "content": "Hello?"}]
    said: dict[str, list[str | None]] = {}
    for name in ("tiny", "ada", "cy"):
        chat = client.chat.completions.create(
            model=name, messages=messages, temperature=0, max_tokens=8, extra_body={"ignore_eos": True}
        )
        response = client.responses.create(
            model=name, input="Hello?", temperature=0, max_output_tokens=8, extra_body={"ignore_eos": True}
        )
        assert chat.model == response.model == name
        assert chat.choices[0].message.content == response.output_text
        echo = client.completions.create(model=name, prompt="Hello there", max_tokens=0, echo=True, logprobs=0)
        assert echo.choices[0].logprobs is not None
        said[name] = [chat.choices[0].message.content, str(echo.choices[0].logprobs.token_logprobs)]
    assert len({one[0] for one in said.values()}) == len({one[1] for one in said.values()}) == 3


def test_they_are_listed_below_their_base(server: Server) -> None:
    found = {one.id: one for one in server.client("secret-two").models.list()}
    assert found["tiny"].model_extra is not None and found["tiny"].model_extra["parent"] is None
    for name in KINDS:
        extra = found[name].model_extra
        assert extra is not None and extra["parent"] == "tiny"
    assert found["cy"].model_extra is not None and found["cy"].model_extra["max_model_len"] == 512 - 6
    with server.http("secret-two") as http:
        assert "'ada'" in http.post("/v1/completions", json={"model": "dan", "prompt": "a"}).json()["error"]["message"]
        said = http.post("/v1/completions", json={"model": "cy", "prompt": [5] * 506})
        assert "506 tokens and 6 of the adapter, the limit is 512" in said.json()["error"]["message"]
    assert any(line.startswith("adapters") and "ada, bob, cy; 4" in line for line in server.lines)


def test_an_answer_of_no_stated_length_leaves_room_for_virtual_tokens(
    model: Path, adapters: Path, tmp_path: Path
) -> None:
    with serving(model, tmp_path, "--max-num-seqs", 1, f"--adapter=cy={adapters / 'cy'}") as server:
        for name in ("cy", "tiny"):
            whole = server.client().chat.completions.create(
                model=name, messages=[{"role": "user", "content": "Go on."}], extra_body={"ignore_eos": True}
            )
            assert whole.usage is not None and whole.usage.total_tokens > 450


def test_admins_load_and_unload_while_it_serves(server: Server, admin: httpx.Client, adapters: Path) -> None:
    new = {"lora_name": "new", "lora_path": str(adapters / "ada")}
    with pytest.raises(openai.NotFoundError):
        asked(server, "new", PROMPTS[0])
    added = admin.post("/v1/load_lora_adapter", json=new)
    assert added.status_code == 200 and added.text == "Success: LoRA adapter 'new' added successfully."
    assert server.metric("openbook:adapters_loaded", "secret-one") == 4
    assert asked(server, "new", PROMPTS[0]) == asked(server, "ada", PROMPTS[0])
    assert "already" in admin.post("/v1/load_lora_adapter", json=new).json()["error"]["message"]
    full = admin.post("/v1/load_lora_adapter", json=new | {"lora_name": "more"})
    assert full.status_code == 400 and "there are 4 adapters" in full.text
    assert admin.post("/v1/unload_lora_adapter", json={"lora_name": "new"}).status_code == 200
    assert admin.post("/v1/unload_lora_adapter", json={"lora_name": "new"}).status_code == 404
    with pytest.raises(openai.NotFoundError):
        asked(server, "new", PROMPTS[0])
    assert admin.post("/v1/load_lora_adapter", json=new | {"lora_path": str(adapters / "bob")}).status_code == 200
    assert asked(server, "new", PROMPTS[0]) == asked(server, "bob", PROMPTS[0])  # nothing of the old one is cached
    assert admin.post("/v1/unload_lora_adapter", json={"lora_name": "new"}).status_code == 200


def test_one_that_is_in_use_stays(server: Server, admin: httpx.Client) -> None:
    body = LONG | {"model": "bob"}
    with server.http("secret-two") as http, http.stream("POST", "/v1/chat/completions", json=body) as response:
        said = events(response)
        next(said)
        with held(server):
            refused = admin.post("/v1/unload_lora_adapter", json={"lora_name": "bob"})
            assert refused.status_code == 409 and "1 requests that use adapter 'bob'" in refused.text
    assert asked(server, "bob", "a")


def test_others_than_admins_may_not(server: Server, model: Path, adapters: Path, tmp_path: Path) -> None:
    new = {"lora_name": "new", "lora_path": str(adapters / "ada")}
    with server.http("secret-two") as http:
        for path, body in (("load", new), ("unload", {"lora_name": "ada"})):
            refused = http.post(f"/v1/{path}_lora_adapter", json=body)
            assert refused.status_code == 403 and refused.json()["error"]["type"] == "permission_error"
    with server.http() as http:
        assert http.post("/v1/load_lora_adapter", json=new).status_code == 401
    with serving(model, tmp_path, "--max-adapters", 1) as open_, open_.http() as http:
        refused = http.post("/v1/load_lora_adapter", json=new)
        assert refused.status_code == 403 and "--allow-runtime-adapters" in refused.text
    with serving(model, tmp_path, "--max-adapters", 1, "--allow-runtime-adapters") as open_, open_.http() as http:
        assert http.post("/v1/load_lora_adapter", json=new).status_code == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"lora_name": "a b", "lora_path": "x"}, "lora_name"),
        ({"lora_name": "", "lora_path": "x"}, "lora_name"),
        ({"lora_name": "tiny", "lora_path": "x"}, "is taken"),
        ({"lora_name": "library", "lora_path": "x"}, "is taken"),
        ({"lora_name": "keys", "lora_path": "x"}, "x"),
        ({"lora_name": "new"}, "lora_path"),
        ({"lora_name": "new", "lora_path": ""}, "lora_path"),
        ({"lora_name": "new", "lora_path": "nowhere"}, "'nowhere' is not a directory"),
        ({"lora_name": "new", "lora_path": "a\0b"}, "not a directory"),
        ({"lora_name": "new", "lora_path": "x" * 4_000}, "cannot be read"),
        ({"lora_name": "new", "lora_path": "x", "rank": 2}, "'rank' is not known"),
    ],
)
def test_what_cannot_be_loaded_is_told(admin: httpx.Client, body: dict[str, str], said: str) -> None:
    refused = admin.post("/v1/load_lora_adapter", json=body)
    assert refused.status_code == 400 and said in refused.json()["error"]["message"]
    surrogate = b'{"lora_name": "new", "lora_path": "\\ud800"}'
    assert (
        admin.post("/v1/load_lora_adapter", content=surrogate, headers={"Content-Type": "application/json"}).status_code
        == 400
    )
