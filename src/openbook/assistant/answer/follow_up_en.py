"""English follow-up questions: pronouns, "the same X", "the first one", "And in Hamburg?", "what I asked first"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from openbook.assistant.answer.follow_up import Turn, is_short, names, with_carried
from openbook.assistant.answer.mentions import content_words, english_names, listed, noun_phrase, phrases

_FIRST_TURN = re.compile(
    r"(?:^|[,;]\s*)(?:(?:going|coming) )?(?:back to|about|as for) (?:what I asked (?:first|at first|before)|(?:the|my) "
    r"(?:first|original|earlier) question)\s*[,:]?\s*",
    re.IGNORECASE,
)
_LISTED = re.compile(
    r"\bthe (?:(first|second|third|fourth|last|latter|former)(?: one| of (?:them|these|those))|(former|latter))\b"
    r"(?:,? (?:that )?(?:you|I) (?:just )?(?:mentioned|said|named|listed))?",
    re.IGNORECASE,
)
_ORDINALS = {"first": 0, "former": 0, "second": 1, "third": 2, "fourth": 3, "last": -1, "latter": -1}
_SAID = re.compile(
    r"\b(?:did|as) you (?:just )?(?:say|said|mention\w*)\b|\b(?:mentioned|named|said|listed|described) (?:above|before|earlier)\b"
    r"|\b(?:you|I) (?:just )?(?:mentioned|said|named)\b|\b(?:the )?(?:above|aforementioned)\b",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"^(?:(?:and|but|or|so|ok|okay|then)\b,?\s*)?(?:(?:what|how) about\b\s*|and\b\s*)?(?:then\b,?\s*)?", re.IGNORECASE
)
_ASKS = re.compile(
    r"\b(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|do|does|did|can|could|may|must|should|will|has|have)\b",
    re.IGNORECASE,
)
_THING = re.compile(r"\b(it|its|itself)\b", re.IGNORECASE)
_PERSON = re.compile(r"\b(he|him|his|she|her|hers)\b", re.IGNORECASE)
_PLURAL = re.compile(r"\b(they|them|their|theirs)\b", re.IGNORECASE)
_PAIR = re.compile(r"\b(?:these|those|the|both of these|both of those) two\b(?: [a-z]+(?=\?|$))?", re.IGNORECASE)
_POINTED = re.compile(
    r"\b(?:this|these|those|the same|such an?|(?:(?<=of )|(?<=in )|(?<=at )|(?<=for )|(?<=by )|(?<=on )|(?<=from )"
    r"|(?<=about )|(?<=is )|(?<=was )|(?<=does )|(?<=did )|(?<=to )|(?<=with )|^)that) "
    r"(?!(?:year|week|month|time|day|case)\b)([a-z]+)\b",
    re.IGNORECASE,
)
_BARE = re.compile(r"\b(?:this|that|these|those|there)(?=\s*(?:\?|$|,))", re.IGNORECASE)
_EMPTY_IT = re.compile(
    r"\b(?:is|was) it (?:\w+ )?(?:possible|true|necessary|allowed|ok|okay|important|mandatory|required|forbidden|permitted)\b"
    r"|\bdoes it (?:take|cost|make sense) .*\bto\b|\bit (?:is|was) (?:\w+ )?(?:possible|allowed|necessary)\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"\b(?:when|before|after|if|while|because|once|until|and|that|who|which|so)\b", re.IGNORECASE)
_AHEAD = re.compile(
    r"\b(?:its|his|her|their) [a-z ]{1,40}?\b(?:has|have|had|did|does|do|is|was|were|are|can)(?: the| an?)? [A-Z]"
)
"""The question itself says, after the pronoun, whose it is."""
_NOT_OWNED = frozenset(
    "from to in at on by for with about of after before when where soon again then and or as if because into over during "
    "go do be have get leave".split()
)
_BARE_WORDS = 2
_PREPOSITIONS = r"in|at|on|for|of|from|to|with|by|under|during|about|after|before|since|near"
_FRAGMENT_PREPOSITION = re.compile(rf"^({_PREPOSITIONS})\s+(.+)$", re.IGNORECASE)


def resolve_english(question: str, turns: Sequence[Turn]) -> str:
    """`question` with what it needs from `turns`."""
    back = _FIRST_TURN.search(question)
    if back:
        rest = (question[: back.start()] + " " + question[back.end() :]).strip()
        return resolve_english(_capital(rest), turns[:1]) if rest.strip("?! ") else turns[0].question
    chosen = _LISTED.search(question)
    if chosen:
        question = _without_lead(question)
        item = _item(_ORDINALS[(chosen[1] or chosen[2]).lower()], turns)
        chosen = _LISTED.search(question)
        if item and chosen:
            return _put(question, chosen, item)
        return with_carried(question, turns, answer_too=True)
    pointed = _pointed(question, turns)
    if pointed is not None:
        return pointed
    replaced = _pronouns(_tidy(_SAID.sub("", question)), turns)
    if replaced is not None:
        return replaced
    if _SAID.search(question):
        return with_carried(_capital(_tidy(_SAID.sub("", question))), turns)
    return _ellipsis(question, turns)


def _item(place: int, turns: Sequence[Turn]) -> str | None:
    """The item at `place` of the nearest list: in an answer, or of the names that a turn has."""
    for turn in reversed(turns):
        for items in (listed(turn.answer), names(turn.answer) if is_short(turn.answer) else [], names(turn.question)):
            if len(items) > 1 and -len(items) <= place < len(items):
                named = names(items[place])
                return named[0] if named and items[place].startswith(named[0]) else items[place]
    return names(turns[-1].question)[0] if names(turns[-1].question) else None


def _pointed(question: str, turns: Sequence[Turn]) -> str | None:
    """ "these two", "that hymn", "the same university", a final "there"."""
    pair = _PAIR.search(question)
    if pair:
        for turn in reversed(turns):
            found = names(turn.question) if len(names(turn.question)) > 1 else names(turn.answer)
            if len(found) > 1:
                return _put(question, pair, " and ".join(found[:2]))
        return with_carried(question, turns, answer_too=True)
    match = _POINTED.search(question)
    if match:
        head = match[1]
        for turn in reversed(turns):
            for name in (*names(turn.question), *names(turn.answer)):
                if head.lower() in name.lower().split():
                    return _put(question, match, name)
            if is_short(turn.answer) and re.search(
                rf"\b(?:what|which) (?:\w+ )?{re.escape(head)}\b", turn.question, re.I
            ):
                return _put(question, match, f"the {head} {turn.answer.rstrip('.')}")
        return with_carried(question, turns, answer_too=True)
    if _BARE.search(question) and not re.search(r"\b(?:is|are|was|were) there\b", question, re.IGNORECASE):
        return with_carried(question, turns)
    return None


def _pronouns(question: str, turns: Sequence[Turn]) -> str | None:
    """The question with its pronouns replaced; None when it has none that points back."""
    text, found = question, False
    for pattern, wanted in ((_PLURAL, "plural"), (_PERSON, "person"), (_THING, "thing")):
        match = pattern.search(text)
        if match is None or (pattern is _THING and _EMPTY_IT.search(text)) or _is_inner(text, match, wanted):
            continue
        referent = _referent(wanted, turns)
        if referent is None:
            return with_carried(_without_lead(text), turns, answer_too=True)
        found = True
        text = _put(text, match, referent)
    return _capital(_without_lead(text)) if found else None


def _is_inner(text: str, match: re.Match[str], wanted: str) -> bool:
    """Whether the question itself says, before the pronoun, what it stands for."""
    if _AHEAD.match(text, match.start()):
        return True
    before = text[: match.start()]
    if english_names(before):
        return wanted != "plural" or len(english_names(before)) > 1
    clauses = [clause for clause in _CLAUSE.finditer(before) if clause.start() > 0]
    return bool(clauses) and bool(phrases(before[: clauses[-1].start()]))


def _referent(wanted: str, turns: Sequence[Turn]) -> str | None:
    """The name or phrase that a pronoun stands for, from the nearest turn that has one of its kind."""
    for turn in reversed(turns):
        answered = names(turn.answer) if is_short(turn.answer) else []
        asked = names(turn.question)
        many = [name for name in answered if _is_many(turn.answer, name)]
        one = [name for name in answered if name not in many]
        asks_person = re.match(r"\W*(?:who|whose|which (?:person|man|woman|king))\b", turn.question, re.IGNORECASE)
        if wanted == "plural":
            candidates = many or ([" and ".join(asked[:3])] if len(asked) > 1 else []) or asked or one
        elif wanted == "person":
            candidates = [*(one if asks_person else []), *asked, *one]
        else:
            candidates = [*(noun_phrase(turn.question, name) for name in asked), *([] if asks_person else one)]
        candidates = candidates or (phrases(turn.question) if wanted != "person" else [])
        if candidates:
            return candidates[0]
    return None


def _is_many(text: str, name: str) -> bool:
    return name.endswith("s") and re.search(rf"\bthe {re.escape(name)}\b", text, re.IGNORECASE) is not None


def _put(text: str, match: re.Match[str], referent: str) -> str:
    """`text` with `referent` for the matched words; in the possessive where the pronoun owns what follows."""
    word = match[0].lower()
    after = re.match(r"\s+([\w-]+)", text[match.end() :])
    owns = word in ("its", "his", "their") or (
        word == "her" and after is not None and after[1].lower() not in _NOT_OWNED
    )
    said = referent + ("'s" if owns else "")
    return text[: match.start()] + said + text[match.end() :]


def _ellipsis(question: str, turns: Sequence[Turn]) -> str:
    """ "And in Hamburg?", "What about Gdansk?", "And who decides?"; any other question stays as it is."""
    lead = _LEAD.match(question)
    has_lead = bool(lead and lead[0].strip())
    body = _without_lead(question)
    asks = _ASKS.search(body) is not None
    if asks and len(body.split()) <= _BARE_WORDS and not english_names(body):  # "Why?", "Who approves?"
        return with_carried(body, turns)
    if not has_lead and (asks or len(body.split()) > 5):
        return question
    if asks and not re.search(r",\s*(?:which|what|who|when|where|how)\b", body):
        return body if english_names(body) or len(content_words(body)) > 3 else with_carried(body, turns)
    # As it was typed: a capital that `_without_lead` set would make a name of any word ("And vision?").
    fragment = (question[lead.end() :] if lead and has_lead else question).strip().rstrip("?!. ")
    return _substituted(fragment, turns[-1].question) or with_carried(f"{fragment}?", turns)


def _substituted(fragment: str, question: str) -> str | None:
    """The last question with `fragment` in the place of its counterpart: the same preposition, or a name like it."""
    match = _FRAGMENT_PREPOSITION.match(fragment)
    if match:
        spot = list(re.finditer(rf"\b{match[1]}\s+(?:(?!\b(?:{_PREPOSITIONS})\b)[^?,;(])+", question, re.IGNORECASE))
        if spot and spot[-1].start() > 0:
            tail = question[spot[-1].end() :]
            return f"{question[: spot[-1].start()]}{match[1].lower()} {match[2]}{' ' * (tail[:1].isalpha())}{tail}"
    noun = match[2] if match else fragment
    asked = [name for name in english_names(question) if name not in noun]
    offered = english_names(f"x {noun}")
    if asked and (offered or match):
        alike = [name for name in asked if len(name.split()) == len(noun.split())] or asked
        old = noun_phrase(question, alike[-1])
        return re.sub(rf"(?:\b(?:the|a|an) )?{re.escape(old)}", lambda _: noun, question, count=1, flags=re.IGNORECASE)
    return None


def _without_lead(question: str) -> str:
    lead = _LEAD.match(question)
    return _capital(question[lead.end() :].strip()) if lead and lead[0].strip() else question


def _tidy(text: str) -> str:
    return re.sub(r"\s+([?,.])", r"\1", re.sub(r"\s{2,}", " ", text)).strip(" ,")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
