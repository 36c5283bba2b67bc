"""What an answer must look like, as a grammar for llguidance: plain text that crosses to the engine's process.

JSON is written on one line, `{"a": 1, "b": 2}`: white space without bounds is what small models never leave.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from openbook.core.errors import UsageError
from openbook.core.messages import ChoiceFormat, GrammarFormat, JsonFormat, RegexFormat, ResponseFormat
from openbook.serving.chat.endless import can_end

Named = dict[str, object]
"""A part of a grammar under its own name."""

_ONE_LINE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_LONGEST = 200_000
_EXACT = 2**53
_SHOWN = 200
_UNCHECKED = "no tokenizer"  # a warning: special tokens are looked up where the vocabulary is
_SCHEMA_PREFIX = "failed to compile JSON schema: "


def answer_part(form: ResponseFormat, name: str = "answer") -> Named:
    """The whole answer, as a part called `name`. Raises UsageError for what is no schema, pattern, choice or grammar."""
    match form:
        case JsonFormat(schema):
            return schema_part({"type": "object"} if schema is None else schema, name)
        case RegexFormat(pattern):
            from llguidance import regex_to_lark

            if not pattern:
                raise UsageError("the regular expression is empty", "give a pattern, or ask for text")
            try:
                source = regex_to_lark(pattern, "")
            except ValueError as error:
                raise grammar_error(str(error)) from None
            return {"name": name, "lark_grammar": f"start: /{source}/"}
        case ChoiceFormat(choices):
            if not choices:
                raise UsageError("there is nothing to choose from", "give one choice at least")
            return {"name": name, "lark_grammar": f"start: {' | '.join(map(quoted, choices))}"}
        case GrammarFormat(lark):
            return {"name": name, "lark_grammar": lark}


def schema_part(schema: Mapping[str, object] | bool, name: str) -> Named:
    """JSON that follows `schema`, as a part called `name`."""
    check_schema(schema)
    if schema is False:
        raise UsageError("the schema is false, which no answer satisfies", "give an object, or true")
    return {"name": name, "json_schema": {**({} if schema is True else schema), "x-guidance": _ONE_LINE}}


def check_schema(schema: object) -> None:
    """Raises UsageError for what is no JSON schema, and for one that would be fetched from elsewhere."""
    import jsonschema

    if not isinstance(schema, Mapping | bool):
        raise UsageError(f"the schema is {type(schema).__name__}", "give an object, or true")
    try:
        _check_size(json.dumps(schema), "schema")
    except (TypeError, RecursionError) as error:
        raise UsageError(f"the schema is no JSON: {error}", "give objects, lists, texts and numbers") from None
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        where = "/".join(map(str, error.absolute_path))
        raise UsageError(f"this is no JSON schema: {error.message} (at {where!r})", "correct it") from None
    except RecursionError:
        raise UsageError("the JSON schema is nested too deeply", "make it flatter") from None
    if (number := _too_exact(schema)) is not None:
        raise UsageError(
            f"the schema holds {number}, which cannot be enforced: numbers beyond 2^53 are rounded",
            "write it as a string",
        )
    if not can_end(schema):
        raise UsageError(
            f"no answer to the schema {shown(json.dumps(schema))} ever ends: what it requires is made of itself",
            "let a property that refers back be optional, or null",
        )


def _too_exact(schema: object) -> int | None:
    """A whole number in `schema` that no float64 holds, which is what llguidance computes with."""
    if isinstance(schema, int):
        return None if abs(schema) <= _EXACT else schema
    parts = schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ()
    return next((found for part in parts if (found := _too_exact(part)) is not None), None)


def grammar(lark: str, parts: list[Named]) -> str:
    """`lark`, whose rule `start` refers to `parts` by @name, as `SamplingParams.constraint`.

    Raises UsageError for what cannot be enforced, with the reason: an answer that only nearly follows is no guarantee.
    """
    from llguidance import LLMatcher

    text = json.dumps({"grammars": [{"lark_grammar": lark}, *parts]})
    _check_size(text, "grammar")
    is_error, said = LLMatcher.validate_grammar_with_warnings(text)
    wrong = [one for one in said if is_error or not one.startswith(_UNCHECKED)]
    if wrong:
        raise grammar_error("; ".join(wrong))
    return text


def _check_size(text: str, what: str) -> None:
    if len(text) > _LONGEST:
        raise UsageError(f"the {what} has {len(text):,} characters", f"{_LONGEST:,} are allowed: make it smaller")


def named(grammar_text: str) -> str:
    """The parts of a grammar that `grammar` made, as an error names them."""
    said = []
    for part in json.loads(grammar_text)["grammars"][1:]:
        schema = part.get("json_schema")
        if schema is None:
            said.append(f"the grammar {shown(part['lark_grammar'])}")
        else:
            said.append(
                f"the schema {shown(json.dumps({key: one for key, one in schema.items() if key != 'x-guidance'}))}"
            )
    return " and ".join(said[:3]) or "the grammar"


def shown(text: str) -> str:
    """Its beginning, for an error."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def grammar_error(said: str) -> UsageError:
    """llguidance's reason, without where in our text it stands."""
    first = said.split("\n   1 | ", maxsplit=1)[0].split("\n<state>", maxsplit=1)[0].strip()
    reason = first.rpartition(_SCHEMA_PREFIX)[2] if _SCHEMA_PREFIX in first else first
    return UsageError(
        f"the format cannot be enforced: {reason[:500]}", "take it out of the schema or grammar, or ask for plain text"
    )


def quoted(text: str) -> str:
    """A literal in Lark."""
    return json.dumps(text, ensure_ascii=False)
