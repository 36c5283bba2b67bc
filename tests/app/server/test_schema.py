"""Requests drawn from our own /openapi.json, valid and broken: none of them is answered with a fault of the server."""

from __future__ import annotations

import contextlib
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from app.server.serving import Server

_NOT_FAULTS = {501}
"""No reranker is configured, said with the cure."""


def _fuzz(server: Server, examples: int) -> None:
    import schemathesis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tool's own
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        seen = asked = 0
        for found in schema.get_all_operations():
            operation = found.ok()
            seen += 1
            for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
                strategy = operation.as_strategy(generation_mode=mode)

                @given(case=strategy)
                @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
                def check(case: schemathesis.Case) -> None:
                    nonlocal asked
                    asked += 1
                    if isinstance(case.body, dict) and "max_tokens" in case.body:
                        case.body["max_tokens"] = 2
                    answer = case.call(timeout=60)
                    assert answer.status_code < 500 or answer.status_code in _NOT_FAULTS, (case.body, answer.text)

                with contextlib.suppress(Unsatisfiable):  # a path without parameters has no broken form
                    check()
        assert seen >= 10 and asked > examples * 10
    with server.http() as http:
        assert http.get("/health").status_code == 200


def test_no_request_is_a_fault_of_the_server(server: Server) -> None:
    _fuzz(server, 5)


@pytest.mark.slow
def test_no_request_of_many_is_a_fault_of_the_server(server: Server) -> None:
    _fuzz(server, 150)
