"""Which languages an embedder was trained for: declared, known by its weights, or judged by its vocabulary."""

from __future__ import annotations

from pathlib import Path

from openbook.lm.checkpoint import read_json
from openbook.lm.tokenizers.backend import open_backend

# By the SHA-256 of the weights: these were trained on English alone, although their word list holds Chinese characters.
_KNOWN = {"53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db": frozenset({"en"})}

_CHINESE = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多"
    "经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明"
    "性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位"
)
_ENGLISH = (
    "the of and to in is that for it was on are as with his they at be this from have or by one had not but what all "
    "were when we there can an your which their said if do will each about how up out them then she many some so these "
    "would other into has more her two like him see time could no make than first been its who now people my made over"
)
_SHARE_CHINESE = 0.98
_SHARE_ENGLISH = 0.95


def languages_of(directory: Path, transformer: Path, weights_sha256: str) -> frozenset[str]:
    """A `languages` list in config_sentence_transformers.json decides; then the known weights; then the word list.

    By the word list, English is claimed when common English words are single tokens, Chinese when (nearly) no common
    character is unknown. A word list shows what a model can read, not what it learnt: declare what you know.
    """
    path = directory / "config_sentence_transformers.json"
    declared = read_json(path).get("languages") if path.is_file() else None
    if isinstance(declared, list) and declared:
        return frozenset(str(language) for language in declared)
    return _KNOWN.get(weights_sha256) or _by_vocabulary(transformer)


def _by_vocabulary(transformer: Path) -> frozenset[str]:
    backend = open_backend(transformer)
    found = set()
    words = _ENGLISH.split()
    single = sum(len(backend.encode(word, add_special_tokens=False).ids) == 1 for word in words)
    if single >= _SHARE_ENGLISH * len(words):
        found.add("en")
    unknown = {backend.token_to_id(name) for name in ("[UNK]", "<unk>")} - {None}
    read = sum(not unknown & set(backend.encode(sign, add_special_tokens=False).ids) for sign in _CHINESE)
    if read >= _SHARE_CHINESE * len(_CHINESE):
        found.add("zh")
    return frozenset(found)
