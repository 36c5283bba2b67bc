"""`openbook.lm` gives functions, also those that are named like the file they are in, in any order of imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

NAMES = "Sampling, dense, generate, load_model, new_model, save_model"
CHECK = f"from openbook.lm import {NAMES}\nassert all(map(callable, ({NAMES})))\n"


@pytest.mark.parametrize("before", ["", "import openbook.lm.dense, openbook.lm.generate\n", CHECK])
def test_what_is_exported_can_be_called(before: str) -> None:
    subprocess.run([sys.executable, "-c", before + CHECK], check=True)


def test_the_package_brings_no_torch() -> None:
    subprocess.run([sys.executable, "-c", "import openbook.lm, sys; assert 'torch' not in sys.modules"], check=True)
