"""Small adapters that come with the package, over the encoder that `openbook setup embedder` installs. See NOTICE.md."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from openbook.core.errors import ModelUnavailable

_HERE = Path(__file__).parent
Shipped = Literal["reader-en", "reranker-en", "nsp-en"]


def shipped(name: Shipped) -> Path:
    """The directory of an adapter, as PEFT writes it. ModelUnavailable where the package was built without it."""
    directory = _HERE / name
    if not (directory / "adapter_model.safetensors").is_file():
        raise ModelUnavailable(f"{name} is not in this package", "install the package as it was published")
    return directory


def is_shipped(directory: Path) -> bool:
    """Whether an adapter is one of the package's."""
    return directory.parent == _HERE
