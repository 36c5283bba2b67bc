"""What a fine-tune forgets: a model is asked the same before and after, on text and questions that it is not taught.

Models that write: perplexity, and probes (beginnings of sentences with a known end). Masked models: the loss of tokens that are
always hidden in the same way, and the same probes. Encoder-decoders: the loss of spans. Encoders alone: how far the vectors of
the texts have turned. In reading order: the report; how a recipe opens it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path

import torch

from openbook.core.errors import BadData
from openbook.core.paths import replacing
from openbook.lm.adapters.attach import activate
from openbook.lm.adapters.slot import find_table
from openbook.lm.families.base import Family
from openbook.lm.tokenizers.corpus import corpus_files, texts_of
from openbook.training.begin import ADAPTER, Begun
from openbook.training.forgetting_measures import Measure, Probe, measure_of
from openbook.training.forgetting_report import NAME
from openbook.training.precision import products_in
from openbook.training.recipe import Recipe, data_paths
from openbook.training.recipe_parts import ForgettingPart

MOST_CHARACTERS = 65_536
"""Of each text, from its beginning."""


@dataclass
class Forgetting:
    """`texts`: name -> text. `before` and `after`: name of a measure -> value."""

    measure: Measure
    texts: Mapping[str, str]
    probes: Sequence[Probe]
    precision: str = "float32"
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)

    def ask_before(self, model: Family) -> None:
        """The base, without the adapter that is trained on it."""
        table = find_table(model)
        is_adapted = table is not None and ADAPTER in table.settings
        if is_adapted:
            activate(model, None)
        try:
            self.before = self._asked(model)
        finally:
            if is_adapted:
                activate(model, ADAPTER)

    def ask_after(self, model: Family) -> None:
        self.after = self._asked(model)

    def lines(self) -> Iterator[str]:
        """For a person."""
        for name, old, new in self._rows():
            share = f" ({100 * (new - old) / abs(old):+.1f} %)" if old else ""
            yield f"forgetting: {name} {old:.4g} before, {new:.4g} after{share}"

    def write(self, run: Path) -> Path:
        """`forgetting.json`: the measures, before and after."""
        rows = [{"name": name, "before": old, "after": new} for name, old, new in self._rows()]
        said = {"texts": list(self.texts), "probes": len(self.probes), "measures": rows}
        with replacing(run / NAME) as file:
            file.write((json.dumps(said, ensure_ascii=False, indent=1) + "\n").encode())
        return run / NAME

    def _rows(self) -> Iterator[tuple[str, float, float]]:
        for name, old in self.before.items():
            if math.isfinite(old) and math.isfinite(new := self.after.get(name, math.nan)):
                yield name, old, new

    @torch.no_grad()
    def _asked(self, model: Family) -> dict[str, float]:
        """Draws nothing and leaves the model in its mode, so that a run with it is the run without it."""
        was_training = model.training
        model.eval()
        try:
            with products_in(self.precision, model.device):
                found = {
                    f"{name}, {what}": value
                    for name, text in self.texts.items()
                    for what, value in self.measure.text(model, name, text).items()
                }
                return found | self.measure.probes(model, self.probes)
        finally:
            model.train(was_training)


def open_forgetting(recipe: Recipe, begun: Begun) -> Forgetting | None:
    """None for a fresh model, which has nothing to forget, and where the recipe says so. BadData for probes that are none."""
    part = ForgettingPart() if recipe.forgetting is True else recipe.forgetting
    if recipe.model.path is None or not isinstance(part, ForgettingPart):
        return None
    general = files("openbook.training").joinpath("general")
    with as_file(general) as folder:
        texts = data_paths(part.texts) if part.texts else [folder / "en.txt", folder / "zh.txt"]
        probes = data_paths([part.probes])[0] if part.probes else folder / "probes.jsonl"
        read = {one.path.name: "".join(texts_of(one))[:MOST_CHARACTERS] for one in corpus_files(texts)}
        return Forgetting(
            measure_of(begun.model, begun.tokenizer, recipe.max_seq_len), read, read_probes(probes), recipe.precision
        )


def read_probes(path: Path) -> list[Probe]:
    """JSON lines {"prompt": ..., "answer": ...}. BadData names the line that is something else."""
    found: list[Probe] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            probe = Probe(said["prompt"], said["answer"])
        except (ValueError, KeyError, TypeError):
            probe = Probe("", "")
        if not (isinstance(probe.prompt, str) and isinstance(probe.answer, str) and probe.prompt and probe.answer):
            raise BadData(f"line {number} of {path} is no probe", 'write {"prompt": "...", "answer": "..."}')
        found.append(probe)
    return found
