"""Templates of strangers: nothing is reached, nothing hangs, nothing fills the memory; and what is wrong is named."""

from __future__ import annotations

import pytest

from openbook.core.errors import ModelUnavailable, OpenbookError, UsageError
from openbook.lm.tokenizers.jinja_sandbox import rendered_text

MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]


def render(source: str, **more: object) -> str:
    return rendered_text(source, {"messages": MESSAGES, "tools": None} | more, "a model")


REACHES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__ }}x{{ messages.__class__.__init__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ strftime_now.__globals__['os'] }}",
    "{{ range.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ (messages | attr('__class__')).__base__ }}",
    "{{ messages | map(attribute='__class__') | list }}",
    "{{ '%s' | format(messages.__class__) }}{{ '{0.__class__}'.format(messages) }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(raise_exception) }}",
    "{{ ''.format_map({'a': 1}).__class__.mro() }}",
    "{% set x = namespace(__class__=1) %}{{ x }}",
    "{% set x = namespace() %}{% set x.__init__ = 1 %}",
    "{{ messages.append('x') }}",
    "{{ messages[0].update({'role': 'system'}) }}",
    "{{ messages.clear() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends '/etc/passwd' %}",
    "{{ _openbook_step.__globals__ }}",
    "{{ _openbook_join.__class__.__mro__ }}",
    "{{ tojson.__globals__ }}{{ lipsum.__globals__ }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ (1).__class__.__bases__[0].__subclasses__() }}",
    "{% set f = messages.sort %}{{ f(key=raise_exception.__call__) }}",
]


@pytest.mark.parametrize("source", REACHES)
def test_python_is_out_of_reach(source: str) -> None:
    before = [dict(message) for message in MESSAGES]
    try:
        text = render(source)
    except OpenbookError as error:
        assert error.remedy
    else:
        assert not any(word in text for word in ("class", "function", "module", "root:", "object at", "builtin"))
    assert before == MESSAGES


LOOPS = [
    "{% for a in range(10**9) %}{% endfor %}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "{% for a in range(9999) %}{% for b in range(9999) if b < 0 %}{% endfor %}{% endfor %}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for x in [[1, 2], [3]] recursive %}{% if x is iterable %}{{ loop([x, x, x]) }}{% endif %}{% endfor %}",
    "{% for a in range(9999) %}{{ range(9999) | map('string') | list | length }}{% endfor %}",
    "{% for a in range(9999) %}{{ range(9999) | sum }}{{ range(9999) | list | sort | first }}{% endfor %}",
    "{% for a in range(9999) %}{{ range(9999) | select('in', range(9999) | list) | list | length }}{% endfor %}",
]
_BIG = "{% set b = 'x' * 40000000 %}"
_NEST = "{% set x = namespace(v=[1], w=[1]) %}{% for a in range(60) %}{% set x.v = PAIR %}{% endfor %}"
GROWS = [
    _BIG + "{{ [b] * 1000 }}",
    _BIG + "{{ [b, b, b, b] | join }}",
    _BIG + "{{ [b, b, b, b] ~ '' }}",
    _BIG + "{{ [b, b] }}",
    _BIG + "{{ '%s%s%s%s' % (b, b, b, b) }}",
    _BIG + "{{ '%s%s' | format(b, b) }}",
    _BIG + "{{ '{0}{0}{0}{0}'.format(b) }}",
    _BIG + "{{ ''.join([b, b]) }}",
    _BIG + "{{ dict(a=b, b=b) | tojson }}",
    _BIG + "{{ {'a': b, 'c': b} | string }}",
    "{% set x = namespace(v='x') %}{% for a in range(40) %}{% set x.v = '{0}{0}{0}'.format(x.v) %}{% endfor %}",
    _NEST.replace("PAIR", "[x.v, x.v]"),
    _NEST.replace("PAIR", "(x.v, x.v)") + "{{ {x.v: 1} }}",
    _NEST.replace("PAIR", "{'a': x.v, 'b': x.v}") + "{{ x.v | tojson }}",
    _NEST.replace("PAIR", "dict(a=x.v, b=x.v)") + "{{ x.v == x.w }}",
    _NEST.replace("PAIR", "[x.v] | batch(2, x.v) | list"),
    _NEST.replace("PAIR", "[x.v] * 2"),
    "{% set x = namespace(v='x') %}{% for a in range(27) %}{% set x.v = x.v ~ x.v %}{% endfor %}",
    "{{ 'x' * 10**10 }}",
    "{{ 10**10 * 'x' }}",
    "{{ [1] * 10**10 }}",
    "{{ 10 ** (10 ** 10) }}",
    "{{ 2 ** 100000 }}",
    "{% set x = namespace(v='x') %}{% for a in range(60) %}{% set x.v = x.v ~ x.v %}{% endfor %}{{ x.v }}",
    "{% set x = namespace(v='x') %}{% for a in range(60) %}{% set x.v = x.v + x.v %}{% endfor %}{{ x.v }}",
    "{% set x = namespace(v=[1]) %}{% for a in range(60) %}{% set x.v = x.v + x.v %}{% endfor %}{{ x.v }}",
    "{% set x = namespace(v='x') %}{% for a in range(60) %}{% set x.v = x.v | replace('x', 'xx') %}{% endfor %}",
    "{% set x = namespace(v='x') %}{% for a in range(60) %}{% set x.v = x.v.replace('x', 'xx') %}{% endfor %}",
    "{% set x = namespace(v='x') %}{% for a in range(60) %}{% set x.v = [x.v, x.v] | join %}{% endfor %}",
    "{% set x = namespace(v='x') %}{% for a in range(60) %}{% set x.v = x.v.join([x.v, x.v, x.v]) %}{% endfor %}",
    "{% set x = namespace(v='x') %}{% for a in range(60) %}{% set x.v = x.v | tojson | tojson %}{% endfor %}",
    "{% set x = namespace(v=3) %}{% for a in range(60) %}{% set x.v = x.v * x.v %}{% endfor %}",
    "{{ 'x' | center(10**10) }}",
    "{{ 'x'.center(10**10) }}",
    "{{ 'x'.ljust(10**10) }}{{ 'x'.zfill(10**10) }}",
    "{{ 'a\\tb'.expandtabs(10**10) }}",
    "{{ '%9999999999d' % 1 }}",
    "{{ '%*d' % (9999999999, 1) }}",
    "{{ '%9999999999d' | format(1) }}",
    "{{ '{:>9999999999}'.format(1) }}",
    "{{ '{:>{w}}'.format(1, w=10**10) }}",
    "{{ '{a:>9999999999}'.format_map({'a': 1}) }}",
    "{{ {'a': 1} | tojson(indent=10**10) }}",
    "{{ 'a\\nb' | indent(10**10) }}",
    "{{ ['a', 'b'] | batch(10**10, 'x') | list }}",
    "{{ 'x' | wordwrap(1, wrapstring='y' * 49999999) | wordwrap(1, wrapstring='y' * 49999999) }}",
    "{% set x = 'x' * 9999999 %}{% for a in range(60) %}{{ x }}{% endfor %}",
    "{{ (5).to_bytes(10**10, 'big') }}",
    "{{ 'x'.encode().ljust(10**10) }}",
    "{{ 'x' | truncate(10**10) }}{{ range(0, 10**12) | list }}",
    "{{ 9999999999999 | filesizeformat }}{{ 'x' | string * 10**12 }}",
]


@pytest.mark.parametrize("source", [*LOOPS, *GROWS])
def test_nothing_hangs_or_fills_the_memory(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbook.lm.tokenizers.jinja_limits.MAX_SECONDS", 0.3)
    monkeypatch.setattr("openbook.lm.tokenizers.jinja_limits.MAX_STEPS", 30_000)
    with pytest.raises(ModelUnavailable, match=r"is refused|RecursionError") as caught:
        render(source)
    assert caught.value.remedy


def test_the_limits_are_wide_for_honest_templates() -> None:
    chat = [{"role": "user", "content": "x" * 1000}] * 5_000
    text = render("{% for m in messages %}{{ m.role ~ ': ' ~ m.content | trim }}{{ '\n' }}{% endfor %}", messages=chat)
    assert len(text) == 5_000 * 1_007
    assert render("{{ lipsum is defined }} {{ none | default(20000000) }} {{ 'a' | center(3) }}") == "False None  a "
    assert render("{{ 'ab' * 1000 }}") == "ab" * 1000
    assert render("{% for a in range(100) %}{% for b in range(100) %}.{% endfor %}{% endfor %}") == "." * 10_000


@pytest.mark.parametrize(
    ("source", "kind", "cause"),
    [
        ("{% for x in y %}", ModelUnavailable, "mistake in line 1"),
        ("\n\n{{ x", ModelUnavailable, "mistake in line 3"),
        ("{% nothing %}", ModelUnavailable, "unknown tag"),
        ("{{ raise_exception('only users') }}", UsageError, "refuses the chat: only users"),
        ("{{ messages[5].content }}", UsageError, "misses something"),
        ("{{ 'a' + 1 }}", ModelUnavailable, "TypeError"),
        ("{{ 1 // 0 }}", ModelUnavailable, "ZeroDivisionError"),
        ("{{ " + "(" * 5_000 + ")" * 5_000 + " }}", ModelUnavailable, "mistake|RecursionError"),
        ("x" * 1_000_001, ModelUnavailable, "1,000,001 characters"),
    ],
)
def test_mistakes_are_named(source: str, kind: type[OpenbookError], cause: str) -> None:
    with pytest.raises(kind, match=cause) as caught:
        render(source)
    assert caught.value.remedy
