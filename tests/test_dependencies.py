"""What a plain install brings: licences that a company can accept, and nothing that runs or downloads by surprise."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution

import pytest

FORBIDDEN = re.compile(r"\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)
LESSER = re.compile(r"\bLGPL|Lesser|Library General Public|MPL", re.IGNORECASE)
REJECTED = {"pymupdf", "extract-msg", "ebooklib", "langchain", "llama-index", "chromadb", "kuzu"}


def closure(name: str) -> dict[str, str]:
    """Every distribution that `name` needs without extras, with the licence that its metadata states."""
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        one = waiting.pop()
        key = re.sub(r"[-_.]+", "-", one).lower()
        if key in found:
            continue
        try:
            metadata = distribution(one).metadata
        except PackageNotFoundError:
            continue
        classifiers = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License")]
        short = (metadata.get("License") or "").splitlines()[:1]
        found[key] = " | ".join([metadata.get("License-Expression") or "", *short, *classifiers])
        for requirement in distribution(one).requires or []:
            needed, _, marker = requirement.partition(";")
            if "extra" not in marker and (match := re.match(r"[A-Za-z0-9._-]+", needed)):
                waiting.append(match[0])
    return found


def test_no_dependency_has_a_licence_that_binds_the_user():
    licences = closure("openbook")
    assert {"torch", "apsw", "lxml", "pypdfium2"} <= set(licences)
    bad = {name: text for name, text in licences.items() if FORBIDDEN.search(LESSER.sub("", text))}
    assert bad == {}


def test_the_licence_check_sees_a_gpl_package():
    assert FORBIDDEN.search("License :: OSI Approved :: GNU General Public License v3 (GPLv3)")
    assert FORBIDDEN.search("AGPL-3.0-only")
    assert not FORBIDDEN.search(LESSER.sub("", "LGPL-2.1-or-later"))


def test_nothing_that_was_rejected_has_crept_in():
    assert REJECTED & set(closure("openbook")) == set()


@pytest.mark.parametrize(
    "module", ["openbook", "openbook.app.cli.main", "openbook.library.store", "openbook.assistant.desk"]
)
def test_importing_does_not_load_torch_or_numba(module):
    import subprocess
    import sys

    code = f"import sys, {module}; print([m for m in ('torch', 'numba', 'httpx', 'pypdfium2') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
