"""`openbook run` with a reward model beside the model: the best of several answers, and a guide."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat_server import ChatServer, said
from command_line import Cli
from openbook.lm.load import save_model
from serving.engine.guided import TOKENIZER, scorer, writer

SHORT = ("--max-tokens", 6, "--seed", 1)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One that writes and one that scores."""
    folder = tmp_path_factory.mktemp("models")
    for name, model in (("writer", writer()), ("scorer", scorer().model)):
        save_model(model, folder / name)
        TOKENIZER.save(folder / name)
    return folder / "writer", folder / "scorer"


def test_the_best_of_several_is_shown(cli: Cli, models: tuple[Path, Path]) -> None:
    model, reward = models
    plain = cli("run", model, *SHORT, stdin="Hello?\n")
    best = cli("run", model, *SHORT, "--best-of", 4, "--reward", reward, stdin="Hello?\n")
    assert plain.strip() and best.strip() and plain != best


def test_a_guide_changes_the_answer_and_one_without_weight_does_not(cli: Cli, models: tuple[Path, Path]) -> None:
    model, reward = models
    plain = cli("run", model, *SHORT, "--temperature", 0, stdin="Hello?\n")
    options = (*SHORT, "--temperature", 0, "--guide", reward, "--guide-weight")
    assert cli("run", model, *options, 0, stdin="Hello?\n") == plain
    assert cli("run", model, *options, 50, stdin="Hello?\n") != plain


def test_a_server_is_asked_several_times(cli: Cli, models: tuple[Path, Path]) -> None:
    with ChatServer(said("one"), said("two")).running() as server:
        shown = cli("run", f"{server.url}#tiny", "--best-of", 2, "--reward", models[1], stdin="Hello?\n")
        assert shown.strip() in ("one", "two")
        assert len(server.requests) == 2
        cli("run", f"{server.url}#tiny", "--guide", models[1], code=2, stdin="")
        assert "--guide is for a model that runs here" in cli.errors


def test_what_does_not_go_together_is_told(cli: Cli, models: tuple[Path, Path]) -> None:
    model, reward = models
    cli("run", reward, code=1, stdin="Hello?\n")
    assert "scores texts and writes none" in cli.errors
    cli("run", model, "--best-of", 4, code=2, stdin="")
    assert "--reward DIR" in cli.errors
    cli("run", model, "--reward", reward, code=2, stdin="")
    assert "--best-of 8" in cli.errors
    cli("run", model, "--best-of", 4, "--reward", reward, "--temperature", 0, code=2, stdin="")
    assert "temperature 0" in cli.errors
    cli("run", model, "--guide", model, code=1, stdin="")
    assert "no head for a score" in cli.errors
