"""A chat, or a text, as the engine takes it: token ids and parameters, and beside them how the answer is to be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from openbook.core.errors import UsageError
from openbook.core.messages import ChatRequest, JsonFormat, ResponseFormat, SamplingParams
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat import thinking
from openbook.serving.chat.calls import CallSyntax
from openbook.serving.chat.check import Schema
from openbook.serving.chat.grammar import answer_part, grammar
from openbook.serving.chat.reading import Reading
from openbook.serving.chat.syntax import MISTRAL, call_syntax, mark_of
from openbook.serving.chat.tools import (
    check_tools,
    choice_of,
    guided,
    is_guided,
    named_results,
    plain_tools,
    with_short_ids,
)


@dataclass(frozen=True)
class Prepared:
    """`prompt` and `params` go to the engine (plain data), `reading` to the `Reply`."""

    prompt: list[int]
    params: SamplingParams
    reading: Reading = field(default_factory=Reading)


def prepare_chat(tokenizer: Tokenizer, request: ChatRequest, check: Callable[[str], object] | None = None) -> Prepared:
    """A chat by the tokenizer's template. `check` is called with its text before that becomes tokens, and may raise.

    Raises UsageError for a chat that the template refuses, and for tools, formats and reasoning that cannot be had, each by
    name; ModelUnavailable for a tokenizer without a template.
    """
    choice = choice_of(request)
    syntax = call_syntax(tokenizer) if choice != "none" else None
    if choice != "none":
        check_tools(tokenizer, request, syntax)
    reasoning = thinking.wanted(tokenizer, request.reasoning, is_guided(request))
    messages = with_short_ids(request.messages) if call_syntax(tokenizer) is MISTRAL else request.messages
    rendered = tokenizer.render(
        named_results(messages),
        plain_tools(request.tools) if choice != "none" else None,
        add_generation_prompt=True,
        spans=False,
        literal=tokenizer.is_byte_level,  # what people type is text: "<|im_end|>" in a question ends no turn
        check=check,
        **thinking.variables(tokenizer, reasoning),
    )
    thoughts = thinking.state(tokenizer, rendered.text, request.reasoning)
    may_think = thinking.may_precede(tokenizer, thoughts, reasoning)
    guide = guided(tokenizer, request, syntax, thinking.rules(thoughts, mark_of(tokenizer)) if may_think else "")
    read: thinking.Thoughts = "none" if is_guided(request) and not may_think else thoughts
    reading = Reading(
        stop=request.sampling.stop,
        wants_logprobs=request.sampling.logprobs is not None,
        syntax=syntax,
        tools=frozenset(tool.name for tool in request.tools) if syntax else frozenset(),
        ends_after_call=not request.allows_parallel_calls,
        short_ids=syntax is MISTRAL,
        thoughts=read,
        shown=_marks(tokenizer, syntax, read),
        schema=_schema_of(request.response_format),
        tool_schemas=guide.tool_schemas,
    )
    return Prepared(rendered.ids, _guided_params(request.sampling, guide.grammar), reading)


def _marks(tokenizer: Tokenizer, syntax: CallSyntax | None, thoughts: thinking.Thoughts) -> frozenset[int]:
    """The special tokens among the marks that the answer is read by."""
    marks = [syntax.begin, syntax.end] if syntax else []
    marks += [thinking.BEGIN, thinking.END] if thoughts != "none" else []
    return frozenset(
        number for mark in marks if (number := tokenizer.backend.token_to_id(mark)) in tokenizer.special_ids
    )


def prepare_completion(
    tokenizer: Tokenizer,
    prompt: str | Sequence[int],
    params: SamplingParams,
    *,
    response_format: ResponseFormat | None = None,
    echo: bool = False,
) -> Prepared:
    """A text that is gone on with, or the ids of one; no chat template. `echo`: the answer begins with the prompt."""
    ids = tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
    text = ""
    if echo:
        text = prompt if isinstance(prompt, str) else tokenizer.decode(ids, skip_special_tokens=True)
    made = None if response_format is None else grammar("start: @answer", [answer_part(response_format)])
    reading = Reading(
        stop=params.stop,
        wants_logprobs=params.logprobs is not None,
        echo=text,
        before=tuple(ids),
        schema=_schema_of(response_format),
    )
    return Prepared(ids, _guided_params(params, made), reading)


def _guided_params(params: SamplingParams, made: str | None) -> SamplingParams:
    if made is None:
        return params
    if params.constraint is not None:
        raise UsageError("the answer is to follow two grammars", "give a format or a constraint")
    return replace(params, constraint=made)


def _schema_of(form: ResponseFormat | None) -> Schema | None:
    if not isinstance(form, JsonFormat):
        return None
    return {"type": "object"} if form.schema is None else form.schema
