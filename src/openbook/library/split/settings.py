"""How a library is split: the settings that a generation keeps."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SplitterName = Literal["recursive", "discourse", "semantic"]
ScorerName = Literal["similarity", "next-sentence"]


class SplitSettings(BaseModel):
    """`chunk_tokens`: the most tokens of a chunk's slice, in tokens of the embedder; `overlap_tokens`: the most that a
    chunk repeats of the one before when one long block is cut. `threshold`: of the semantic splitter, the similarity
    above which neighbours are merged; None is its own default. `scorer`: what it asks whether neighbours belong together,
    the embedder's similarity or the package's next-sentence model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    splitter: SplitterName = "recursive"
    chunk_tokens: int = Field(default=192, ge=16, le=8192)
    overlap_tokens: int = Field(default=0, ge=0)
    threshold: float | None = Field(default=None, ge=0.0, le=1.0)
    scorer: ScorerName = "similarity"

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> SplitSettings:
        if self.overlap_tokens * 2 > self.chunk_tokens:
            raise ValueError(f"overlap_tokens {self.overlap_tokens} is over half of chunk_tokens {self.chunk_tokens}")
        return self

    @model_validator(mode="after")
    def _scorer_has_a_use(self) -> SplitSettings:
        if self.scorer != "similarity" and self.splitter != "semantic":
            raise ValueError(f"scorer {self.scorer} is of the splitter semantic, not of {self.splitter}")
        return self
