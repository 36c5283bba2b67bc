"""Embeddings and reranking over HTTP: the vectors and scores of the models in this process."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

import tiny_bert
from app.server.serving import Server, serving
from command_line import Cli
from openbook.library.embed.open import open_embedder
from openbook.library.embed.pairs import CrossEncoder

TEXTS = ["the cat sat on the mat .", "annual leave days", "年 假 天"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("berts")
    tiny_bert.write(folder / "vectors", tiny_bert.weights())
    tiny_bert.write(folder / "ranker", tiny_bert.weights(labels=1))
    return folder


@pytest.fixture(scope="module")
def texts(model: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    given = ("--embedder", folder / "vectors", "--reranker", folder / "ranker")
    with serving(model, tmp_path_factory.mktemp("home"), *given) as one:
        yield one


def test_vectors_are_those_of_the_embedder(texts: Server, folder: Path) -> None:
    embedder = open_embedder(folder / "vectors")
    assert embedder is not None
    want = embedder.embed(TEXTS, "passage")
    packed = texts.client().embeddings.create(model="vectors", input=TEXTS[0], encoding_format="base64").data[0]
    assert np.allclose(np.frombuffer(base64.b64decode(str(packed.embedding)), "<f4"), want[0], atol=1e-6)
    for form in ("float", openai.omit):
        found = texts.client().embeddings.create(model="vectors", input=TEXTS, encoding_format=form)  # type: ignore[arg-type]
        assert [one.index for one in found.data] == [0, 1, 2]
        assert np.allclose([one.embedding for one in found.data], want, atol=1e-6)
        assert found.usage.prompt_tokens == sum(len(embedder.tokens.spans(text)) for text in TEXTS)
    one = texts.client().embeddings.create(model="vectors", input=TEXTS[1])
    assert np.allclose(one.data[0].embedding, want[1], atol=1e-6)


def test_what_cannot_be_embedded_is_refused(texts: Server) -> None:
    client = texts.client()
    with pytest.raises(openai.BadRequestError, match=r"input\[1\] has 30 tokens, the embedder reads 16"):
        client.embeddings.create(model="vectors", input=["cat", "cat " * 30])
    with pytest.raises(openai.BadRequestError, match="dimensions is not served here"):
        client.embeddings.create(model="vectors", input="cat", dimensions=8)
    with pytest.raises(openai.NotFoundError, match="use 'vectors'"):
        client.embeddings.create(model="text-embedding-3-small", input="cat")
    with texts.http() as http:
        assert "lone surrogate" in http.post("/v1/embeddings", content=b'{"input": "\\ud800"}', headers=JSON).text


JSON = {"Content-Type": "application/json"}


def ranked(server: Server, **body: Any) -> dict[str, Any]:
    with server.http() as http:
        return http.post("/v1/rerank", json={"query": "what leave", "documents": TEXTS} | body).json()


def test_documents_come_by_their_scores(texts: Server, folder: Path) -> None:
    want = CrossEncoder(folder / "ranker").rank("what leave", TEXTS)
    found = ranked(texts)["results"]
    assert [one["index"] for one in found] == list(np.argsort(-want))
    assert np.allclose([one["relevance_score"] for one in found], -np.sort(-want), atol=1e-6)
    assert found[0]["document"]["text"] == TEXTS[found[0]["index"]]
    first = ranked(texts, top_n=1, return_documents=False)["results"]
    assert len(first) == 1 and "document" not in first[0]
    assert ranked(texts, documents=["cat " * 90])["truncated"] == 1


def test_no_reranker_is_told_with_the_cure(server: Server) -> None:
    assert "--reranker DIR" in ranked(server)["error"]["message"]


def test_a_killed_library_process_begins_again(texts: Server) -> None:
    client = texts.client()
    client.embeddings.create(model="vectors", input="cat")
    children = Path(f"/proc/{texts.process.pid}/task/{texts.process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    for _ in range(20):
        try:
            client.embeddings.create(model="vectors", input="cat")
            break
        except openai.InternalServerError as error:
            assert error.status_code == 503
    else:
        pytest.fail("the process did not begin again")
    assert client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "a"}], max_tokens=2
    ).choices


@pytest.mark.parametrize("option", ["--embedder", "--reranker"])
def test_a_directory_without_a_model_is_told_at_the_start(model: Path, tmp_path: Path, option: str) -> None:
    cli = Cli(tmp_path)
    cli("serve", "--model", model, "--port", 0, option, tmp_path / "nothing", code=1)
    assert "nothing" in cli.errors
