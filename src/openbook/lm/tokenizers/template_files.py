"""Where a checkpoint keeps its chat templates: chat_template.jinja, more of them in a folder, or tokenizer_config.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openbook.core.errors import ModelUnavailable
from openbook.core.paths import replacing
from openbook.lm.disk import make_directory, told

_FILE = "chat_template.jinja"
_FOLDER = "additional_chat_templates"
_NAME = re.compile(r"[\w-]{1,64}")


def read_templates(directory: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """Name -> template, "default" the one for every chat. Files go before tokenizer_config.json. ModelUnavailable if broken."""
    found: dict[str, str] = {}
    said = settings.get("chat_template")
    if isinstance(said, str):
        found["default"] = said
    elif isinstance(said, list | dict):
        found |= _several(said, directory)
    elif said is not None:
        raise ModelUnavailable(f"chat_template of {directory} is {type(said).__name__}", "write a text")
    paths = {"default": directory / _FILE}
    paths |= {path.stem: path for path in sorted((directory / _FOLDER).glob("*.jinja"))}
    files = {name: _read(path) for name, path in paths.items() if path.is_file()}
    return files or found


def _several(said: list[Any] | dict[str, Any], directory: Path) -> dict[str, str]:
    try:
        pairs = said if isinstance(said, dict) else {one["name"]: one["template"] for one in said}
        if not all(isinstance(text, str) for text in pairs.values()):
            raise TypeError("a template is no text")
    except (KeyError, TypeError) as error:
        raise ModelUnavailable(
            f"chat_template of {directory} cannot be read: {error}", "write a text, or a list of {name, template}"
        ) from None
    return {str(name): text for name, text in pairs.items()}


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"{path} cannot be read: {error}", "copy the checkpoint again") from None


def write_templates(directory: Path, templates: Mapping[str, str]) -> None:
    """The files for `templates`; those of an earlier tokenizer are taken away."""
    folder = directory / _FOLDER
    for old in (directory / _FILE, *folder.glob("*.jinja")):
        old.unlink(missing_ok=True)
    for name, text in templates.items():
        if not _NAME.fullmatch(name):
            raise ModelUnavailable(f"a chat template is called {name!r}", "use letters, digits, '-' and '_'")
        path = directory / _FILE if name == "default" else folder / f"{name}.jinja"
        make_directory(path.parent)
        with told(path), replacing(path) as file:
            file.write(text.encode())
