"""The command line as a user meets it: each command in a process of its own, its output and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import Cli


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cli") / "docs"
    root.mkdir()
    (root / "ferry.md").write_text(
        "# Ferry\n\nThe ferry leaves at 08:15 from pier 3.\n\n## Price\n\nA ticket costs 12 euros.\n"
    )
    (root / "渡轮.md").write_text("# 渡轮\n\n渡轮早上八点从三号码头出发。\n")
    return root


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory, docs: Path) -> Cli:
    one = Cli(tmp_path_factory.mktemp("home"))
    one("add", docs, "--embedder", "none")
    return one


def test_adding_prints_receipts_and_adding_again_reads_nothing(cli, docs):
    out = cli("add", docs, "--json")
    assert json.loads(out)["totals"]["unchanged"] == 2
    assert "2 unchanged" in cli("add", docs)


def test_search_prints_places_and_json(cli):
    assert "ferry.md (Ferry > Price)" in cli("search", "ticket price")
    found = json.loads(cli("search", "码头", "--json"))
    assert found["hits"][0]["path"].endswith("渡轮.md")
    assert found["hits"][0]["text"].endswith("渡轮早上八点从三号码头出发。")


def test_reranking_is_asked_for_by_flag_or_setting_and_told(cli):
    """Where the encoder or the reranker is not installed the search says so and goes on."""
    plain = json.loads(cli("search", "ticket price", "--json"))
    assert plain["rerank"] is None
    for arguments, environment in ((["--rerank"], {}), (["--rerank-depth", 3], {}), ([], {"OPENBOOK_RERANK": "true"})):
        found = json.loads(cli("search", "ticket price", "--json", *arguments, **environment))
        assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in plain["hits"]]
        if found["rerank"] is None:
            assert any(warning.startswith("nothing was reranked: ") for warning in found["warnings"])
        else:
            assert found["rerank"]["scored"] and found["hits"][0]["scores"]["rerank"] is not None
    refused = json.loads(cli("search", "ticket price", "--json", "--no-rerank", OPENBOOK_RERANK="true"))
    assert refused["rerank"] is None and not any("rerank" in warning for warning in refused["warnings"])


def test_offsets_count_in_the_text_that_show_prints(cli):
    hit = json.loads(cli("search", "ticket", "--json", "-k", 1))["hits"][0]
    text = cli("show", hit["document_id"], "--text")
    assert text[hit["start"] : hit["end"]] == hit["text"]


def test_ls_show_and_filters(cli):
    assert "2 documents" in cli("ls")
    assert "1 documents" in cli("ls", "--filter", "language=zh")
    assert "sha256" in cli("show", "ferry.md")
    assert "nothing was found" in cli("search", "ticket", "--filter", "path=*.txt")


def test_bm25_needs_neither_torch_nor_numba(cli):
    code = (
        "import sys; sys.argv = ['openbook', 'search', 'ticket', '--mode', 'bm25'];\n"
        "from openbook.app.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'numba', 'transformers', 'pdfplumber', 'docx') if m in sys.modules])"
    )
    environment = os.environ | {"OPENBOOK_HOME": str(cli.home)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add", "/nowhere/at/all"], 2, "does not exist"),
        (["show", "nothing.md"], 2, "openbook ls"),
        (["search", ""], 2, "empty"),
        (["search", "x", "--mode", "fast"], 2, "hybrid"),
        (["search", "x", "--filter", "size=3"], 2, "path=*.md"),
        (["search", "x", "-L", "empty"], 2, "openbook add"),
        (["search", "x", "--rerank-depth", "0"], 2, "1 to 100"),
        (["config", "set", "rerank=perhaps"], 2, "boolean"),
        (["config", "set", "max_wrnog=0.05"], 2, "max_wrong"),
        (["config", "set", "max_wrong=7"], 2, "less than 1"),
        (["init", "-L", "new", "--splitter", "clever"], 2, "recursive"),
        (["init", "-L", "new", "--chunk-tokens", "3"], 2, "16"),
        (["import", "/nowhere/at/all", "-L", "new"], 2, "openbook export"),
        (["reembed", "/nowhere/at/all"], 1, "nowhere"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(cli, arguments, code, said):
    cli(*arguments, code=code)
    assert said in cli.errors


def test_a_broken_file_gives_exit_code_4_and_the_others_are_added(cli, tmp_path):
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (tmp_path / "old.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)
    (tmp_path / "good.txt").write_text("A good file about herons.")
    out = cli("add", tmp_path, "-L", "mixed", "--embedder", "none", code=4)
    assert "broken.pdf" in out and "old.doc" in out
    assert "good.txt" in cli("search", "herons", "-L", "mixed")
    assert "2 files could not be read" in cli("ls", "-L", "mixed")


def test_settings_are_kept_and_shown(cli):
    cli("config", "set", "max_wrong=0.05")
    assert "max_wrong: 0.05" in cli("config", "show")
    assert "max_wrong: 0.2" in cli("config", "show", OPENBOOK_MAX_WRONG="0.2")
    cli("config", "set", "max_wrong=")
    assert "max_wrong: 0.1" in cli("config", "show")


def test_eval_reports_metrics_with_intervals(cli, tmp_path):
    queries = tmp_path / "queries.jsonl"
    rows = [{"query": "ticket price", "relevant": {"ferry.md": 1}}, {"query": "码头", "relevant": {"渡轮.md": 1}}]
    queries.write_text("\n".join(json.dumps(row) for row in rows))
    report = json.loads(cli("eval", "retrieval", queries, "--mode", "bm25", "--json"))
    assert report["metrics"]["ndcg@10"]["mean"] == 1.0
    assert set(report["metrics"]) == {"ndcg@10", "recall@1", "recall@5", "recall@10", "recall@100", "mrr@10"}
    queries.write_text('{"query": "x", "relevant": {"lost.md": 1}}')
    cli("eval", "retrieval", queries, code=2)
    assert "lost.md" in cli.errors


def test_check_sync_rm_export_import_and_doctor(cli, docs, tmp_path):
    cli("add", docs, "-L", "second", "--embedder", "none")
    assert "all is well" in cli("check", "-L", "second")
    assert "2 documents" in cli("export", tmp_path / "out", "-L", "second")
    assert "2 documents" in cli("import", tmp_path / "out", "-L", "third")
    assert "2 documents" in cli("ls", "-L", "third")
    assert "1 removed" in cli("rm", "ferry.md", "-L", "second")
    assert "1 unchanged" in cli("sync", "-L", "second")
    out = cli("doctor", "-L", "second")
    assert "apsw" in out and "vectors" in out


def test_thanks_in_a_chat_are_no_question(cli):
    done = subprocess.run(
        [sys.executable, "-m", "openbook", "chat"],
        env=os.environ | {"OPENBOOK_HOME": str(cli.home)},
        input="When does the ferry leave?\nThanks!\n谢谢\n\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "08:15" in done.stdout
    assert "You're welcome" in done.stdout
    assert "不客气" in done.stdout
    assert "no answer" not in done.stdout
