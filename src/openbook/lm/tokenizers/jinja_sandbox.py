"""Chat templates as transformers renders them, in a sandbox: the environment, its functions, and {% generation %}.

Source: the environment is that of transformers' `apply_chat_template` (5.23): trimmed blocks, `tojson` that keeps letters as
they are, `raise_exception`, `strftime_now`, loop controls. The marks of {% generation %} are two characters that are in no
input, so that a place is known wherever the block stands, also in a macro.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.tokenizers.jinja_limits import (
    JOIN,
    STEP,
    WEIGH,
    budget,
    check_call,
    check_format,
    check_operator,
    checked_filter,
    checked_range,
    count_steps,
    fits,
    join,
    step,
    weigh,
)

MAX_TEMPLATE_CHARACTERS = 1_000_000
BEGIN, END = "_openbook_begin", "_openbook_end"


class _Generation(Extension):
    """{% generation %} ... {% endgeneration %}: its text between the marks, where the variables hold marks."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        begin, end = (nodes.Output([nodes.Name(name, "load", lineno=line)], lineno=line) for name in (BEGIN, END))
        return [nodes.Scope([begin, *body, end], lineno=line)]


class _Environment(ImmutableSandboxedEnvironment):
    """Checks operators and calls before they run. `namespace` refuses names with an underscore, as transformers does."""

    intercepted_binops = frozenset(("*", "**", "+", "%"))

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols], finalize=weigh)
        self.filters["tojson"] = _to_json
        for name, function in self.filters.items():
            self.filters[name] = checked_filter(name, function)
        del self.globals["lipsum"]
        self.globals |= {
            "raise_exception": _raise,
            "strftime_now": _now,
            "range": checked_range,
            "namespace": _Namespace,
            STEP: step,
            JOIN: join,
            WEIGH: weigh,
            BEGIN: "",
            END: "",
        }

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return count_steps(super()._parse(source, name, filename))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        check_operator(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, function: Any, /, *arguments: Any, **named: Any) -> Any:
        method = getattr(function, "__wrapped__", function)  # the sandbox wraps `str.format`
        subject = getattr(method, "__self__", None)
        if isinstance(subject, str | bytes | list | int):
            check_call(method.__name__, subject, arguments, named)
        elif method not in (step, join, weigh):
            step()
            weigh([*arguments, *named.values()])
        return super().call(context, function, *arguments, **named)


class _Namespace(Namespace):
    def __init__(*arguments: Any, **named: Any) -> None:
        self, rest = arguments[0], arguments[1:]
        values = dict(*rest, **named)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace cannot hold {name!r}")


def _raise(message: str) -> NoReturn:
    raise jinja2.exceptions.TemplateError(str(message))


def _now(form: str) -> str:
    check_format(form, ())
    return datetime.now().strftime(form)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Without the escapes for HTML that jinja's own makes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@lru_cache(maxsize=32)
def _compiled(source: str) -> Callable[..., Any]:
    if len(source) > MAX_TEMPLATE_CHARACTERS:
        raise ValueError(f"it has {len(source):,} characters, the limit is {MAX_TEMPLATE_CHARACTERS:,}")
    with budget():
        return _Environment().from_string(source).generate


def rendered_text(source: str, variables: Mapping[str, Any], name: str) -> str:
    """What the template `source` makes of `variables`, which hold plain data only.

    Raises ModelUnavailable for a template that is broken, reaches for what it may not, or goes beyond the limits, and
    UsageError where it refuses the chat itself (`raise_exception`).
    """
    try:
        generate = _compiled(source)
        with budget():
            parts, size = [], 0
            for part in generate(**variables):
                parts.append(part)
                size += len(part)
                fits(size)
            return "".join(parts)
    except jinja2.exceptions.SecurityError as error:
        raise ModelUnavailable(f"the chat template of {name} is refused: {error}", "use another template") from None
    except jinja2.exceptions.TemplateSyntaxError as error:
        raise ModelUnavailable(
            f"the chat template of {name} has a mistake in line {error.lineno}: {error}", "mend chat_template.jinja"
        ) from None
    except jinja2.exceptions.UndefinedError as error:
        raise UsageError(
            f"the chat template of {name} misses something in the chat: {error}", "give what it asks for"
        ) from None
    except jinja2.exceptions.TemplateError as error:
        raise UsageError(f"the chat template of {name} refuses the chat: {error}", "change the chat") from None
    except Exception as error:  # whatever Python raises under a template: RecursionError, TypeError, ...
        raise ModelUnavailable(
            f"the chat template of {name} fails: {type(error).__name__}: {error}", "use another template, or mend it"
        ) from None
