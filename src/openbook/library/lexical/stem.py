"""The English stemmer Porter2: endings that do not change what a word is about are cut off.

Source: M. F. Porter, "The English (Porter2) stemming algorithm", https://snowballstem.org/algorithms/english/stemmer.html
"""

from __future__ import annotations

import re

_VOWELS = "aeiouy"
_DOUBLES = ("bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt")
_LI_ENDINGS = "cdeghkmnrt"
_HAS_VOWEL = re.compile("[aeiouy]")
_REGION = re.compile("[aeiouy][^aeiouy]")
_SHORT_END = re.compile("(?:^[aeiouy][^aeiouy]|[^aeiouy][aeiouy][^aeiouywxY])$")

_EXCEPTIONS = {
    "skis": "ski", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "idly": "idl", "gently": "gentl",
    "ugly": "ugli", "early": "earli", "only": "onli", "singly": "singl", "sky": "sky", "news": "news", "howe": "howe",
    "atlas": "atlas", "cosmos": "cosmos", "bias": "bias", "andes": "andes",
}  # fmt: skip
_KEPT_AFTER_1A = frozenset(
    ("inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed"),
)
_STEP2 = (
    ("ization", "ize"), ("ational", "ate"), ("fulness", "ful"), ("ousness", "ous"), ("iveness", "ive"),
    ("tional", "tion"), ("biliti", "ble"), ("lessli", "less"), ("entli", "ent"), ("ation", "ate"), ("alism", "al"),
    ("aliti", "al"), ("ousli", "ous"), ("iviti", "ive"), ("fulli", "ful"), ("enci", "ence"), ("anci", "ance"),
    ("abli", "able"), ("izer", "ize"), ("ator", "ate"), ("alli", "al"), ("bli", "ble"), ("ogi", "og"), ("li", ""),
)  # fmt: skip
_STEP3 = (
    ("ational", "ate"), ("tional", "tion"), ("alize", "al"), ("icate", "ic"), ("iciti", "ic"), ("ative", ""),
    ("ical", "ic"), ("ness", ""), ("ful", ""),
)  # fmt: skip
_STEP4 = (
    "ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ism", "ate", "iti", "ous", "ive", "ize", "ion",
    "al", "er", "ic",
)  # fmt: skip


def stem_english(word: str) -> str:
    """The stem of a lower-case ASCII word; words of one or two letters come back as they are."""
    if len(word) <= 2:
        return word
    if word in _EXCEPTIONS:
        return _EXCEPTIONS[word]
    word = _mark_consonant_y(word)
    r1, r2 = _regions(word)
    word = _plural(word)
    if word in _KEPT_AFTER_1A:
        return word
    word = _past_and_ing(word, r1)
    if len(word) > 2 and word[-1] in "yY" and word[-2] not in _VOWELS:
        word = word[:-1] + "i"
    word = _derivations(word, r1, r2)
    word = _residual_suffix(word, r2)
    return _final_e_and_l(word, r1, r2).lower()


def _mark_consonant_y(word: str) -> str:
    """Y where the letter is a consonant: at the start and after a vowel."""
    if "y" not in word:
        return word
    letters = list(word)
    for i, letter in enumerate(letters):
        if letter == "y" and (i == 0 or letters[i - 1] in _VOWELS):
            letters[i] = "Y"
    return "".join(letters)


def _regions(word: str) -> tuple[int, int]:
    """Where R1 and R2 begin: after the first consonant that follows a vowel, and the same again within R1."""
    prefix = next((p for p in ("gener", "commun", "arsen") if word.startswith(p)), "")
    first = _REGION.search(word)
    r1 = len(prefix) if prefix else first.end() if first else len(word)
    second = _REGION.search(word, r1)
    return r1, second.end() if second else len(word)


def _plural(word: str) -> str:
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith(("ied", "ies")):
        return word[:-2] if len(word) > 4 else word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")) and _HAS_VOWEL.search(word[:-2]):
        return word[:-1]
    return word


def _past_and_ing(word: str, r1: int) -> str:
    for ending in ("eedly", "eed"):
        if word.endswith(ending):
            return word[: len(word) - len(ending)] + "ee" if len(word) - len(ending) >= r1 else word
    for ending in ("ingly", "edly", "ing", "ed"):
        if not word.endswith(ending):
            continue
        base = word[: len(word) - len(ending)]
        if not _HAS_VOWEL.search(base):
            return word
        if base.endswith(("at", "bl", "iz")) or (r1 >= len(base) and _SHORT_END.search(base)):
            return base + "e"
        return base[:-1] if base.endswith(_DOUBLES) else base
    return word


def _derivations(word: str, r1: int, r2: int) -> str:
    """Steps 2 and 3: -ization -> -ize, -fulness -> -ful, -ical -> -ic, ..."""
    for ending, replacement in _STEP2:
        if word.endswith(ending):
            cut = len(word) - len(ending)
            allowed = cut >= r1
            if ending == "ogi":
                allowed = allowed and word[cut - 1] == "l"
            elif ending == "li":
                allowed = allowed and word[cut - 1] in _LI_ENDINGS
            word = word[:cut] + replacement if allowed else word
            break
    for ending, replacement in _STEP3:
        if word.endswith(ending):
            cut = len(word) - len(ending)
            return word[:cut] + replacement if cut >= (r2 if ending == "ative" else r1) else word
    return word


def _residual_suffix(word: str, r2: int) -> str:
    for ending in _STEP4:
        if word.endswith(ending):
            cut = len(word) - len(ending)
            return word[:cut] if cut >= r2 and (ending != "ion" or word[cut - 1] in "st") else word
    return word


def _final_e_and_l(word: str, r1: int, r2: int) -> str:
    last = len(word) - 1
    if word[-1] == "e" and (last >= r2 or (last >= r1 and not _SHORT_END.search(word[:-1]))):
        return word[:-1]
    return word[:-1] if word.endswith("ll") and last >= r2 else word
