"""The bodies of /v1/load_lora_adapter and /v1/unload_lora_adapter, as vLLM has them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from openbook.app.server.shapes.sampling import Shape

Name = Annotated[str, Field(pattern=r"^\w[\w-]{0,127}$")]
"""What an adapter may be called: letters, digits, - and _."""


class LoadAdapterBody(Shape):
    """`lora_path`: a directory on the server's machine."""

    lora_name: Name
    lora_path: Annotated[str, Field(min_length=1, max_length=4_096)]


class UnloadAdapterBody(Shape):
    lora_name: Annotated[str, Field(max_length=128)]
