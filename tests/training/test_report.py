"""The page of a run, and runs beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from openbook.training.log import Log, read_log
from openbook.training.report import chart, differing, sentence, summaries, summary, thinned, write_report


def made(folder: Path, name: str, lr: float, steps: int = 4) -> Path:
    run = folder / name
    run.mkdir()
    log = Log(run)
    for step in range(1, steps + 1):
        log.write({"step": step, "loss": 4.0 / step, "rate": lr, "norm": 1.0, "tokens": 100, "seconds": 0.5})
    log.write({"step": steps, "eval_loss": 1.25})
    log.close()
    (run / "recipe.yaml").write_text(yaml.safe_dump({"lr": lr, "model": {"size": "<1m>"}, "out": name}), "utf-8")
    return run


def test_a_page_has_the_curves_and_the_settings(tmp_path: Path) -> None:
    page = write_report(made(tmp_path, "a", 1e-3)).read_text("utf-8")
    assert page.count("<polyline") == 5
    assert "&lt;1m&gt;" in page
    assert "best held-out loss 1.2500 after step 4" in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_run_without_a_step_has_a_page(tmp_path: Path) -> None:
    run = tmp_path / "empty"
    run.mkdir()
    assert "0 steps" in write_report(run).read_text("utf-8")


def test_runs_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    for name, lr in (("a", 1e-3), ("b", 2e-3)):
        made(tmp_path, name, lr)
    found = summaries(tmp_path)
    assert [one.name for one in found] == ["a", "b"]
    assert differing(found) == ["lr"]
    assert sentence(found[0]).startswith("4 steps, loss 1.0000, best held-out loss 1.2500")
    assert (found[0].tokens, found[0].seconds) == (400, 2.0)


def test_a_log_that_was_cut_is_read_up_to_there(tmp_path: Path) -> None:
    run = made(tmp_path, "a", 1e-3)
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    assert summary(run).step == 4
    Log(run, done=2).close()
    rows = list(read_log(run / "log.jsonl"))
    assert [row["step"] for row in rows] == [1, 2]
    assert json.loads((run / "log.jsonl").read_text("utf-8").splitlines()[-1])["loss"] == 2.0


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3_000))
def test_thinning_keeps_the_peaks(values: list[float]) -> None:
    points = list(enumerate(values))
    kept = thinned(points, 60)
    assert len(kept) <= max(60 + 2, len(points) if len(points) <= 60 else 0)
    assert {min(values), max(values)} <= {y for _, y in kept}
    assert kept == sorted(kept)
    assert chart({"loss": kept}).startswith("<svg")
