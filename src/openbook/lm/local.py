"""The models under $OPENBOOK_HOME/models: `OWNER/NAME` or `NAME`, a checkpoint's directory or a .gguf file; found by name."""

from __future__ import annotations

import shutil
from pathlib import Path

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.paths import home


def models_home() -> Path:
    """$OPENBOOK_HOME/models; not created."""
    return home() / "models"


def local_models() -> list[Path]:
    """The directories and .gguf files of the models under `models_home()`, by name. A folder of a model is no model."""
    top = models_home()
    whole = {path.parent for path in top.glob("*/config.json")}
    whole |= {path.parent for path in top.glob("*/*/config.json") if path.parent.parent not in whole}
    files = {path for pattern in ("*.gguf", "*/*.gguf") for path in top.glob(pattern) if path.is_file()}
    return sorted(whole | files)


def local_name(path: Path) -> str:
    """What `model list` calls it: its place under `models_home()`."""
    return path.relative_to(models_home()).as_posix()


def models_named(name: str) -> list[Path]:
    """The local models of this name: whole (OWNER/NAME, NAME.gguf), the last part, or that of a file without .gguf."""
    found = local_models()
    if whole := [one for one in found if name == local_name(one)]:
        return whole
    return [one for one in found if name in (one.name, one.stem if one.suffix == ".gguf" else one.name)]


def model_directory(name: str | Path) -> Path:
    """The directory or the .gguf file of a model: a path that exists, else the local model of this name.

    ModelUnavailable, with the models there are, for a name of none and of several; UsageError for an empty one.
    """
    if not str(name).strip():
        raise UsageError("the name of the model is empty", "give a name from `model list`, a directory, or a GGUF file")
    path = Path(name).expanduser()
    if path.is_dir() or (path.suffix == ".gguf" and path.is_file()):
        return path
    found = models_named(str(name))
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        both = ", ".join(map(local_name, found))
        raise ModelUnavailable(f"{len(found)} models are called {str(name)!r}: {both}", "give the whole name of one")
    here = ", ".join(map(local_name, local_models())) or "none yet"
    raise ModelUnavailable(
        f"{str(name)!r} is no directory, no .gguf file and no model here",
        f"models here: {here}; fetch one with `openbook model pull OWNER/NAME`",
    )


def remove(name: str) -> int:
    """Deletes a model under `models_home()`; the bytes that it had. UsageError for what lies elsewhere or holds several."""
    path = model_directory(name)
    if models_home().resolve() not in path.resolve().parents:
        raise UsageError(
            f"{path} is not under {models_home()}", "delete it yourself: openbook deletes its own models only"
        )
    models = {one.resolve(): local_name(one) for one in local_models()}
    if path.resolve() not in models and (
        inner := [name for one, name in models.items() if path.resolve() in one.parents]
    ):
        raise UsageError(f"{path} is no model, it holds {', '.join(inner)}", "name one of them")
    size = bytes_of(path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    owner = path.resolve().parent
    if owner != models_home().resolve() and not any(owner.iterdir()):
        owner.rmdir()
    return size


def bytes_of(path: Path) -> int:
    """Of a file, or of all files in a directory."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(one.stat().st_size for one in files if one.is_file())
