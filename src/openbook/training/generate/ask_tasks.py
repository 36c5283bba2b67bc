"""What a model is asked for new tasks, and how its answer is read: more of a kind (self-instruct), or harder ones (evol).

Sources: the prompts of Wang et al. 2022, https://arxiv.org/abs/2212.10560 (table 5), and of Xu et al. 2023,
https://arxiv.org/abs/2304.12244 (appendices A to E), in our words; Chinese in the same sense.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from openbook.training.generate.language import Language

Operation = Literal["constraints", "deepening", "concretizing", "reasoning", "breadth"]
OPERATIONS: tuple[Operation, ...] = ("constraints", "deepening", "concretizing", "reasoning", "breadth")
_MORE: dict[str, str] = {
    "en": """\
Come up with a series of tasks for a text assistant. Each stands by itself, can be answered with text alone, and is of \
another kind than the others: vary topic, form and difficulty. Do not answer them. Here are the first {count}:

{shown}

Write {wanted} more, each on a line of its own that begins with "Task" and its number, from Task {next} on. \
Write nothing else.""",
    "zh": """\
请为文本助手设计一系列任务。每个任务都应独立完整、只用文字就能回答，并且与其他任务类型不同：\
变换主题、形式和难度。不要给出答案。下面是前 {count} 个：

{shown}

请再写 {wanted} 个，每个单独一行，以“任务”加编号开头，从任务 {next} 开始。不要写其他内容。""",
}
_MARK = {"en": "Task {number}: {text}", "zh": "任务 {number}：{text}"}
_HARDER: dict[str, str] = {
    "en": """\
Rewrite the task between the lines into one that is harder for a text assistant, yet reasonable, clear, and possible to \
answer with text alone. {how} Add no more than 20 words. Write the new task only, without an answer and without any comment.

-----
{text}
-----""",
    "zh": """\
请把横线之间的任务改写得对文本助手更难一些，但仍然合理、清楚、只用文字就能回答。{how}\
最多增加 30 个字。只写出新任务，不要答案，也不要任何说明。

-----
{text}
-----""",
}
_OTHER: dict[str, str] = {
    "en": """\
Take the task between the lines as inspiration for a quite different one of the same field, of similar length and \
difficulty but rarer. It must be reasonable, clear, and possible to answer with text alone. Write the new task only, \
without an answer and without any comment.

-----
{text}
-----""",
    "zh": """\
请以横线之间的任务为启发，写一个同一领域、长度和难度相近、但完全不同且更少见的任务。\
任务要合理、清楚、只用文字就能回答。只写出新任务，不要答案，也不要任何说明。

-----
{text}
-----""",
}
_HOW: dict[tuple[str, str], str] = {
    ("constraints", "en"): "Add one more constraint or requirement.",
    ("deepening", "en"): "If it asks about something, ask deeper and more widely about it.",
    ("concretizing", "en"): "Replace general notions by specific ones.",
    ("reasoning", "en"): "If a few simple thoughts solve it, have it ask for several steps of reasoning.",
    ("constraints", "zh"): "增加一个限制或要求。",
    ("deepening", "zh"): "如果它询问某个问题，请问得更深、更广。",
    ("concretizing", "zh"): "把笼统的概念换成具体的概念。",
    ("reasoning", "zh"): "如果只需简单思考就能解决，请改为需要多步推理。",
}
_NUMBERED = re.compile(
    r"^[ \t]*(?:[-*][ \t]*)?(?:\*\*)?(?:Task|任务)?[ \t]*\d+[ \t]*[.:：、)）](?:\*\*)?[ \t]*",
    re.MULTILINE | re.IGNORECASE,
)
_HEAD = re.compile(
    r"^\W*(?:(?:new|rewritten|harder) (?:task|prompt)|(?:新|改写后的?)(?:任务|指令))\W*[:：]\s*", re.IGNORECASE
)
_FENCE = re.compile(r"^-{3,}\s*|\s*-{3,}$")


def more_request(examples: Sequence[str], wanted: int, language: Language) -> str:
    """`examples`: tasks of one language."""
    known = _known(language)
    shown = "\n".join(
        _MARK[known].format(number=number, text=" ".join(one.split())) for number, one in enumerate(examples, 1)
    )
    return _MORE[known].format(count=len(examples), shown=shown, wanted=wanted, next=len(examples) + 1)


def read_tasks(text: str, is_cut: bool) -> list[str]:
    """The tasks that were written, in order. `is_cut`: the answer ended at its limit, so that the last one is not whole."""
    parts = _NUMBERED.split(text)
    found = [" ".join(one.split()) for one in parts[1:]]
    return [one for one in (found[:-1] if is_cut else found) if one]


def harder_request(task: str, operation: Operation, language: Language) -> str:
    known = _known(language)
    if operation == "breadth":
        return _OTHER[known].format(text=task)
    return _HARDER[known].format(how=_HOW[operation, known], text=task)


def read_harder(text: str, is_cut: bool) -> list[str]:
    """The new task, none where it is not whole."""
    said = _FENCE.sub("", _HEAD.sub("", text.strip())).strip().strip('"“”').strip()
    return [said] if said and not is_cut else []


def _known(language: Language) -> str:
    return "zh" if language == "zh" else "en"
