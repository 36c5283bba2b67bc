"""lm-evaluation-harness scores texts through the server as `lm.score` scores them. Runs where it is installed.

In an environment of its own, because it wants other versions: `LM_EVAL` names its `lm_eval`, else one on the path is
taken. `pip install "lm-eval[api]" transformers torch`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from app.server.serving import Server
from openbook.lm.load import load_model
from openbook.lm.nn.batch import Batch
from openbook.lm.score import token_logprobs
from openbook.lm.tokenizers.tokenizer import Tokenizer

pytestmark = pytest.mark.slow
PROGRAM = shutil.which(os.environ.get("LM_EVAL", "lm_eval"))
needs_lm_eval = pytest.mark.skipif(PROGRAM is None, reason="needs lm-eval: name it in LM_EVAL")

DOCUMENTS = [
    {"text": "The capital of France is", "choices": ["Paris", "a very long river", "图书馆"], "label": 0},
    {"text": "Two and two make", "choices": ["four", "five", "twenty-two, as text"], "label": 0},
    {"text": "打开书本，", "choices": ["读第一页", "close it", "é ü ñ"], "label": 0},
    {"text": "def double(x):\n    return", "choices": ["2 * x", "x / 2", "'double'"], "label": 0},
]
TASKS = {
    "tiny_choice": """
task: tiny_choice
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_choice: "{{choices}}"
doc_to_target: label
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
""",
    "tiny_rolling": """
task: tiny_rolling
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}} {{choices[1]}}"
metric_list: [{metric: byte_perplexity}]
""",
}


@needs_lm_eval
@pytest.mark.parametrize("sends", ["ids", "text"])
def test_each_choice_is_as_likely_as_by_score(server: Server, model: Path, tmp_path: Path, sends: str) -> None:
    samples = run(server, model, tmp_path, "tiny_choice", sends)
    tokenizer, scored = Tokenizer.load(model), []
    for sample in samples:
        for arguments, reply in zip(in_order(sample["arguments"]), sample["filtered_resps"], strict=True):
            context, continuation = arguments
            ids = tokenizer.encode(context + continuation)
            begin = len(tokenizer.encode(context))
            expected = logprobs(model, ids)[begin:]
            assert float(reply[0]) == pytest.approx(sum(expected), abs=1e-4)
            scored.append(len(expected))
    assert len(scored) == sum(len(one["choices"]) for one in DOCUMENTS) and min(scored) >= 1


@needs_lm_eval
def test_a_whole_text_is_as_likely_as_by_score(server: Server, model: Path, tmp_path: Path) -> None:
    """The first token is scored behind the end token, as the harness does it."""
    samples = run(server, model, tmp_path, "tiny_rolling", "ids")
    tokenizer = Tokenizer.load(model)
    assert tokenizer.eos_id is not None and len(samples) == len(DOCUMENTS)
    for sample in samples:
        ((text,),) = in_order(sample["arguments"])
        expected = logprobs(model, [tokenizer.eos_id, *tokenizer.encode(text)])[1:]
        assert float(sample["filtered_resps"][0]) == pytest.approx(sum(expected), abs=1e-4)


def run(server: Server, model: Path, folder: Path, task: str, sends: str) -> list[dict[str, Any]]:
    """What the harness says of each document, in their order."""
    assert PROGRAM is not None
    (folder / "documents.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in DOCUMENTS), "utf-8")
    (folder / f"{task}.yaml").write_text(TASKS[task].replace("FILE", str(folder / "documents.jsonl")), "utf-8")
    said = f"model={model.name},base_url={server.url}/v1/completions,tokenizer={model},tokenizer_backend=huggingface"
    said += f",tokenized_requests={sends == 'ids'},num_concurrent=4,max_length=512"
    offline = {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(folder / "hub"),
        "OPENAI_API_KEY": "none",
    }
    command = [PROGRAM, "--model", "local-completions", "--model_args", said, "--tasks", task]
    command += [
        "--include_path",
        str(folder),
        "--output_path",
        str(folder / "out"),
        "--log_samples",
        "--batch_size",
        "2",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    done = subprocess.run(command, env=environment | offline, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (folder / "out").rglob("samples_*.jsonl")
    samples = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    return sorted(samples, key=lambda one: int(one["doc_id"]))


def in_order(arguments: dict[str, dict[str, str]] | Sequence[Sequence[str]]) -> list[list[str]]:
    """The harness writes them as a mapping of mappings."""
    if isinstance(arguments, dict):
        return [list(one.values()) for one in arguments.values()]
    return [list(one) for one in arguments]


def logprobs(model: Path, ids: Sequence[int]) -> list[float]:
    with torch.inference_mode():
        return token_logprobs(load_model(model), torch.tensor(ids), Batch.of([len(ids)])).double().tolist()
