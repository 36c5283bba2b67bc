"""Chinese follow-up questions: 它、这条铁路、前者、第一个、刚才说的、那上海呢、位于哪里（没有主语）、回到第一个问题。"""

from __future__ import annotations

import re
from collections.abc import Sequence

from openbook.assistant.answer.follow_up import Turn, is_short, names, with_carried
from openbook.assistant.answer.mentions import Word, chinese_names, listed, tagged

_MEASURES = "个条种位座家所部款项次件类首张本些片段场支艘台届"
_FIRST_TURN = re.compile(
    r"^(?:那么?|好的?)?[，,]?(?:回到|关于|说回)(?:我?最初|我?最开始|刚开始|第一个|我?开头)(?:问的|提的)?问题[，,：:]?"
)
_LISTED = re.compile(rf"前者|后者|(?:第([一二三四])|(最后)一)[{_MEASURES}](?!问题|人名)(?=的|是|呢|，|要|有|在|$)")
_ORDINALS = {"一": 0, "二": 1, "三": 2, "四": 3, "最后": -1, "前者": 0, "后者": -1}
_SAID = re.compile(
    r"(?:你|您)?(?:刚才|刚刚|前面|上面|之前|先前)(?:你|您)?(?:所)?(?:说|提到|讲|提及|列出)(?:过)?的|上述的?|(?:上面|前面)(?=[这那])"
)
_POINTED = re.compile(
    rf"(?:[这那](?:一|几|[二两三])?[{_MEASURES}]|[该此]|同一?[{_MEASURES}])(?P<head>[\u4e00-\u9fff]{{1,8}}?)"
    r"(?=的|是|在|由|有|为|什么|哪|何|多|几|主要|和|与|于|会|能|可|要|被|，|？|$)"
)
_TWO = re.compile(rf"[这那](?:两|二)[{_MEASURES}](?:人|者|国|家)?")
_PRONOUN = re.compile(
    r"(?<![其吉])(?:他|她|它)(?!人)们?|(?<!尤)(?<!与)其(?![他它中余次实间后前])|(?<![因如在从自就])此(?=[的是在有])|这(?=[是的在有])"
)
_PLACE = re.compile(r"那里|那儿|这里|这儿|当地|那边")
_NO_SUBJECT = re.compile(
    "位于|地处|在|是|由|有|属于|为什么|为何|什么时候|何时|哪|多少|多久|多大|几|谁|怎么|怎样|如何|能|可以|需要|要|应该|会|从|用|叫|建|成立|"
    "始建|获得|毕业|出生|去世|一共|总共|最早|最后|现在|具体"
)
_SHORT_ATTRIBUTES = ("价", "费", "期", "率")
_LEAD = re.compile(rf"^(?:那么|那(?![{_MEASURES}里儿边两时])|还有|另外|然后|而|至于)[，,]?")
_ASKS = re.compile(r"什么|多少|几|哪|谁|何|怎|吗|是否|多[久长大高远快重]|如何|为什么|有没有|能不能|可不可以|是不是")
_ATTRIBUTE = re.compile(
    r"(?:价格|单价|售价|价|费用|费|交货期|保修期|有效期|金额|时间|时长|日期|地点|地址|位置|规格|型号|编号|名称|名字|职业|国籍|籍贯|作者|主编|全长|长度|面积|"
    r"人口|数量|重量|高度|宽度|速度|期限|年限|年龄|原因|用途|特点|特性|作用|结果|影响|标准|条件|比例|上限|下限|"
    r"负责人|联系方式|电话|邮箱|期|率)$"
)
_FRAGMENT_ENDS = re.compile(r"[呢？?。！!\s]+$")
_LONGEST_FRAGMENT = 14
_IF = re.compile("^(?:如果|要是|假如|倘若|万一|若|一旦)")
_CONSEQUENCE = re.compile(
    "(?:怎么办|怎么处理|怎么算|如何处理|会怎样|会怎么样|会如何|有什么后果|什么后果|会被?罚|行吗|可以吗|为什么|为何)"
)
_CARRIED = re.compile("（(?P<terms>[^（）]+)）$")
_NOT_NOUNS = ("交会", "没用")
"""What the tagger makes of 不交会怎样 and 没用完."""
_NOUNS = ("eng", "j", "l", "b", "i")


def resolve_chinese(question: str, turns: Sequence[Turn]) -> str:
    """`question` with what it needs from `turns`."""
    back = _FIRST_TURN.match(question)
    if back:
        rest = question[back.end() :]
        return _with_subject(rest, turns[:1], always=True) if rest.strip("？?。 ") else turns[0].question
    chosen = _LISTED.search(question)
    if chosen:
        key = chosen[1] or chosen[2] or chosen[0]
        item = _item(_ORDINALS[key], turns)
        if item:
            return _LEAD.sub("", question[: chosen.start()]) + item + question[chosen.end() :]
        return with_carried(question, turns, answer_too=True)
    said = _SAID.search(question)
    text = question[: said.start()] + question[said.end() :] if said else question
    two = _TWO.search(text)
    if two:
        return _two(text, two, turns)
    pointed = _POINTED.search(text)
    if pointed:
        return _pointed(text, pointed, turns)
    if said:
        return _headed(text, said.start(), turns)
    for pattern in (_PRONOUN, _PLACE):
        match = pattern.search(text)
        if match and not _is_inner(text, match):
            return _replaced(text, match, turns)
    return _ellipsis(text, turns)


def subject(question: str) -> str:
    """What a question is about: the part before 的, or the words before its verb or question word; "" if none.

    "邹游的职业是什么" -> 邹游, "广茂铁路全长多少公里" -> 广茂铁路, "位于哪里" -> "".
    """
    run = ""
    words = tagged(question)
    for place, word in enumerate(words):
        if _stops(word, place, words):
            break
        run += word.text
    run = run.strip("，、 ")
    attribute = _ATTRIBUTE.search(run)
    if attribute and attribute.start() > 1 and attribute[0] not in _SHORT_ATTRIBUTES:
        run = run[: attribute.start()]
    return run if len(run) > 1 else ""


def _stops(word: Word, place: int, words: Sequence[Word]) -> bool:
    text, kind = word
    if _ASKS.search(text) or kind[0] in "rpduy" or text in ("的", "，", "？", "：", "是", "有"):
        return True
    if kind in ("v", "zg", "vd") and not (place == 0 and len(words) > 1 and words[1].kind[0] in "nv"):
        return True
    return kind == "x" and text not in "·•《》“”＆& "


def _item(place: int, turns: Sequence[Turn]) -> str | None:
    """The item at `place` of the nearest list: coordinated in a question's subject, or listed in an answer."""
    for turn in reversed(turns):
        coordinated = [part for part in re.split("和|与|及|、", subject(turn.question)) if part]
        for items in (coordinated, listed(turn.answer), names(turn.answer) if is_short(turn.answer) else []):
            if len(items) > 1 and -len(items) <= place < len(items):
                return items[place]
    return None


def _two(text: str, match: re.Match[str], turns: Sequence[Turn]) -> str:
    """那两个人, 这两条铁路: the two names of the nearest turn that has them."""
    for turn in reversed(turns):
        for source in (turn.question, turn.answer):
            pairs = re.search(
                "([\u4e00-\u9fff·]{2,8}?)(?:和|与|及)([\u4e00-\u9fff·]{2,8}?)(?=被|的|在|是|于|，|。|？|$)", source
            )
            if pairs:
                first = re.sub("^[在由被对向从]", "", pairs[1])
                return f"{text[: match.start()]}{first}和{pairs[2]}{text[match.end() :]}"
    return with_carried(text, turns, answer_too=True)


def _pointed(text: str, match: re.Match[str], turns: Sequence[Turn]) -> str:
    """这条铁路, 这种物质, 该公司: a name of the history that ends in the noun, or what was asked for by it."""
    head = match["head"]
    for turn in reversed(turns):
        for name in (subject(turn.question), *names(turn.question), *names(turn.answer)):
            if len(head) > 1 and name.endswith(head):
                return text[: match.start()] + name + text[match.end() :]
        if is_short(turn.answer) and re.search(rf"(?:哪|什么)[{_MEASURES}]?{head}", turn.question):
            return f"{text[: match.start()]}{head}{turn.answer.rstrip('。')}{text[match.end() :]}"
    known = next((found for turn in reversed(turns) if (found := subject(turn.question))), "")
    if known:
        return text[: match.start()] + known + text[match.end() :]
    return with_carried(text, turns, answer_too=True)


def _headed(text: str, place: int, turns: Sequence[Turn]) -> str:
    """刚才说的X: the name of the history that ends in X's first noun; else X with what was spoken of."""
    rest = text[place:]
    head = "".join(word.text for word in tagged(rest)[:1])
    for turn in reversed(turns):
        for name in (subject(turn.question), *names(turn.question), *names(turn.answer)):
            if len(head) > 1 and name.endswith(head) and name != head:
                return text[:place] + name + rest[len(head) :]
    return with_carried(text, turns)


def _is_inner(text: str, match: re.Match[str]) -> bool:
    """Whether the question itself says, before the pronoun, what it stands for."""
    before = text[: match.start()]
    return len(before) > 2 and bool(chinese_names(before) or subject(before))


def _replaced(text: str, match: re.Match[str], turns: Sequence[Turn]) -> str:
    is_person = match[0][0] in "他她"
    for turn in reversed(turns):
        answered = names(turn.answer) if is_short(turn.answer) else []
        asks_person = re.search("谁|哪位|什么人|何人", turn.question) is not None
        asked = [subject(turn.question), *names(turn.question)]
        candidates = [*answered, *asked] if is_person and asks_person else [*asked, *answered]
        referent = next((candidate for candidate in candidates if candidate), "")
        if referent:
            owns = "的" if match[0] == "其" else ""
            return _LEAD.sub("", text[: match.start()]) + referent + owns + text[match.end() :]
    return with_carried(text, turns, answer_too=True)


def _ellipsis(question: str, turns: Sequence[Turn]) -> str:
    """那上海呢, 交货期呢, 位于哪里; any other question stays as it is, without 那."""
    body = _LEAD.sub("", question)
    first, comma, rest = body.partition("，")
    if first.endswith("呢") and comma and _ASKS.search(rest):
        return first.removesuffix("呢") + rest
    fragment = _FRAGMENT_ENDS.sub("", body)
    asks = _ASKS.search(fragment)
    if not fragment:  # 然后呢, 还有呢
        return turns[-1].question
    if not asks and len(fragment) <= _LONGEST_FRAGMENT:
        return _substituted(fragment, turns)
    return body if asks is None else _with_subject(body, turns)


def _with_subject(question: str, turns: Sequence[Turn], *, always: bool = False) -> str:
    """A question that names nothing ("位于哪里") gets the last subject, one about a case ("超过了怎么办") all that the
    last turn spoke of; `always`: also one that names something.
    """
    is_case = _CONSEQUENCE.search(question) is not None
    if _has_noun(question) or not (is_case or _NO_SUBJECT.match(question)):
        return with_carried(question, turns) if always else question
    if is_case:
        return with_carried(question, turns)
    known = next((found for turn in reversed(turns) if (found := subject(turn.question))), "")
    return known + question if known else with_carried(question, turns)


def _has_noun(text: str) -> bool:
    return any(
        (word.kind[0] == "n" or word.kind in _NOUNS) and not _ASKS.search(word.text) and len(word.text) > 1
        for word in tagged(text)
        if word.text not in _NOT_NOUNS
    )


def _substituted(fragment: str, turns: Sequence[Turn]) -> str:
    """The last question with the fragment for its subject, or for what was asked about its subject or object."""
    last = turns[-1].question
    if _IF.match(fragment) or (fragment.endswith("了") and not _has_noun(fragment)):
        return with_carried(fragment, turns)
    carried = _CARRIED.search(last)
    if carried:
        kept = [term for term in carried["terms"].split("，")[1:] if _ATTRIBUTE.search(term)]
        return f"{last[: carried.start()]}（{'，'.join([fragment, *kept])}）"
    about = subject(last)
    owner, of, rest = last.partition("的")
    if _ATTRIBUTE.search(fragment) and not (about and not of and about.endswith(fragment[-1])):
        return f"{about or owner}的{fragment}是多少？" if about or of else with_carried(fragment, turns)
    if of and rest and not _ASKS.search(owner) and len(owner) < _LONGEST_FRAGMENT:
        return f"{fragment}的{rest}"
    if about:
        return last.replace(about, fragment, 1)
    objects = [word.text for word in tagged(last) if word.kind == "n" and not _ASKS.search(word.text)]
    if objects and len(fragment) < _LONGEST_FRAGMENT // 2:  # 哪些发明不能授予专利权 + 商标呢
        before, _, after = last.rpartition(objects[-1])
        return before + fragment + after
    return with_carried(fragment, turns)
