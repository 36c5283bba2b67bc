"""A model that has learned nothing judges, through the engine: all it can say under the grammar is a verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lm.checkpoints import TINY
from openbook.core.messages import ChatModel
from openbook.lm.load import new_model, save_model
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.serving.engine.engine import Engine
from openbook.training.judge.ask import Asking
from openbook.training.judge.label import label
from openbook.training.judge.pairs import read_pairs
from openbook.training.judge.reward import JudgeReward
from openbook.training.judge.rubric import Rubric
from openbook.training.judge.settings import JudgeSettings
from reward_samples import sampled


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatModel]:
    directory = tmp_path_factory.mktemp("model") / "random"
    tokenizer = default_tokenizer(512)
    sizes = {"max_position_embeddings": 1_536, "vocab_size": tokenizer.vocab_size, "eos_token_id": tokenizer.eos_id}
    save_model(new_model(TINY | sizes, seed=1), directory)
    tokenizer.save(directory)
    with Engine.load(directory, max_num_seqs=4) as engine:
        yield engine.chat()


@pytest.mark.parametrize("is_constrained", [True, False])
def test_every_pair_has_a_verdict(judge: ChatModel, tmp_path: Path, is_constrained: bool) -> None:
    rows = [{"prompt": f"问题 {one}", "completions": ["yes", f"no {one}"]} for one in range(3)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    settings = JudgeSettings(Rubric("pair"), Asking(is_constrained=is_constrained))
    report = label(read_pairs(path), judge, tmp_path / "out.jsonl", settings)
    assert (report.judged, report.unread, report.failed) == (3, 0, {})
    assert report.requests == 6 + report.nonsense
    assert report.nonsense == 0 or not is_constrained
    assert report.tokens > 500


def test_points_as_a_reward(judge: ChatModel) -> None:
    scores = JudgeReward(judge, Rubric("score"))([sampled("one"), sampled("two")])
    assert all(isinstance(one, float) and 0 <= one <= 1 for one in scores)
