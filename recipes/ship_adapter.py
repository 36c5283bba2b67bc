"""Makes a trained adapter one that the package ships: tensors in float16, checked against its base, with where its data is from.

`python recipes/ship_adapter.py RUN/model --name reader-en`. The adapter is attached to the base once, so that files that do not
belong together are refused.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from openbook.library.embed.default import check_default, default_directory
from openbook.lm import weights
from openbook.lm.adapters.files import load_adapter
from openbook.lm.families.bert_config import HeadName
from openbook.lm.heads import load_with_head

HEADS: dict[str, tuple[HeadName, int]] = {
    "reader-en": ("ForQuestionAnswering", 2),
    "reranker-en": ("ForSequenceClassification", 1),
    "nsp-en": ("ForNextSentencePrediction", 2),
}
MOST_BYTES = 6_000_000
LOG_EVERY = 20
_PLACE = re.compile(r"^(\s*- )/\S*/", re.MULTILINE)
"""Of a file of this machine, in a list: its name tells enough."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("--name", choices=HEADS, required=True)
    options = parser.parse_args()
    out = Path(weights.__file__).parent / options.name
    written = ship(options.adapter, options.name, out)
    print(f"{out}: {written / 1e6:.2f} MB")


def ship(adapter: Path, name: str, out: Path) -> int:
    """Writes `out`, and returns its bytes."""
    base = default_directory()
    assert base is not None, "needs the default embedder: `openbook setup embedder`"
    check_default(base)
    load_adapter(load_with_head(base, *HEADS[name]).model, adapter)
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        said = file.metadata() or {}
        tensors = {key: file.get_tensor(key).to(torch.float16) for key in file.keys()}  # noqa: SIM118 (it is no mapping)
    assert all(bool(one.isfinite().all()) for one in tensors.values()), "a weight is too large for float16"
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "adapter_model.safetensors", said)
    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (out / "adapter_model.safetensors").chmod(0o644)
    stated = json.loads(
        (adapter / "tokenizer_config.json").read_text("utf-8")
    )  # pairs are cut where they were in training
    kept_length = {"model_max_length": stated["model_max_length"]}
    (out / "tokenizer_config.json").write_text(json.dumps(kept_length) + "\n", "utf-8")
    run = adapter.parent
    settings = _PLACE.sub(r"\1", (run / "recipe.yaml").read_text("utf-8")).splitlines()
    (out / "recipe.yaml").write_text("\n".join(one for one in settings if not one.startswith("out:")) + "\n", "utf-8")
    rows = (json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines())
    kept = [json.dumps(row) for row in rows if "eval_loss" in row or row["step"] % LOG_EVERY == 0]
    (out / "log.jsonl").write_text("\n".join(kept) + "\n", "utf-8")
    size = sum(path.stat().st_size for path in out.iterdir())
    assert size <= MOST_BYTES, f"{size:,} bytes are more than {MOST_BYTES:,}"
    return size


if __name__ == "__main__":
    main()
