"""`openbook run`: a conversation with a model in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from openbook.core.messages import ChatModel, Message, SamplingParams


def run(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|DIR|URL",
            help="A name from `model list` or config.yaml, a directory, a GGUF file, or URL#NAME of a server.",
        ),
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
    best_of: Annotated[
        int, typer.Option("--best-of", metavar="N", min=1, help="So many answers are written, --reward chooses one.")
    ] = 1,
    reward: Annotated[
        str | None, typer.Option("--reward", metavar="DIR", help="The reward model that chooses among answers.")
    ] = None,
    guide: Annotated[
        str | None, typer.Option("--guide", metavar="DIR", help="A reward model that has a say in every token.")
    ] = None,
    guide_weight: Annotated[
        float, typer.Option("--guide-weight", metavar="W", help="What a unit of its reward counts, in nats.")
    ] = 1.0,
    guide_top_k: Annotated[
        int, typer.Option("--guide-top-k", metavar="K", help="It chooses among the K likeliest tokens.")
    ] = 10,
) -> None:
    """Chat with a model in the terminal. An empty line ends it; Ctrl-C ends an answer."""
    from openbook.app.cli.run_model import Chosen, answering, check
    from openbook.core.messages import Message, SamplingParams
    from openbook.core.threads import set_thread_environment, share_processors

    share_processors()
    set_thread_environment()
    precision = None if quantize == "none" else quantize
    chosen = Chosen(model, precision, best_of, reward, guide, guide_weight, guide_top_k)
    check(chosen, temperature)
    sampling = SamplingParams(temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed)
    history = [Message.of("system", system)] if system else []
    with answering(chosen) as chat:
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
