"""A model that has learned nothing answers from a library: nothing of what it writes is passed off as an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lm.checkpoints import TINY
from openbook.assistant.answer.answer import Answer
from openbook.assistant.answer.cite import cite
from openbook.assistant.answer.prompt import NOT_ANSWERED
from openbook.assistant.desk import Library
from openbook.lm.load import new_model, save_model
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.serving.engine.engine import Engine

SIZES = {"hidden_size": 64, "max_position_embeddings": 1_536}
QUESTION = "How many days of leave does everybody have?"
LEAVE = "Everybody has 27 days of leave. Up to 5 unused days may be carried over; they lapse on 31 March."
BADGE = "Visitors wear a red badge. Nobody may lend a badge to somebody else."


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("documents")
    for name, text in (("leave.md", f"# Leave\n\n{LEAVE}\n"), ("badge.md", f"# Badges\n\n{BADGE}\n")):
        (folder / name).write_text(text)
    with Library.open(folder / "library") as opened:
        opened.add(*folder.glob("*.md"))
        yield opened


@pytest.fixture(scope="module", params=range(2))
def asked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, library: Library
) -> tuple[Answer, str]:
    """The answer, and what the model wrote for it. Its weights are so large that it does not only repeat itself."""
    directory = tmp_path_factory.mktemp("model") / "random"
    tokenizer = default_tokenizer()
    sizes = SIZES | {"vocab_size": tokenizer.vocab_size, "eos_token_id": tokenizer.eos_id}
    model = new_model(TINY | sizes, seed=request.param)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "tokens" not in name:
                parameter *= 6
    save_model(model, directory)
    tokenizer.save(directory)
    written: list[str] = []
    with Engine.load(directory, max_num_seqs=1) as engine:
        answer = library.ask(QUESTION, model=engine.chat(), on_text=written.append)
    return answer, "".join(written)


def test_random_weights_abstain(asked: tuple[Answer, str]) -> None:
    answer, written = asked
    assert written.strip(), "the model was asked, and wrote something"
    assert answer.mode == "generative" and answer.abstained
    assert answer.answer == NOT_ANSWERED["en"]
    assert not answer.citations and answer.nearest
    assert "the model wrote an answer that no passage supports: it is not shown" in answer.warnings


def test_every_sentence_of_random_weights_is_marked(library: Library, asked: tuple[Answer, str]) -> None:
    found = cite(library.store, asked[1], library.search(QUESTION))
    assert found.sentences and found.unsupported == len(found.sentences)


def test_the_same_library_answers_by_quotation(library: Library) -> None:
    answer = library.ask(QUESTION)
    assert not answer.abstained and "27 days" in answer.answer
