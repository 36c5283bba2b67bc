"""Which language a text is in, from its scripts and, for Latin letters, its function words. Cheap, never fails."""

from __future__ import annotations

import re
from collections import Counter

_SAMPLE = 2_000
_SCRIPTS = {
    "ja": re.compile("[\u3041-\u30ff]"),
    "ko": re.compile("[\uac00-\ud7af]"),
    "ru": re.compile("[\u0400-\u04ff]+"),
    "el": re.compile("[\u0370-\u03ff]+"),
    "ar": re.compile("[\u0600-\u06ff]+"),
    "he": re.compile("[\u0590-\u05ff]+"),
    "hi": re.compile("[\u0900-\u097f]+"),
    "th": re.compile("[\u0e00-\u0e7f]+"),
}
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003134f]")
_LATIN_WORD = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]+")
_HAN_PER_WORD = 1.6
_FUNCTION_WORDS = {
    "en": "the of and to in is are was were that for it with as on by what which who how when where why does this a an "
    "i we you he she they do can has have had my our your or if not be at no how many much about there its his her",
    "de": "der die das und ist von den mit ein eine zu im nicht auf dem des sich wie was wer wann wo welche für",
    "fr": "le la les des et est de du un une dans en pour que qui quel quelle sur au aux pas où comment",
    "es": "el la los las de y es en un una que por con para del se qué cuál quién cómo dónde cuándo",
    "it": "il lo la gli di e è in un una che per con del della non quale chi come dove quando",
    "pt": "o a os as de e é em um uma que por com para do da não qual quem como onde quando",
    "nl": "de het een en van is in op te dat die voor met zijn wat wie hoe waar wanneer niet",
    "ro": "și este de la în un o cu pe care din nu ce cine cum unde când sau lui",
    "tr": "ve bir bu için ile de da ne kim nasıl nerede hangi olarak olan daha çok",
    "vi": "của và là các có trong được cho một không những với này gì ai khi nào",
    "pl": "i w z na jest do nie się że to jak co kto gdzie kiedy od po za przez",
}
_LANGUAGES_OF: dict[str, list[str]] = {}
for _language, _words in _FUNCTION_WORDS.items():
    for _word in _words.split():
        _LANGUAGES_OF.setdefault(_word, []).append(_language)


def detect_language(text: str) -> str:
    """ISO 639-1 code of the language that most of `text` (its first 2,000 characters) is in; "en" when nothing tells.

    Scripts are weighed in words: 1.6 Han characters count as one, so "BERT 是什么" is Chinese and "Who is 李白?" not.
    """
    sample = text[:_SAMPLE]
    latin = _LATIN_WORD.findall(sample)
    if sample.isascii():
        return _latin_language(latin)
    weights = {language: float(len(script.findall(sample))) for language, script in _SCRIPTS.items()}
    han = len(_HAN.findall(sample))
    if weights["ja"] * 10 >= han and weights["ja"]:
        weights["ja"] = (weights["ja"] + han) / _HAN_PER_WORD
    else:
        weights["ja"] = 0.0
        weights["zh"] = han / _HAN_PER_WORD
    weights["ko"] /= _HAN_PER_WORD
    best = max(weights, key=lambda language: weights[language])
    return best if weights[best] > len(latin) * 0.75 else _latin_language(latin)


def _latin_language(words: list[str]) -> str:
    votes = Counter(language for word in words for language in _LANGUAGES_OF.get(word.lower(), ()))
    if not votes:
        return "en"
    best = max(votes.values())
    return (
        "en"
        if votes["en"] == best or best < 2
        else next(language for language in _FUNCTION_WORDS if votes[language] == best)
    )
