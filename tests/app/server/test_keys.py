"""API keys: who may ask, how much a minute, and nothing of one caller's prompts known to another."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from app.server.serving import serving
from openbook.app.server.bucket import TokenBucket
from openbook.app.server.errors import Refused
from openbook.app.server.keys import Keys, read_keys
from openbook.core.errors import UsageError


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_bucket_fills_by_the_minute() -> None:
    clock = Clock()
    bucket = TokenBucket(60, clock)
    bucket.take(40)
    bucket.spend(30)  # the answer: the level is -10
    with pytest.raises(Refused) as refused:
        bucket.take(5)
    assert refused.value.status_code == 429
    assert refused.value.headers == {"Retry-After": "15"}
    clock.now_s += 15
    bucket.take(5)
    clock.now_s += 3_600
    bucket.take(60)
    with pytest.raises(Refused, match="429"):
        bucket.take(1)
    with pytest.raises(Refused) as too_long:
        bucket.take(61)
    assert too_long.value.status_code == 400


def written(folder: Path, text: str) -> Path:
    path = folder / "keys"
    path.write_text(text)
    return path


def test_a_file_of_keys_is_read(tmp_path: Path) -> None:
    keys = read_keys(written(tmp_path, "# ours\n\nsecret-one ada 600\nsecret-two bob admin\n"))
    ada, bob = keys.caller("Bearer secret-one"), keys.caller("bearer secret-two")
    assert (ada.name, ada.is_admin, ada.bucket is not None) == ("ada", False, True)
    assert (bob.name, bob.is_admin, bob.bucket) == ("bob", True, None)
    assert ada.salt != bob.salt
    assert "secret" not in repr(keys)
    for header in (None, "", "secret-one", "Basic secret-one", "Bearer ", "Bearer secret", "Bearer \ud800"):
        with pytest.raises(Refused) as refused:
            keys.caller(header)
        assert refused.value.status_code == 401 and "secret" not in str(refused.value.detail)
    assert Keys().caller(None).is_admin


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no keys"),
        ("secret", "line 1 has no name"),
        ("secret ada\nsecret bob", "line 2 has a key that came before"),
        ("secret ada many", "'many'"),
        ("secret ada 0", "'0'"),
        ("secret ada 5 6", "'6'"),
    ],
)
def test_a_line_that_cannot_be_is_named_and_the_key_is_not(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_keys(written(tmp_path, text))
    assert said in str(refused.value) and "secret" not in str(refused.value)


def test_callers_are_kept_apart(model: Path, tmp_path: Path) -> None:
    keys = written(tmp_path, "secret-one ada\nsecret-two bob 60\n")
    asked = [{"role": "user", "content": "What is told again and again? " * 4}]
    with serving(model, tmp_path, "--api-keys", keys) as server:

        def cached(key: str) -> int:
            answer = server.client(key).chat.completions.create(model="tiny", messages=asked, max_tokens=2)  # type: ignore[arg-type]
            assert answer.usage is not None and answer.usage.prompt_tokens_details is not None
            return answer.usage.prompt_tokens_details.cached_tokens or 0

        assert [cached("secret-one"), cached("secret-one") > 0] == [0, True]
        assert cached("secret-two") == 0
        with pytest.raises(openai.RateLimitError) as limited:
            cached("secret-two")
        assert int(limited.value.response.headers["Retry-After"]) > 0
        with pytest.raises(openai.AuthenticationError):
            cached("secret-three")
        with server.http() as http:
            assert http.get("/health").status_code == 200
            for path in ("/v1/models", "/metrics"):
                assert http.get(path).status_code == 401
        assert server.metric("vllm:num_requests_running", "secret-one") == 0
        assert server.end() == 0
        assert "secret" not in "".join([*server.lines, *server.errors])
        assert "again and again" not in "".join([*server.lines, *server.errors])
