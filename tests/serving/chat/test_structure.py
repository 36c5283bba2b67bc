"""A model that knows nothing gives what was asked for: the grammar alone sees to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.checkpoints import TINY, tiny
from lm.tokenizers.vocabularies import FORMATS
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.messages import (
    ChoiceFormat,
    GrammarFormat,
    JsonFormat,
    NamedTool,
    RegexFormat,
    SamplingParams,
)
from openbook.lm.load import new_model
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.constraint import GrammarCompiler
from openbook.serving.chat.local import LocalChatModel
from openbook.serving.chat.prepare import prepare_chat, prepare_completion
from openbook.serving.chat.vocabulary import token_bytes
from openbook.serving.engine.core import EngineCore
from openbook.serving.engine.loop import EngineLoop
from serving.chat.talk import TOOLS, asked, tokenizer

ROWS = 290  # more than the tokenizer has, as in real checkpoints


def core(form: str, **limits: Any) -> EngineCore:
    one = tokenizer(form)
    model = new_model(TINY | {"vocab_size": ROWS, "max_position_embeddings": 4_096}, seed=2)
    made = {"num_blocks": 400, "end_tokens": one.eos_ids} | limits
    return EngineCore(model, constraints=GrammarCompiler(lambda: one, ROWS, one.eos_ids), **made)


@pytest.fixture(scope="module", params=["chatml", "qwen3", "llama3", "mistral"])
def chat(request: pytest.FixtureRequest) -> Iterator[LocalChatModel]:
    with EngineLoop(core(request.param)) as loop:
        yield LocalChatModel(loop, tokenizer(request.param), "tiny")


@pytest.fixture(scope="module")
def qwen() -> Iterator[LocalChatModel]:
    with EngineLoop(core("qwen3")) as loop:
        yield LocalChatModel(loop, tokenizer("qwen3"), "tiny")


VALUES = st.integers(-(2**53), 2**53) | st.text(max_size=4) | st.none()
SCALARS = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "number", "multipleOf": 0.25, "minimum": -1, "maximum": 1}),
    st.just({"type": "null"}),
    st.builds(lambda low: {"type": "integer", "minimum": low, "maximum": low + 50}, st.integers(-99, 99)),
    st.builds(lambda most: {"type": "string", "maxLength": most}, st.integers(0, 4)),
    st.just({"type": "string", "pattern": "^[a-c]{1,3}$"}),
    st.just({"type": "string", "format": "date"}),
    st.builds(lambda values: {"enum": values}, st.lists(VALUES, min_size=1, max_size=3)),
)
NAMES = st.lists(st.text(min_size=1, max_size=4), unique=True, max_size=3)


def with_children(children: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    @st.composite
    def objects(draw: st.DrawFn) -> dict[str, Any]:
        names = draw(NAMES)
        return {
            "type": "object",
            "properties": {name: draw(children) for name in names},
            "required": [name for name in names if draw(st.booleans())],
            "additionalProperties": False,
        }

    lists = st.builds(
        lambda item, least, more: {"type": "array", "items": item, "minItems": least, "maxItems": least + more},
        children,
        st.integers(0, 2),
        st.integers(0, 2),
    )
    return objects() | lists | st.builds(lambda each: {"anyOf": each}, st.lists(children, min_size=1, max_size=3))


SCHEMAS = st.recursive(SCALARS, with_children, max_leaves=4)


@given(schema=SCHEMAS, seed=st.integers(0, 99), temperature=st.sampled_from([0.0, 1.0, 2.0]))
def test_json_that_follows_any_schema(
    qwen: LocalChatModel, schema: dict[str, Any], seed: int, temperature: float
) -> None:
    sampling = SamplingParams(temperature=temperature, seed=seed, max_tokens=700)
    answer = qwen.complete(asked(sampling=sampling, response_format=JsonFormat(schema)))
    assert answer.finish_reason == "stop"
    jsonschema.validate(json.loads(answer.text), schema)


def test_decimal_steps_are_no_matter_of_rounding(qwen: LocalChatModel) -> None:
    form = JsonFormat({"type": "number", "multipleOf": 0.1, "minimum": 0, "maximum": 1})
    each = [asked(sampling=SamplingParams(temperature=1.0, seed=seed), response_format=form) for seed in range(60)]
    said = {answer.text for _, answer in qwen.complete_many(each) if not isinstance(answer, Exception)}
    assert said & {"0.3", "0.6", "0.7"}  # a quotient of floats is no whole number for these


@pytest.mark.parametrize("seed", range(3))
def test_every_format_in_every_template(chat: LocalChatModel, seed: int) -> None:
    sampling = SamplingParams(temperature=1.0, seed=seed, max_tokens=200)

    def said(form: object) -> str:
        answer = chat.complete(asked(sampling=sampling, response_format=form))
        assert answer.finish_reason == "stop"
        return answer.text

    assert said(ChoiceFormat(("yes", "no", "天气"))) in ("yes", "no", "天气")
    assert re.fullmatch(r"[0-9]{3}-[a-f]+!", said(RegexFormat(r"[0-9]{3}-[a-f]+!")))
    assert re.fullmatch(r"(ab|c){2,4}", said(GrammarFormat('start: part{2,4}\npart: "ab" | "c"')))


@pytest.mark.parametrize("seed", range(3))
def test_forced_calls_in_every_template(chat: LocalChatModel, seed: int) -> None:
    sampling = SamplingParams(temperature=1.0, seed=seed, max_tokens=900)
    for more in ({"tool_choice": NamedTool("weather")}, {"tool_choice": "required", "allows_parallel_calls": False}):
        request = asked(sampling=sampling, tools=TOOLS, **more)
        answer = chat.complete(request)
        assert answer.finish_reason == "tool_calls"
        (call,) = answer.tool_calls
        (tool,) = [tool for tool in TOOLS if tool.name == call.name]
        jsonschema.validate(json.loads(call.arguments), tool.parameters)
        assert answer.text == ""
        assert chat.complete(request).tool_calls[0].arguments == call.arguments


def test_an_answer_that_is_cut_says_so(qwen: LocalChatModel) -> None:
    form = JsonFormat({"type": "string", "minLength": 50})
    answer = qwen.complete(asked(sampling=SamplingParams(max_tokens=9), response_format=form))
    assert (answer.finish_reason, answer.completion_tokens) == ("length", 9)


def test_a_complete_grammar_ends_the_answer_without_an_end_token(qwen: LocalChatModel) -> None:
    for ignores in (False, True):
        sampling = SamplingParams(max_tokens=50, ignore_eos=ignores)
        answer = qwen.complete(asked(sampling=sampling, response_format=ChoiceFormat(("yes",))))
        assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("yes", "stop", 3)


def test_logprobs_are_of_what_may_come(qwen: LocalChatModel) -> None:
    request = asked(sampling=SamplingParams(logprobs=5), response_format=ChoiceFormat(("ab", "cd")))
    told = [one for event in qwen.events(request) if (logprobs := getattr(event, "logprobs", ())) for one in logprobs]
    assert [len(one.likeliest) for one in told] == [2, 1]
    assert all(logprob > -inf for one in told for _, _, logprob in one.likeliest)
    assert told[1].logprob == pytest.approx(0)


def test_a_request_whose_bias_forbids_what_its_grammar_wants_fails_alone(qwen: LocalChatModel) -> None:
    yes = tokenizer("qwen3").encode("y", False)[0]
    form = ChoiceFormat(("yes",))
    requests = [
        asked(sampling=SamplingParams(logit_bias=((yes, -inf),)), response_format=form),
        asked(response_format=form),
    ]
    found = dict(qwen.complete_many(requests))
    assert isinstance(found[0], ModelUnavailable)
    assert found[1].text == "yes"  # type: ignore[union-attr]


def test_a_grammar_is_refused_before_the_request_is_taken(qwen: LocalChatModel) -> None:
    with pytest.raises(UsageError, match="cannot be enforced"):
        qwen.complete(asked(response_format=GrammarFormat("start: <|nobody|>")))
    with pytest.raises(UsageError, match="takes no grammars"):
        EngineCore(new_model(TINY)).add([1], SamplingParams(constraint='start: "a"'))


def requests_of_many() -> list[tuple[list[int], SamplingParams]]:
    found = []
    for seed in range(6):
        schema = {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 999},
            "minItems": 8,
            "maxItems": 12,
        }
        sampling = SamplingParams(temperature=1.0, seed=seed, max_tokens=120)
        prepared = prepare_chat(tokenizer("qwen3"), asked(sampling=sampling, response_format=JsonFormat(schema)))
        found.append((prepared.prompt, prepared.params))
    return found


def test_preempted_sequences_keep_their_place_in_the_grammar() -> None:
    prompts, params = zip(*requests_of_many(), strict=True)
    alone = [core("qwen3").generate([prompt], [one])[0].tokens for prompt, one in zip(prompts, params, strict=True)]
    tight = core("qwen3", num_blocks=26, block_size=8)
    together = [out.tokens for out in tight.generate(prompts, params)]
    assert tight.scheduler.num_preempted > 0
    assert together == alone
    for tokens in together:
        assert 8 <= len(json.loads(tokenizer("qwen3").decode(tokens))) <= 12


def test_a_fork_goes_on_in_a_grammar_of_its_own() -> None:
    engine = core("qwen3")
    prompt, params = requests_of_many()[0]
    number = engine.add(prompt, params)
    tokens: dict[int, list[int]] = {number: []}
    for step in range(400):
        if step == 8:
            child = engine.fork(number, seed=77)
            tokens[child] = list(tokens[number])
        for event in engine.step():
            tokens[event.number].append(event.chosen.token)
        if engine.is_idle:
            break
    texts = [tokenizer("qwen3").decode(each, skip_special_tokens=True) for each in tokens.values()]
    assert len(set(texts)) == 2
    assert all(8 <= len(json.loads(text)) <= 12 for text in texts)


@pytest.mark.parametrize("name", ["llama", "roberta, space"])
def test_tokenizers_that_put_a_space_in_front(name: str, tmp_path: Path) -> None:
    one = Tokenizer.load(FORMATS[name](tmp_path))
    compiler = GrammarCompiler(lambda: one, one.vocab_size, one.eos_ids)
    form = JsonFormat({"type": "array", "items": {"enum": ["the ferry"]}, "minItems": 2, "maxItems": 2})
    grammar = prepare_completion(one, "x", SamplingParams(), response_format=form).params.constraint
    assert grammar is not None
    state, raw = compiler(grammar), b""
    while not state.is_done:
        token = int(state.allowed().nonzero()[0][0])
        raw += token_bytes(one, token)
        state.push(token)
    assert json.loads(raw) == ["the ferry", "the ferry"]


def test_tokenizers_whose_tokens_are_no_text_are_refused(tmp_path: Path) -> None:
    one = Tokenizer.load(FORMATS["bert"](tmp_path))
    with pytest.raises(UsageError, match="no pieces of text"):
        GrammarCompiler(lambda: one, one.vocab_size, [3])('start: "a"')
    with pytest.raises(UsageError, match="no end token"):
        GrammarCompiler(lambda: one, one.vocab_size, [])('start: "a"')


def test_the_example_of_the_docs_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tokenizer("qwen3")
    changes = {"vocab_size": ROWS, "max_position_embeddings": 4_096, "eos_token_id": one.eos_id}
    tiny(tmp_path / "mine", **changes)
    one.save(tmp_path / "mine")
    page = Path(__file__).resolve().parents[3] / "docs" / "structure.md"
    (code,) = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("max_tokens=200", "max_tokens=200, temperature=1.0, seed=1"), str(page), "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("} stop")
    assert said[1].startswith("(ToolCall(id='call_")
    assert said[1].endswith("tool_calls")
