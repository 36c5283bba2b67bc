"""What `openbook serve` prints: the phases of its start, and then one screen of what is served."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from openbook.app.server.service import Service


def show_phase(name: str) -> None:
    _say(f"{name} ...", sys.stderr)


def show_service(service: Service, address: str) -> None:
    """One screen: what is served, what it takes, how many it can serve at once, where."""
    facts, settings = service.engine.facts, service.settings
    tokens = facts.num_blocks * facts.block_size
    full = tokens // facts.max_seq_len
    phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in facts.phases_s.items())
    lines = [
        f"model    {settings.name} ({facts.model_type}, {facts.precision}), {_size(facts.weight_bytes)} of weights",
        f"cache    {facts.num_blocks:,} blocks of {facts.block_size} tokens, {_size(facts.kv_bytes)}: {tokens:,} tokens",
        f"serves   {facts.max_num_seqs} sequences together, {settings.max_queue:,} more may wait; "
        f"{full:,} of the full length of {facts.max_seq_len:,} tokens fit",
        f"threads  {facts.threads}",
    ]
    if settings.engine.speculate is not None:
        lines.append(
            f"proposes {settings.engine.num_speculative} tokens a step, by {Path(settings.engine.speculate).name}"
        )
    if facts.max_adapters:
        lines.append(f"adapters {', '.join(facts.adapters) or 'none yet'}; {facts.max_adapters:,} at a time")
    if settings.library is not None:
        lines.append(f'library  {settings.library}, as the model "library"')
    lines += [f"start    {phases}", f"address  {address}/v1"]
    _say("\n".join(lines), sys.stdout)


def _say(text: str, stream: TextIO) -> None:
    """Writes a line. A disk that is full and a reader that has gone end no server: from then on nothing is written."""
    try:
        print(text, file=stream, flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
