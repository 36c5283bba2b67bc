"""Words by which a paragraph shows that it continues the one before: connectives, anaphora, additions; English, Chinese.

The connectives are those of W. Mann, S. Thompson, "Rhetorical Structure Theory" (1988) and A. Knott, R. Dale, "Using
linguistic phenomena to motivate a set of coherence relations" (1994); Chinese ones after those of HIT-CDTB (2014). The
Chinese patterns are of simplified characters: text is simplified before it is matched.
"""

from __future__ import annotations

import re


def _words(text: str) -> str:
    return "|".join(re.escape(phrase).replace(r"\ ", r"\s+") for phrase in text.replace("\n", " ").split("; "))


CONNECTIVE_EN = re.compile(
    r"(?:and|but|or|"
    + _words(
        "however; nevertheless; nonetheless; therefore; thus; hence; consequently; accordingly; for example; for instance; "
        "in addition; moreover; furthermore; besides; similarly; likewise; instead; otherwise; then; next; finally; "
        "second; third; secondly; thirdly; lastly; afterwards; subsequently; meanwhile; at the same time; in other words; "
        "that is; in contrast; by contrast; conversely; on the other hand; on the contrary; as a result; in particular; "
        "specifically; in fact; indeed; still; yet; so; also; again; above all; after that; as a consequence; "
        "for this reason; because of this; despite this; in this way; in short; in summary; to this end; even so; "
        "as such; if so; if not; curiously; interestingly; unfortunately; one reason; one explanation; others; some"
    )
    + r")\b",
    re.IGNORECASE,
)
INLINE_EN = re.compile(r"\b(?:however|therefore|on the other hand|for example|instead|moreover|too)\b", re.IGNORECASE)
_LEADING_EN = (
    "in|on|at|of|for|from|with|by|after|before|since|to|during|under|among|between|through|until|all|most|some|many|one|"
    "both|each|neither|either|none|several|while|when|if|because|although|though|as|like|unlike|given|without|all|only|even"
)
"""Words before which no noun has been named: a pronoun after them means something of the paragraph before."""
_SHELLS_EN = (
    "objectives?|aims?|purposes?|reasons?|causes?|effects?|results?|outcomes?|consequences?|process(?:es)?|procedures?|"
    "methods?|approach(?:es)?|mechanisms?|ideas?|notions?|propert(?:y|ies)|problems?|solutions?|questions?|answers?|changes?|"
    "differences?|advantages?|disadvantages?|limits?|exceptions?|decisions?|agreements?|attempts?|experiments?|findings|"
    "debates?|arguments?|claims?|distinctions?|requirements?|conditions?|remainder|rest"
)
"""Nouns that with "the" stand for what was said before: H.-J. Schmid, "English Abstract Nouns as Conceptual Shells"."""
ANAPHOR_EN = re.compile(
    rf"(?:(?:(?:{_LEADING_EN})\s+){{0,2}}(?:it|its|they|their|them|he|his|him|she|her|this|these|those|such(?!\s+as)|"
    r"then|that(?=,|\s+(?:is|was|means|\w+ed)\b)|both|neither|none|(?:the\s+)?(?:former|latter|same|first|second|third|"
    r"others?|another|above)|(?:a|an|some)\s+(?:second|third|further|similar|related|different|closer)|similar|more|fewer|"
    rf"the\s+(?:\w+\s+)?(?:{_SHELLS_EN})|(?:some|most|many|several|few|one|two|three|each|all)(?=\s+(?:of\s+(?:them|these|its|the)|"
    r"(?:is|are|was|were|have|has|had|may|can|will)\b)))\b|as\s+(?:the\s+(?:table|figure)|above|can\s+be))",
    re.IGNORECASE,
)
CATAPHOR_EN = re.compile(
    r"^\W*it(?:'s| is| was| has been)? (?:\w+ ){0,2}(?:that|to|when|until|not until)\b", re.IGNORECASE
)
ADDITION_EN = re.compile(
    r"\b(?:also|another|other|others|further|more|additional|remaining|again|respectively|even|still|later|soon|eventually|ultimately|"
    r"continue[sd]?|resumed?|remain(?:s|ed)?|no\s+longer|instead|too|as\s+well)\b",
    re.IGNORECASE,
)
TIME_EN = re.compile(
    r"(?:(?:in|on|by|from|since|around|before|after|during|starting|as of|until|throughout|between)\b[^,.]{0,40}?"
    r"\b(?:1\d{3}|20\d\d|\d{1,2}th|century|mid)\b|the first\b|\d{4}\b)",
    re.IGNORECASE,
)
QUESTION = re.compile(r"[?？][\"”’」]?\s*$")
OPEN = re.compile(
    r"(?:[:：]|\b(?:as\s+follows|the\s+following|below)\b[^.]*[.:]|(?:如下|下列|以下|下面|下表|下图)[^。]*[。：:])\s*[\"”’」]*$"
)

CONNECTIVE_ZH = re.compile(
    "但是|但|然而|不过|可是|却|因此|因而|所以|于是|故|例如|比如|譬如|此外|另外|除此|同时|与此同时|而且|并且|况且|再者|其次|再次|"
    "最后|然后|接着|随后|随即|之后|此后|从此|总之|综上|也就是说|换句话说|换言之|即|具体|相反|反之|相比之下|相较|与之|"
    "由此|为此|对此|否则|如果|若|逾期|尽管如此|虽然如此|事实上|实际上|其实|尤其|特别是|一方面|另一方面|第[二三四五六]种|第[二三四五六]，|"
    "第[二三四五六]类|一种解释|原因|结果|而|并|且|又|也|还"
)
ANAPHOR_ZH = re.compile(
    "其(?!他|它|余|中|实|次)|该|此|这|那(?:个|些|里|种|时)|上述|前述|前款|前两款|前条|本条|本款|上列|上表|如此|他|它|她|后者|前者|二者|两者|同年|翌年|"
    "次年|同月|同日|当时|当地|当年|以上"
)
ADDITION_ZH = re.compile("也|还|另|亦|又|其他|其它|其余|除外|不在此限|可以|再")
TIME_ZH = re.compile(
    r"(?:到了|在|自|从|进入|截至|早在|早期|近代)?\s*(?:公元|西元|民国)?前?\d{1,4}\s*(?:年|世纪)|"
    r"一[一二三四五六七八九〇]{3}年"
)
RULE_ZH = re.compile("第[一二三四五六七八九十百千零〇0-9]+[条章节编]|[一二三四五六七八九十]{1,3}、")
