"""An answer on its way through the engine: its tokens, how far they are computed, and where their keys and values lie."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from openbook.core.messages import SamplingParams
from openbook.serving.engine.constraint import Constraint
from openbook.serving.engine.events import Chosen, FinishReason

if TYPE_CHECKING:
    from openbook.serving.engine.adapters import Adapter
    from openbook.serving.engine.processor import LogitsProcessor

Status = Literal["waiting", "running", "finished"]


@dataclass(eq=False)
class Sequence:
    """`tokens`: prompt and what was generated. `num_computed`: those whose keys and values are in `block_table`.

    `num_cached`: tokens of the prompt that were found computed when it was first admitted. `hashes`: the names of the full
    blocks in front. `number`: the order of arrival; a lower one goes first and is preempted last. `constraint`: how far the
    answer has come in its grammar. `request`, `answer`: which answer to which request it is; -1: the request of its own number.
    `num_forks`: further answers that begin when the prompt is computed. `prompt_scores`: of the prompt's tokens from the second
    on, as far as they are known. `limit`: the most tokens it may have, prompt and answer. `num_wished`: guesses that the next
    step should have room for; `num_drafted`: tokens that a draft model has computed. `adapter`: its virtual tokens, if any, are
    the first `num_virtual` of `tokens`, each -1; they count as tokens of the prompt. `processor`: what changes its logits.
    """

    number: int
    tokens: list[int]
    params: SamplingParams
    num_prompt: int
    salt: bytes = b""
    status: Status = "waiting"
    num_computed: int = 0
    num_cached: int = 0
    block_table: list[int] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    constraint: Constraint | None = None
    request: int = -1
    answer: int = 0
    num_forks: int = 0
    prompt_scores: list[Chosen] = field(default_factory=list)
    limit: int = 1 << 60
    num_wished: int = 0
    num_drafted: int = 0
    adapter: Adapter | None = None
    processor: LogitsProcessor | None = None

    def __post_init__(self) -> None:
        if self.request < 0:
            self.request = self.number

    @property
    def num_virtual(self) -> int:
        return self.adapter.num_virtual if self.adapter is not None else 0

    @property
    def output(self) -> list[int]:
        return self.tokens[self.num_prompt :]

    @property
    def num_output(self) -> int:
        return len(self.tokens) - self.num_prompt

    @property
    def num_to_compute(self) -> int:
        return len(self.tokens) - self.num_computed

    @property
    def is_scored(self) -> bool:
        """Whether the logits of its prompt are still wanted."""
        return self.params.prompt_logprobs is not None and self.num_scored < self.num_prompt - 1

    @property
    def num_scored(self) -> int:
        """The place of the token behind which nothing is known of the prompt's scores."""
        return self.num_virtual + len(self.prompt_scores)

    def twin(self, number: int, seed: int, answer: int) -> Sequence:
        """One that begins where this is, without blocks. `answer` 0: a request of its own."""
        return Sequence(
            number,
            list(self.tokens),
            replace(self.params, seed=seed),
            self.num_prompt,
            self.salt,
            num_cached=self.num_cached,
            constraint=None if self.constraint is None else self.constraint.copy(),
            request=self.request if answer else -1,
            answer=answer,
            prompt_scores=list(self.prompt_scores),
            limit=self.limit,
            adapter=self.adapter,
            processor=self.processor,
        )
