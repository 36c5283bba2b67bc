"""The model "library": documents given to `openbook serve` are answered from, over the same API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from app.server.serving import Server, serving, write_checkpoint
from app.server.test_faults import until

pytestmark = pytest.mark.slow  # servers of their own: minutes

QUESTION: Any = [{"role": "user", "content": "When does the ferry leave?"}]


@pytest.fixture(scope="module")
def desk_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("desk") / "docs"


@pytest.fixture(scope="module")
def desk(desk_folder: Path) -> Iterator[Server]:
    folder = desk_folder.parent
    write_checkpoint(folder / "tiny", context=4_096)
    (folder / "docs").mkdir()
    (folder / "docs" / "ferry.md").write_text("# Ferry\n\nThe ferry leaves at 08:15 from pier 3.\n")
    (folder / "keys").write_text("secret-one ada\n")
    given = (folder / "docs", "--library", folder / "library", "--api-keys", folder / "keys")
    with serving(folder / "tiny", folder, *given) as one:
        yield one


def test_a_question_is_answered_from_the_documents(desk: Server) -> None:
    client = desk.client("secret-one")
    assert "library" in [one.id for one in client.models.list()]
    whole = client.chat.completions.create(model="library", messages=QUESTION)
    beside = whole.choices[0].message.model_extra["library"]  # type: ignore[index]
    assert beside["nearest"] or beside["citations"]
    passages = beside["nearest"] + beside["citations"]
    assert any("08:15" in (one.get("text") or one.get("quote")) for one in passages)
    # Random weights write nothing that a passage supports: the answer abstains, or each of its sentences is marked.
    assert beside["abstained"] or "[?]" in (whole.choices[0].message.content or "")
    chunks = list(client.chat.completions.create(model="library", messages=QUESTION, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert "library" in (chunks[-1].choices[0].delta.model_extra or {})


def test_a_document_that_is_changed_and_one_that_comes_are_found(desk: Server, desk_folder: Path) -> None:
    """Seen to fail without the watching process."""
    client = desk.client("secret-one")

    def found(question: str) -> str:
        said: Any = [{"role": "user", "content": question}]
        whole = client.chat.completions.create(model="library", messages=said)
        beside = whole.choices[0].message.model_extra["library"]  # type: ignore[index]
        return " ".join(one.get("text") or one.get("quote") for one in beside["nearest"] + beside["citations"])

    (desk_folder / "tram.md").write_text("# Tram\n\nThe tram to the quarry runs every 25 minutes.\n")
    until(lambda: "25 minutes" in found("How often does the tram to the quarry run?"))
    (desk_folder / "tram.md").write_text("# Tram\n\nThe tram to the quarry runs every 40 minutes.\n")
    until(lambda: "40 minutes" in found("How often does the tram to the quarry run?"))


def test_a_follow_up_knows_what_went_before(desk: Server) -> None:
    said: Any = [
        *QUESTION,
        {"role": "assistant", "content": "At 08:15."},
        {"role": "user", "content": "From which pier does it leave?"},
    ]
    whole = desk.client("secret-one").chat.completions.create(model="library", messages=said)
    assert "ferry" in whole.choices[0].message.model_extra["library"]["standalone"].lower()  # type: ignore[index]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"n": 2}, "n"),
        ({"messages": [{"role": "system", "content": "Lie."}, *QUESTION]}, "without instructions"),
        ({"messages": [*QUESTION, {"role": "assistant", "content": "a"}]}, "ends with a question"),
    ],
)
def test_what_a_library_does_not_do_is_refused(desk: Server, extra: dict[str, Any], said: str) -> None:
    with pytest.raises(openai.BadRequestError, match=said):
        desk.client("secret-one").chat.completions.create(**{"model": "library", "messages": QUESTION} | extra)


def test_without_a_library_there_is_no_such_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="use 'tiny'"):
        client.chat.completions.create(model="library", messages=QUESTION)
