"""Encoders with adapters in them, and readers: the same as through torch, places in the text, windows, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import small_groups
import tiny_bert
from openbook.core.errors import ModelUnavailable
from openbook.library.embed.adapted import open_adapted, open_reader
from openbook.lm import reader as module
from openbook.lm.adapters.arrays import merged_arrays
from openbook.lm.adapters.attach import adapter_parameters, attach
from openbook.lm.adapters.files import load_adapter, save_adapter
from openbook.lm.adapters.merge import merge
from openbook.lm.adapters.settings import BottleneckSettings, LoraSettings
from openbook.lm.families.bert_int8 import encoder_arrays
from openbook.lm.heads import load_with_head
from openbook.lm.load import save_model
from openbook.lm.nn.batch import Batch
from openbook.lm.tokenizers.encoder import Encoded


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = small_groups.base(tmp_path)
    model = load_with_head(folder, "ForQuestionAnswering", seed=3).model
    assert model.classifier is not None
    model.classifier.weight.data *= 40
    saved = tmp_path / "reader"
    save_model(model, saved)
    for name in ("vocab.txt", "tokenizer_config.json", "tokenizer.json"):
        if (folder / name).is_file():
            (saved / name).write_bytes((folder / name).read_bytes())
    return saved


PASSAGE = "The cat is of to for. The dog is in on are. The mat is that and was."


def test_spans_are_places_in_the_text_in_any_company(base: Path) -> None:
    reader = open_reader(base, precision="float32")
    pairs = [("What is the dog?", PASSAGE), ("What is the mat?", PASSAGE[:20]), ("the cat", "")]
    found = reader.read(pairs)
    assert 0 <= found[0].start < found[0].end <= len(PASSAGE)
    assert found[2].start == found[2].end == 0 and found[2].margin == float("-inf")
    for pair, together in zip(pairs, found, strict=True):
        (alone,) = reader.read([pair])
        assert alone[:2] == together[:2] and alone.margin == pytest.approx(together.margin, abs=1e-4)


def test_a_part_of_the_passage_can_be_asked_for(base: Path) -> None:
    (located,) = open_reader(base, precision="float32").locate([("What is the dog?", PASSAGE)])
    start, end = PASSAGE.index("The dog"), PASSAGE.index(" The mat")
    part = located.best(start, end)
    assert start <= part.start < part.end <= end
    assert part.margin <= located.best().margin


def test_long_passages_are_read_in_windows(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = " ".join([PASSAGE] * 4)
    monkeypatch.setattr(module, "STRIDE", 7)
    monkeypatch.setattr(module, "_LEAST_ROOM", 8)
    reader = open_reader(base, precision="float32")
    reader._size = 24
    parts = list(reader._parts(0, [1, 2], list(range(50))))
    assert [one.first for one in parts] == [0, 7, 14, 21, 28, 31]
    (located,) = reader.locate([("What is the dog?", long)])
    assert np.isfinite(located.begin).all() and np.isfinite(located.end).all()


def _adapter(folder: Path, settings: LoraSettings | BottleneckSettings) -> Path:
    """A LoRA over `folder`/base with weights that change much, and a head of its own."""
    model = load_with_head(small_groups.base(folder), "ForQuestionAnswering", seed=2).model
    attach(model, settings)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapter_parameters(model, "default"):
            parameter.normal_(0, 0.2, generator=generator)
    save_adapter(model, "default", folder / "adapter")
    return folder / "adapter"


LORA = LoraSettings(r=4, alpha=6.0, target_modules=("all-linear",), trained_modules=("classifier",))


@pytest.mark.parametrize("settings", [LORA, LoraSettings(4, 6.0, 0.0, ("all-linear",), True, False, ("classifier",))])
def test_folding_with_numpy_is_merging_with_torch(tmp_path: Path, settings: LoraSettings) -> None:
    adapter, base = _adapter(tmp_path, settings), tmp_path / "base"
    model = load_with_head(base, "ForQuestionAnswering").model
    merge(model, load_adapter(model, adapter))
    save_model(model, tmp_path / "merged")
    found, wanted = merged_arrays(encoder_arrays(base), adapter), encoder_arrays(tmp_path / "merged")
    assert "qa_outputs.weight" in found
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("precision", "most"), [("float32", 1e-4), ("bfloat16", 0.1), ("int8", 0.1)])
def test_the_vectors_are_those_of_the_merged_model(tmp_path: Path, precision: str, most: float) -> None:
    adapter, base = _adapter(tmp_path, LORA), tmp_path / "base"
    model = load_with_head(base, "ForQuestionAnswering").model
    merge(model, load_adapter(model, adapter))
    ids, segments = [2, 8, 9, 3, 11, 12, 3], [0, 0, 0, 0, 1, 1, 1]
    with torch.no_grad():
        batch = Batch.of([7], causal=False)
        wanted = model(torch.tensor(ids), batch, segments=torch.tensor(segments), head="hidden").numpy()
    try:
        found = open_adapted(base, adapter, precision)  # type: ignore[arg-type]
    except ModelUnavailable as error:
        pytest.skip(str(error))
    got = found.encoder.hidden([Encoded(ids, segments, False)])
    assert np.linalg.norm(got - wanted) <= most * np.linalg.norm(wanted)


def test_the_same_adapter_has_the_same_base_whatever_head_was_drawn(tmp_path: Path) -> None:
    adapter = _adapter(tmp_path, LORA)  # its head was drawn from another seed
    model = load_with_head(tmp_path / "base", "ForQuestionAnswering", seed=9).model
    load_adapter(model, adapter)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_adapter_of_another_base_is_refused(tmp_path: Path, precision: str) -> None:
    """Whose shapes are the same."""
    adapter = _adapter(tmp_path, LORA)
    other = tiny_bert.write(tmp_path / "other", small_groups._wider(tiny_bert.weights(seed=7)), vocab_size=tiny_vocab())
    with pytest.raises(ModelUnavailable, match="was made for the base"):
        open_adapted(other, adapter, precision)  # type: ignore[arg-type]


def tiny_vocab() -> int:
    return len(tiny_bert.WORDS) + 2


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    adapter, base = _adapter(tmp_path, LORA), tmp_path / "base"
    with pytest.raises(ModelUnavailable, match="has no head qa_outputs"):
        open_reader(base, precision="float32")
    other = tiny_bert.write(tmp_path / "other", tiny_bert.weights())
    arrays = {name: value[:, :8] if value.ndim == 2 else value for name, value in encoder_arrays(other).items()}
    with pytest.raises(ModelUnavailable, match="does not fit"):
        merged_arrays(arrays, adapter)
    (adapter / "adapter_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        open_reader(base, adapter)


def test_an_adapter_that_is_no_plain_lora_is_refused(tmp_path: Path) -> None:
    adapter = _adapter(tmp_path, LoraSettings(4, 6.0, 0.0, ("all-linear",), False, True, ("classifier",)))
    with pytest.raises(ModelUnavailable, match="no plain LoRA"):
        open_reader(tmp_path / "base", adapter, "float32")
