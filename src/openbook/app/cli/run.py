"""`openbook run`: a conversation with a model in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from openbook.core.messages import ChatModel, Message, SamplingParams


def run(
    model: Annotated[
        str, typer.Argument(metavar="NAME|DIR", help="A name from `model list`, a directory, or a GGUF file.")
    ],
    quantize: Annotated[
        str, typer.Option("--quantize", help="int8, int4 or none; int8 is the fastest on most processors.")
    ] = "none",
    system: Annotated[
        str | None, typer.Option("--system", help="What the model is told before the conversation.")
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0)] = 0.7,
    top_p: Annotated[float, typer.Option("--top-p", min=0.0, max=1.0)] = 0.95,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="The most tokens of an answer.")] = 512,
    seed: Annotated[int | None, typer.Option("--seed", help="The same draws again.")] = None,
) -> None:
    """Chat with a local model in the terminal. An empty line ends it; Ctrl-C ends an answer."""
    from openbook.core.messages import Message, SamplingParams
    from openbook.core.threads import set_thread_environment, share_processors
    from openbook.lm.local import model_directory

    share_processors()

    set_thread_environment()
    from openbook.serving.engine.engine import Engine

    directory: Path = model_directory(model)
    sampling = SamplingParams(temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed)
    history = [Message.of("system", system)] if system else []
    with Engine.load(directory, quantize=None if quantize == "none" else quantize, max_num_seqs=1) as engine:  # type: ignore[arg-type]
        chat = engine.chat()
        while True:
            try:
                text = input("> " if sys.stdin.isatty() else "").strip()
            except EOFError:
                break
            if not text:
                break
            history.append(Message.of("user", text))
            history.append(Message.of("assistant", _answer(chat, history, sampling)))


def _answer(chat: ChatModel, history: list[Message], sampling: SamplingParams) -> str:
    """Prints the answer to the last message as it comes. Of a conversation that has outgrown the model the oldest turns are
    forgotten, and this is said; a last message that is too long by itself is a UsageError.
    """
    from openbook.app.cli.options import visible, warn
    from openbook.core.errors import UsageError
    from openbook.core.messages import ChatRequest

    first, is_told = (1 if history[0].role == "system" else 0), False
    while True:
        stream = chat.stream(ChatRequest(tuple(history), sampling))
        pieces: list[str] = []
        try:
            for piece in stream:
                pieces.append(piece)
                print(visible(piece), end="", flush=True)
        except KeyboardInterrupt:
            if isinstance(stream, Generator):
                stream.close()
        except UsageError:
            if pieces or len(history) <= first + 1:
                raise
            if not is_told:
                warn("the conversation has outgrown the model: the oldest of it is forgotten")
            is_told = True
            del history[first : first + 2]
            continue
        print()
        return "".join(pieces)
