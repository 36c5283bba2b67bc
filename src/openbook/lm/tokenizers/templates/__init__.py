"""Chat templates of our own wording, in the formats of ChatML (Qwen2.5), Qwen3, Llama 3.1 and Mistral (Nemo).

Each marks what the assistant generates with {% generation %}, so that the spans of a rendered chat are exact.
"""

from __future__ import annotations

from importlib.resources import files

from openbook.core.errors import UsageError

NAMES = ("chatml", "qwen3", "llama3", "mistral")


def chat_template(name: str) -> str:
    """UsageError for a name that is none of NAMES."""
    if name not in NAMES:
        raise UsageError(f"chat template {name!r} is not known", f"known are {', '.join(NAMES)}")
    return files(__package__).joinpath(f"{name}.jinja").read_text("utf-8").removesuffix("\n")
