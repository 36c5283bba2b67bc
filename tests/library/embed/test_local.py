from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny_bert
from openbook.library.embed.describe import describe_directory
from openbook.library.embed.encoders import Precision
from openbook.library.embed.local import SentenceEmbedder
from openbook.lm.kernels.cpu import why_not_int8

ARRAYS = tiny_bert.weights()
GOLDEN = json.loads((Path(__file__).parent / "golden_minilm.json").read_text("utf-8"))
TEXTS = ["the cat sat on the mat.", "annual leave", "", "days " * 40, "年假", "what would the people do?"]
needs_int8 = pytest.mark.skipif(bool(why_not_int8()), reason=f"int8 {why_not_int8()}")
PRECISIONS = ["float32", "bfloat16", pytest.param("int8", marks=needs_int8)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert.write(tmp_path_factory.mktemp("embedder"), ARRAYS)


def want(text: str) -> np.ndarray:
    words = [tiny_bert.WORDS.index(w) for w in text.replace(".", " .").replace("?", " ?").split()]
    hidden = tiny_bert.reference(ARRAYS, [2, *words[:14], 3])
    mean = hidden.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def test_vectors_equal_the_reference(directory: Path) -> None:
    embedder = SentenceEmbedder(describe_directory(directory), "float32")
    texts = [text for text in TEXTS if text != "年假"]
    got = embedder.embed(texts, "passage")
    assert got.dtype == np.float32
    assert np.abs(got - np.stack([want(text) for text in texts])).max() < 1e-5


@pytest.mark.parametrize(
    ("precision", "mean", "difference"),
    [("float32", 0.999999, 1e-5), ("bfloat16", 0.999, 1.0), pytest.param("int8", 0.99, 1.0, marks=needs_int8)],
)
def test_the_default_embedder_equals_sentence_transformers(
    minilm: Path, precision: Precision, mean: float, difference: float
) -> None:
    vectors = SentenceEmbedder(describe_directory(minilm), precision).embed(GOLDEN["texts"], "passage")
    golden = np.array(GOLDEN["vectors"])
    assert np.abs(vectors - golden).max() < difference
    assert (vectors * golden).sum(axis=1).mean() > mean


@pytest.mark.parametrize("precision", PRECISIONS)
@given(order=st.permutations(range(len(TEXTS))))
def test_a_vector_does_not_depend_on_its_batch(directory: Path, precision: Precision, order: list[int]) -> None:
    embedder = _cached(directory, precision)
    alone = np.concatenate([embedder.embed([TEXTS[place]], "query") for place in order])
    together = embedder.embed([TEXTS[place] for place in order], "query")
    if precision == "int8":
        assert np.array_equal(alone, together)
    else:
        assert np.allclose(alone, together, atol=1e-5 if precision == "float32" else 0.02)


_EMBEDDERS: dict[tuple[Path, str], SentenceEmbedder] = {}


def _cached(directory: Path, precision: Precision) -> SentenceEmbedder:
    return _EMBEDDERS.setdefault((directory, precision), SentenceEmbedder(describe_directory(directory), precision))


def test_texts_that_are_too_long_are_counted_and_named(directory: Path) -> None:
    embedder = SentenceEmbedder(describe_directory(directory), "float32")
    result = embedder.embed_counted(["cat", "mat " * 14, "mat " * 15, "dog " * 99], "passage")
    assert result.truncated == (2, 3)
    embedder.embed(["cat " * 50], "query")
    assert embedder.truncated == 3


def test_no_texts_and_many_texts(directory: Path) -> None:
    embedder = _cached(directory, "float32")
    assert embedder.embed([], "query").shape == (0, tiny_bert.E)
    many = embedder.embed(["the cat", "a dog sat"] * 700, "passage")
    assert np.allclose(many[0::2], many[0], atol=1e-5)
    assert np.allclose(many[1::2], many[1], atol=1e-5)


def test_threads_share_an_embedder(directory: Path) -> None:
    embedder = SentenceEmbedder(describe_directory(directory), "float32")
    expected = _cached(directory, "float32").embed(TEXTS, "query")
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(embedder.embed(TEXTS, "query"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert all(np.allclose(result, expected, atol=1e-6) for result in results)


def test_prompts_stand_before_the_text(tmp_path: Path) -> None:
    tiny_bert.write(tmp_path, ARRAYS)
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "what is "}}))
    embedder = SentenceEmbedder(describe_directory(tmp_path), "float32")
    assert np.allclose(embedder.embed(["leave"], "query")[0], want("what is leave"), atol=1e-5)
    assert np.allclose(embedder.embed(["leave"], "passage")[0], want("leave"), atol=1e-5)


def test_token_vectors_are_those_before_pooling(directory: Path) -> None:
    embedder = SentenceEmbedder(describe_directory(directory), "float32")
    texts = ["the cat sat on the mat.", "", "days " * 40, "annual leave"]
    found = embedder.embed_tokens(texts)
    assert [len(one.vectors) for one in found] == [7, 0, 14, 2]
    for text, one in zip(texts, found, strict=True):
        words = [text[start:end] for start, end in one.spans.tolist()]
        assert words == text.replace(".", " .").split()[:14]
        hidden = tiny_bert.reference(ARRAYS, [2, *map(tiny_bert.WORDS.index, words), 3])[1:-1]
        assert np.abs(one.vectors - hidden / np.linalg.norm(hidden, axis=1, keepdims=True)).max(initial=0) < 1e-5
