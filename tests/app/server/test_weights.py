"""New weights over HTTP: what a trainer saved is what answers, and only where the server was started for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch

from app.server.serving import Server, serving
from openbook.lm.load import load_model, new_model, save_model

pytestmark = pytest.mark.slow  # servers of their own

ROUTE = "/update_weights_from_disk"


@pytest.fixture(scope="module")
def other(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with other weights."""
    directory = tmp_path_factory.mktemp("other")
    changed = load_model(model)
    with torch.no_grad():
        for place, parameter in enumerate(changed.parameters()):
            parameter += 0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(place))
    save_model(changed, directory)
    return directory


@pytest.fixture(scope="module")
def keyed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    keys = home / "keys"
    keys.write_text("secret-one root admin\nsecret-two guest\n")
    with serving(model, home, "--api-keys", keys, "--allow-weight-updates") as one:
        yield one


@pytest.fixture
def admin(keyed: Server) -> Iterator[httpx.Client]:
    with keyed.http("secret-one") as one:
        yield one


def written(http: httpx.Client) -> list[int]:
    body = {"prompt": [5, 9, 12], "max_tokens": 12, "temperature": 0, "return_token_ids": True, "ignore_eos": True}
    found: list[int] = http.post("/v1/completions", json=body).raise_for_status().json()["choices"][0]["token_ids"]
    return found


def test_answers_follow_the_weights(admin: httpx.Client, model: Path, other: Path) -> None:
    before = written(admin)
    said = admin.post(ROUTE, json={"model_path": str(other)})
    assert said.status_code == 200 and said.json()["success"] is True
    assert written(admin) != before
    assert admin.post(ROUTE, json={"model_path": str(model)}).status_code == 200
    assert written(admin) == before


def test_what_does_not_fit_changes_nothing(admin: httpx.Client, model: Path, tmp_path: Path) -> None:
    before = written(admin)
    raw = load_model(model).raw_config()
    save_model(new_model(raw | {"num_hidden_layers": 1}, seed=0), tmp_path / "smaller")
    (tmp_path / "empty").mkdir()
    for name, code in (("smaller", "bad_weights"), ("empty", "bad_weights"), ("nowhere", "no_directory")):
        said = admin.post(ROUTE, json={"model_path": str(tmp_path / name)})
        assert said.status_code == 400 and said.json()["error"]["code"] == code, said.text
    for name in ("a\0b", "a" * 9_000, "a" * 300):
        assert admin.post(ROUTE, json={"model_path": name}).status_code == 400
    assert written(admin) == before


def test_it_is_for_admins_of_servers_that_allow_it(keyed: Server, server: Server, model: Path) -> None:
    with keyed.http("secret-two") as guest, keyed.http() as nobody, server.http() as closed:
        refused = guest.post(ROUTE, json={"model_path": str(model)})
        assert refused.status_code == 403 and refused.json()["error"]["code"] == "not_an_admin"
        assert nobody.post(ROUTE, json={"model_path": str(model)}).status_code == 401
        refused = closed.post(ROUTE, json={"model_path": str(model)})
        assert refused.status_code == 403 and "--allow-weight-updates" in refused.text
