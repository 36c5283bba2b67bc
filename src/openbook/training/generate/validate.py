"""Whether a task, and an answer to it, may become training data; and if not, why.

Sources: Wang et al. 2022 (self-instruct), https://arxiv.org/abs/2212.10560, section 2.2 and its code: lengths, keywords, first
signs; Xu et al. 2023 (WizardLM), https://arxiv.org/abs/2304.12244, section 2.2, elimination: refusals, words of the request.
"""

from __future__ import annotations

import re
import unicodedata

from openbook.training.data.words import grams, words
from openbook.training.generate.language import Language, language_of

MIN_WORDS, MAX_WORDS = 4, 150
MAX_ANSWER_WORDS = 1_000
_CHINESE_WORD = 1.5
"""Characters of a Chinese word."""
_BEYOND = re.compile(
    r"\b(?:images?|pictures?|photos?|graphs?|diagrams?|flowcharts?|files?|maps?|videos?|audio|music|draw|plot|attached|"
    r"go to|https?)\b|图片|图像|照片|图表|流程图|视频|音频|音乐|附件|文件|画出|画一|绘制|网址|链接",
    re.IGNORECASE,
)
"""What a model of text has not before it, and cannot make."""
_REFUSAL = re.compile(
    r"^\W*(?:i(?:'|’)?m (?:sorry|afraid|unable|not able)|i am (?:sorry|afraid|unable|not able)|sorry\b|"
    r"i (?:cannot|can(?:'|’)t|could ?n(?:o|'|’)t)\b|i (?:do not|don(?:'|’)t) (?:have|know)|"
    r"as an? (?:ai|artificial|language)|unfortunately,? i\b|my apologies|i apologi[sz]e|"
    r"(?:很|非常|十分)?抱歉|对不起|不好意思|我(?:无法|不能|没有办法|没法)|无法|"
    r"(?:作为|身为)(?:一[个名款种])?(?:AI|人工智能|语言模型|大?模型|助手))",
    re.IGNORECASE,
)
_LEAKED = re.compile(
    r"(?:given|rewritten|created|new|original) prompt\b|\b(?:task|example) \d+\b|"
    r"给定的?(?:指令|任务)|改写后的?(?:指令|任务)|原始?(?:指令|任务)|任务 ?\d+",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"<\|\w+\|>|</?s>|\[/?INST\]")
_OTHER_LANGUAGE = re.compile(
    r"translat|\bin (?:chinese|english|french|german|spanish|japanese|mandarin)\b|"
    r"翻译|译成|英文|英语|中文|汉语|法语|德语|日语",
    re.IGNORECASE,
)
_LOOP_WORDS, _LOOP_SHARE = 40, 0.35


def fault_of_task(text: str, language: Language) -> str:
    """Why a task is no use; empty where it is one. `language`: what it is to be in."""
    count = size_of(text)
    if count < MIN_WORDS:
        return "task: too short"
    if count > MAX_WORDS:
        return "task: too long"
    if unicodedata.category(text.lstrip()[0])[0] in "PSZC" and text.lstrip()[0] not in "\"'“‘《「(（":
        return "task: begins with a sign"
    if _MARKUP.search(text):
        return "task: marks of a chat template"
    if _LEAKED.search(text):
        return "task: words of the request"
    if _BEYOND.search(text):
        return "task: needs more than text"
    if language_of(text) != language:
        return "task: another language"
    if _REFUSAL.match(text):
        return "task: a refusal"
    return ""


def fault_of_answer(task: str, text: str) -> str:
    """Why an answer is none; empty where it is one."""
    if not words(text) and not any(sign.isalnum() for sign in text):
        return "answer: empty"
    if size_of(text) > MAX_ANSWER_WORDS:
        return "answer: too long"
    if _REFUSAL.match(text):
        return "answer: a refusal"
    if _MARKUP.search(text):
        return "answer: marks of a chat template"
    if words(text) == words(task):
        return "answer: the task again"
    asked, said = language_of(task), language_of(text)
    if said != asked and len(words(text)) > 3 and not _OTHER_LANGUAGE.search(task):
        return "answer: another language"
    if is_loop(text):
        return "answer: goes round in circles"
    return ""


def size_of(text: str) -> float:
    """Words; of Chinese so many as its characters would make."""
    found = words(text)
    chinese = sum(len(one) == 1 and "\u3400" <= one <= "\u9fff" for one in found)
    return len(found) - chinese + chinese / _CHINESE_WORD


def is_loop(text: str) -> bool:
    """Whether most runs of four words come again and again."""
    found = words(text)
    if len(found) < _LOOP_WORDS:
        return False
    runs = list(grams(found, 4))
    return len(set(runs)) < _LOOP_SHARE * len(runs)
