"""Special tokens behind a tokenizer's own: ids of text stay, names are new, what is saved has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook.core.errors import UsageError
from openbook.lm.tokenizers.added import ends_of, with_tokens
from openbook.lm.tokenizers.characters import character_tokenizer
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer

NAMED = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}


@pytest.mark.parametrize("tokenizer", [default_tokenizer(), character_tokenizer(["a text of some signs"])])
def test_tokens_of_text_keep_their_ids(tokenizer: Tokenizer, tmp_path: Path) -> None:
    more = with_tokens(tokenizer, NAMED, ["<one>"], before=["cls_token"], behind=["sep_token"])
    assert more.encode("a text", add_special_tokens=False) == tokenizer.encode("a text", add_special_tokens=False)
    assert [more.id_of(one) for one in (*NAMED.values(), "<one>")] == [tokenizer.vocab_size + n for n in range(4)]
    assert ends_of(tokenizer) == ([], [])
    assert ends_of(more) == ([more.id_of("[CLS]")], [more.id_of("[SEP]")])
    more.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.special["mask_token"] == "[MASK]"
    assert again.encode("a text") == more.encode("a text")
    assert set(more.special_ids) == set(again.special_ids)


def test_what_it_has_stays(tmp_path: Path) -> None:
    tokenizer = default_tokenizer()
    more = with_tokens(tokenizer, {"eos_token": "</s>", "pad_token": "<pad>"})
    assert (more.eos_id, more.vocab_size) == (tokenizer.eos_id, tokenizer.vocab_size)


def test_a_second_pair_of_ends_is_refused() -> None:
    more = with_tokens(default_tokenizer(), NAMED, before=["cls_token"])
    with pytest.raises(UsageError, match="tokens of its own around a text"):
        with_tokens(more, {}, before=["cls_token"])
