"""What is written as JSON is JSON."""

from __future__ import annotations

import json
import math

from openbook.core.finite import finite


def test_what_is_no_number_is_null_wherever_it_stands() -> None:
    value = {"a": [math.nan, (1.5, -math.inf)], "b": {"c": math.inf, "d": "nan"}, "e": True, "f": 3}
    assert finite(value) == {"a": [None, [1.5, None]], "b": {"c": None, "d": "nan"}, "e": True, "f": 3}
    json.dumps(finite(value), allow_nan=False)


def test_what_is_a_number_stays() -> None:
    assert finite(0.1) == 0.1 and finite(1 << 70) == 1 << 70 and finite(None) is None
