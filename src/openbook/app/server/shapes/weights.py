"""The body of /update_weights_from_disk, as SGLang has it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from openbook.app.server.shapes.sampling import Shape


class UpdateWeightsBody(Shape):
    """`model_path`: a directory on the server's machine."""

    model_path: Annotated[str, Field(min_length=1, max_length=4_096)]
