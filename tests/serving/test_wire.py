"""What is asked of an endpoint is what was asked for: nothing is dropped, nothing is said that was not."""

from __future__ import annotations

from openbook.core.messages import ChatRequest, Message, SamplingParams
from openbook.serving.wire import request_body


def body(params: SamplingParams) -> dict:
    return request_body(ChatRequest((Message.of("user", "Hello?"),), params), "m", stream=False)


def test_every_parameter_that_was_changed_is_said() -> None:
    params = SamplingParams(
        temperature=0.7,
        top_p=0.9,
        stop=("\n",),
        seed=4,
        top_k=5,
        min_p=0.1,
        typical_p=0.8,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=0.3,
        logit_bias=((7, -1.5),),
        stop_token_ids=(3,),
        ignore_eos=True,
        logprobs=2,
    )
    said = body(params)
    assert said["logit_bias"] == {"7": -1.5}
    assert (said["logprobs"], said["top_logprobs"]) == (True, 2)
    apart = {"logit_bias", "logprobs", "constraint", "prompt_logprobs", "tempered_logprobs"}
    names = set(SamplingParams.__dataclass_fields__) - apart
    assert {name: tuple(said[name]) if isinstance(said[name], list) else said[name] for name in names} == {
        name: getattr(params, name) for name in names
    }


def test_what_was_not_changed_is_left_to_the_endpoint() -> None:
    assert set(body(SamplingParams())) == {"model", "messages", "temperature", "max_tokens", "stream"}
