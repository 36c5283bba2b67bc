"""A tokenizer with more special tokens: what a masked LM or an encoder-decoder needs and a tokenizer for writing lacks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from openbook.core.errors import UsageError
from openbook.lm.tokenizers.tokenizer import Tokenizer


def with_tokens(
    tokenizer: Tokenizer,
    named: Mapping[str, str],
    more: Sequence[str] = (),
    *,
    before: Sequence[str] = (),
    behind: Sequence[str] = (),
) -> Tokenizer:
    """A copy with the tokens `named` (name -> content, e.g. "mask_token" -> "[MASK]") and `more`, in this order behind its own.

    A name or a token that it has already stays as it is. `before` and `behind`: names of what stands around a text. UsageError
    for a tokenizer that puts something around a text already.
    """
    import tokenizers
    from tokenizers import processors

    plain = json.loads(tokenizer.backend.to_str())
    special = dict(named) | tokenizer.special
    backend = tokenizers.Tokenizer.from_str(json.dumps(plain))
    wanted = [token for token in (*(special[name] for name in named), *more) if backend.token_to_id(token) is None]
    added = [tokenizers.AddedToken(token, special=True, normalized=False) for token in wanted]
    backend.add_special_tokens(added)
    if before or behind:
        if any(ends_of(tokenizer)):
            raise UsageError(f"{tokenizer.source} puts tokens of its own around a text", "use it as it is")
        first, last = [special[name] for name in before], [special[name] for name in behind]
        backend.post_processor = processors.TemplateProcessing(
            single=[*first, "$A", *last],
            pair=[*first, "$A", *last, "$B:1", *(f"{one}:1" for one in last)],
            special_tokens=[(one, backend.token_to_id(one)) for one in dict.fromkeys((*first, *last))],
        )
    return Tokenizer(
        backend,
        special,
        tokenizer.templates,
        settings=tokenizer.settings,
        generation_eos=tokenizer.eos_ids,
        source=tokenizer.source,
    )


def ends_of(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that it puts before a text, and behind it ([CLS] and [SEP] of BERT)."""
    own, whole = tokenizer.encode("a", add_special_tokens=False), tokenizer.encode("a")
    for start in range(len(whole) - len(own) + 1):
        if whole[start : start + len(own)] == own:
            return whole[:start], whole[start + len(own) :]
    raise UsageError(f"{tokenizer.source} changes a text when it puts tokens around it", "use another tokenizer")
