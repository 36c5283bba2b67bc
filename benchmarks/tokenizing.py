"""How short the built-in tokenizer writes text that it was not learned from, and how fast it works beside transformers.

    python benchmarks/tokenizing.py [--json FILE]

Data: $OPENBOOK_DATA (default ../shared/data): WikiText-2, CRUD-RAG news,
and modules of Python's own library. Times are the best of 30 runs, one text at a time, the same tokenizer.json in both.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
from openbook.lm.tokenizers.corpus import corpus_files, texts_of
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parents[1]
MODULES = ("argparse", "ast", "dataclasses", "inspect", "tarfile")
CHARACTERS = 400_000
TURNS = 20
RUNS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "tokenizing.json")
    options = parser.parse_args()
    data = Path(os.environ.get("OPENBOOK_DATA") or ROOT.parent / "shared" / "data")
    texts = {
        "English, WikiText-2": text_of(data / "wikitext2"),
        "Chinese, CRUD-RAG news": text_of(next(iter(sorted((data / "crud_rag_news").iterdir())))),
        "Python's library": "".join(source(name) for name in MODULES)[:CHARACTERS],
    }
    tokenizers = {str(size): default_tokenizer(size) for size in (265, 2_048, 8_192)}
    report: dict[str, Any] = {
        "machine": machine.describe(),
        "compression": {
            name: {size: measured(one, text) for size, one in tokenizers.items()} for name, text in texts.items()
        },
        "speed": speed(tokenizers["8192"], texts["English, WikiText-2"][:100_000]),
    }
    options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(json.dumps({key: report[key] for key in ("compression", "speed")}, indent=1, ensure_ascii=False))


def text_of(path: Path) -> str:
    return "".join(text for file in corpus_files([path]) for text in texts_of(file))[:CHARACTERS]


def source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).read_text("utf-8")


def measured(tokenizer: Tokenizer, text: str) -> dict[str, float]:
    tokens, size = len(tokenizer.encode(text)), len(text.encode())
    return {
        "bytes": size,
        "bytes_per_token": round(size / tokens, 3),
        "tokens_per_character": round(tokens / len(text), 3),
    }


def speed(tokenizer: Tokenizer, text: str) -> dict[str, Any]:
    """Milliseconds; a chat of 20 messages with its mask of what the assistant said."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(folder)
        theirs = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.encode(text)
    assert ids == theirs.encode(text)
    said = "The ferry leaves at noon. 渡轮中午离港。" * 10
    chat = [{"role": ("user", "assistant")[place % 2], "content": said} for place in range(TURNS)]
    plain = Tokenizer(tokenizer.backend, tokenizer.special, {"default": UNMARKED})
    asked = {"return_dict": True, "return_assistant_tokens_mask": True}
    return {
        "characters": len(text),
        "ours": {
            "encode_ms": best(lambda: tokenizer.encode(text)),
            "decode_ms": best(lambda: tokenizer.decode(ids)),
            "stream_us_per_token": round(best(lambda: stream(tokenizer, ids)) / len(ids) * 1_000, 2),
            "chat_with_mask_ms": best(lambda: tokenizer.render(chat)),
            "chat_ms": best(lambda: tokenizer.render(chat, spans=False)),
            "chat_with_mask_unmarked_template_ms": best(lambda: plain.render(chat)),
        },
        "transformers": {
            "encode_ms": best(lambda: theirs.encode(text)),
            "decode_ms": best(lambda: theirs.decode(ids)),
            "chat_with_mask_ms": best(lambda: theirs.apply_chat_template(chat, **asked)),
            "chat_ms": best(lambda: theirs.apply_chat_template(chat)),
        },
    }


UNMARKED = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def stream(tokenizer: Tokenizer, ids: list[int]) -> None:
    one = tokenizer.stream()
    for number in ids:
        one.push([number])


def best(run: Callable[[], object]) -> float:
    run()
    spent = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run()
        spent.append(time.perf_counter() - began)
    return round(min(spent) * 1_000, 3)


if __name__ == "__main__":
    main()
