"""Thanks, greetings and "I see": words of a conversation that ask nothing, alone or before a question."""

from __future__ import annotations

import re

_ENGLISH = (
    r"(?:many |ok(?:ay)?,? )?(?:thanks|thank you|thx|cheers)"
    r"(?: (?:a lot|a bunch|so much|very much|again|for (?:the|your|that|this)\b[\w ]*))?"
    r"|ok(?:ay)?|great|perfect|excellent|wonderful|awesome|all right|alright|got it|i see|understood|makes sense|good to know"
    r"|that(?:'s| is| was)? (?:all|it|helpful|clear|good|great|helps|very helpful)|hello|hi(?: there)?|hey|bye|goodbye|see you"
    r"|good (?:morning|afternoon|evening|night)|you(?:'re| are) welcome|no problem|never ?mind"
)
_CHINESE = (
    "(?:非常|十分|多|太|真的?|好的?)?(?:谢谢|感谢|多谢|谢了|谢啦)(?:[你您]们?|大家|了|啦|哦|啊|呀|的(?:回答|解答|帮助|解释))*(?:的?(?:回答|解答|帮助|解释))?"
    "|好(?:的|吧|了|嘞|呀)?|行(?:了|吧)?|嗯+|哦+|噢+|(?:我)?(?:明白|知道|了解|懂|清楚)了?|收到|原来如此|这样啊|没问题了?|没有?(?:了|别的了?|其他了?)"
    "|(?:[你您]们?|大家)好|早上好|下午好|晚上好|晚安|再见|拜拜|辛苦[你您]?了?|太好了|很好|不错|不客气|不用了|就这些|打扰了"
)
_GAP = r"[\s,.!;，。！；、~～…]"
_MARK = r"\s*(?:[,.!;，。！；、~～…]|$)"  # "Great Britain" is no courtesy
_COURTESY = re.compile(rf"{_GAP}*(?:(?:{_ENGLISH})(?={_MARK})|(?:{_CHINESE})(?={_GAP}|$)){_GAP}*", re.IGNORECASE)


def without_courtesies(text: str) -> str:
    """`text` without the courtesies that it begins with; "" when it says nothing else.

    "Thanks! And in Hamburg?" -> "And in Hamburg?", "好的，谢谢！那上海呢？" -> "那上海呢？", "谢谢" -> "".
    """
    rest = text.strip()
    while (match := _COURTESY.match(rest)) and match[0]:
        rest = rest[match.end() :]
    return rest
