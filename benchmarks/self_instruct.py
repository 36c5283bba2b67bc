"""200 seeds become 1,000 rows: what a model proposes, what is left out of it and why, and how alike the rows are.

`python benchmarks/self_instruct.py [--rows 1000]`. The model is scripted: it writes tasks by lists of words, and at known rates
what a real one writes too: tasks that are like others, refusals, another language, tasks that need pictures, tasks of a test set,
answers that are none. So every row that is kept can be held against what was planted. ROUGE-L of all pairs is computed again by
the plain table. Writes `results/self_instruct.json`.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from openbook.core.messages import ChatRequest, Completion, ModelLimits
from openbook.training.data.contamination import TestSet
from openbook.training.data.reading import Placed
from openbook.training.data.row import Chat
from openbook.training.generate.expand import expand
from openbook.training.generate.expand_settings import ExpandSettings
from openbook.training.generate.seeds import Task

RESULTS = Path(__file__).resolve().parent / "results" / "self_instruct.json"
THINGS = (
    "river bridge lantern orchard compass harbour teapot violin glacier market telescope garden kettle mirror ladder window "
    "candle blanket island meadow forest desert castle tunnel anchor basket hammer needle pillow saddle shovel whistle barrel "
    "bottle button carpet curtain drawer engine feather fountain hinge jacket kitchen lemon mountain notebook oven pencil quilt "
    "railway sailboat turnip umbrella valley wagon yarn zipper acorn beetle cactus dolphin eagle falcon goose heron iguana"
).split()
PEOPLE = (
    "nurse farmer pilot teacher baker carpenter lawyer child tourist student gardener clerk sailor painter cook driver editor "
    "librarian tailor miner dentist mayor coach singer plumber chemist"
).split()
WAYS = (
    "briefly politely cheerfully formally honestly precisely gently playfully seriously warmly soberly plainly calmly boldly "
    "carefully slowly quickly vividly modestly proudly"
).split()
TOPICS = (
    "savings nutrition history weather grammar chemistry justice loyalty sleep travel trade energy memory fashion sports "
    "poverty friendship insects planets money ethics rhythm taxes tides erosion migration voting hygiene drought recycling"
).split()
FORMS = (
    "Explain {way} to a {person} how a {thing} and a {other} differ.",
    "Write a {number} line poem in which some {thing} meets an old {person}.",
    "List {number} reasons why {topic} matters for every {person}.",
    "Suppose a {person} lost the {thing}; which {number} steps come next?",
    "Summarise what is known about {topic} in {number} sentences, {way}.",
    "Turn this note into a {way} worded letter: the {thing} arrived without its {other}.",
    "Which is heavier, one {thing} or {number} pieces of {other}, and why?",
    "Invent a riddle whose solution is {thing}.",
    "Compare {topic} with {topic2} from the view of a {person}.",
    "Give a {person} advice on {topic} during a long winter.",
    "Name {number} questions that a {person} should ask before buying a {thing}.",
    "Describe the smell of a {thing} beside a wet {other}.",
    "Correct the grammar: them {person}s was carrying {number} {thing} yesterday.",
    "Plan a school lesson of {number} minutes about {topic}.",
    "What would change if {topic} had never been invented?",
    "Write a dialogue where a {person} sells his {thing} to another {person2}.",
    "Classify the words {thing}, {other}, {topic} by whether they can be touched.",
    "Estimate how many times a {thing} is used in {number} years.",
    "Find a slogan for a shop that repairs every {thing}.",
    "Retell the tale of the {person} and the {thing} {way}.",
)
TAILS = (
    "Mention {a}, {b}, {c} and {d}.",
    "It should have to do with {a}, {b} or {c}, never with {d} or {e}.",
    "The reader knows {a} and {b} but neither {c} nor {d}.",
    "Begin with {a}, go on to {b}, end at {c}, {d}, {e}.",
    "Leave out {a}, {b}, {c}, {d}, {e}, {f}.",
    "Think of {a} {b}, {c} {d} and {e} {f}.",
)
ZH_THINGS = (
    "河流 桥梁 灯笼 果园 罗盘 港口 茶壶 提琴 冰川 市场 花园 镜子 梯子 窗户 蜡烛 毯子 岛屿 草地 森林 沙漠 城堡 隧道 铁锚 篮子"
).split()
ZH_PEOPLE = "护士 农民 飞行员 老师 面包师 木匠 律师 孩子 游客 学生 园丁 职员 水手 画家 厨师 司机 编辑 裁缝".split()
ZH_TOPICS = (
    "储蓄 营养 历史 天气 语法 化学 公平 忠诚 睡眠 旅行 贸易 能源 记忆 时尚 体育 友谊 昆虫 行星 税收 潮汐".split()
)
ZH_TAILS = (
    "请提到{a}、{b}、{c}、{d}。",
    "内容要与{a}、{b}或{c}有关，不能涉及{d}和{e}。",
    "读者熟悉{a}、{b}，却不了解{c}、{d}。",
    "从{a}开始，经过{b}、{c}、{d}，最后谈{e}。",
)
ZH_FORMS = (
    "请向{person}说明{thing}与{other}有什么不同。",
    "写一首{number}行的小诗，主角是{thing}和年老的{person}。",
    "列出{number}条理由，说明{topic}为何重要。",
    "假如{person}弄丢了{thing}，接下来应当怎么办？",
    "用{number}句话概括你所知道的{topic}。",
    "编一个谜语，谜底就是{thing}。",
    "从{person}的角度比较{topic}和{topic2}。",
    "为专门修理{thing}的小店想一句广告语。",
    "如果世上从来没有{topic}，生活会怎样？",
    "设计一节{number}分钟的课，主题为{topic}。",
)
PLANTED = {
    "like another": 0.15,
    "too short": 0.05,
    "a refusal": 0.04,
    "another language": 0.04,
    "needs more than text": 0.04,
    "in the test set": 0.03,
}
"""Of the tasks: shares that are no use, and why."""
POOR_ANSWERS = {"refusal": 0.05, "empty": 0.02, "circles": 0.02, "echo": 0.02, "language": 0.02}


def task(draw: Random, language: str) -> str:
    """One that is of use."""
    zh = language == "zh"
    things, people, topics = (ZH_THINGS, ZH_PEOPLE, ZH_TOPICS) if zh else (THINGS, PEOPLE, TOPICS)
    thing, other = draw.sample(things, 2)
    person, person2 = draw.sample(people, 2)
    topic, topic2 = draw.sample(topics, 2)
    number = draw.randint(2, 40)
    words = {"thing": thing, "other": other, "person": person, "person2": person2, "topic": topic, "topic2": topic2}
    first = draw.choice(ZH_FORMS if zh else FORMS).format(**words, number=number, way=draw.choice(WAYS))
    rest = dict(zip("abcdef", draw.sample([*things, *people, *topics], 6), strict=True))
    last = draw.choice(ZH_TAILS if zh else TAILS).format(**rest)
    return f"{first}{last}" if zh else f"{first} {last}"


def seeds(count: int, seed: int = 0) -> list[Task]:
    """A quarter of them Chinese."""
    draw = Random(f"seeds {seed}")
    found: dict[str, Task] = {}
    while len(found) < count:
        language = "zh" if len(found) % 4 == 3 else "en"
        text = task(draw, language)
        found.setdefault(text, Task(text, "Here is one." if language == "en" else "这是一个答案。", language))
    return list(found.values())


def test_rows(count: int = 50) -> list[Placed]:
    """What must not come out."""
    draw = Random("tests")
    texts = [task(draw, "zh" if at % 4 == 3 else "en") for at in range(count)]
    return [Placed(f"test:{at}", Chat(({"role": "user", "content": one},))) for at, one in enumerate(texts)]


class TaskWriter:
    """A `ChatModel` that proposes tasks and answers them, by the seed of each request; `planted` counts what was planted."""

    def __init__(self) -> None:
        self.name, self.limits = "scripted", ModelLimits()
        self._tests = [one.row.messages[0]["content"] for one in test_rows() if isinstance(one.row, Chat)]

    def complete(self, request: ChatRequest) -> Completion:
        text = request.messages[-1].text
        draw = Random(f"{request.sampling.seed} {text}")
        language = "zh" if re.search("[\u4e00-\u9fff]", text) else "en"
        if more := re.search(r"(?:Write|请再写) (\d+)", text):
            return self._list(draw, language, int(more[1]), text)
        if "-----" in text:
            return _said(self._task(draw, language, [text.split("-----")[1].strip()]))
        return self._answer(draw, language, text)

    def stream(self, request: ChatRequest) -> Iterator[str]:
        yield self.complete(request).text

    def complete_many(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        for place, request in enumerate(requests):
            yield place, self.complete(request)

    def _list(self, draw: Random, language: str, count: int, text: str) -> Completion:
        shown = re.findall(r"^(?:Task|任务) \d+[:：] ?(.*)$", text, re.MULTILINE)
        mark = "Task {}: {}" if language == "en" else "任务 {}：{}"
        lines = [mark.format(len(shown) + 1 + at, self._task(draw, language, shown)) for at in range(count)]
        if draw.random() < 0.1:  # the limit comes first
            return Completion("\n".join(lines)[:-9], "length", len(text) // 4, 80)
        return _said("\n".join(lines), len(text) // 4)

    def _task(self, draw: Random, language: str, shown: Sequence[str]) -> str:
        match _drawn(draw, PLANTED):
            case "like another":
                return draw.choice(shown).replace("a ", "the ", 1) + ("" if language == "zh" else " Please.")
            case "too short":
                return "Sing." if language == "en" else "唱。"
            case "a refusal":
                return (
                    "I'm sorry, but I cannot help with that." if language == "en" else "抱歉，我无法帮助完成这个要求。"
                )
            case "another language":
                return task(draw, "zh" if language == "en" else "en")
            case "needs more than text":
                return "Describe the attached image of a house." if language == "en" else "描述附件图片里的一座房子。"
            case "in the test set":
                return draw.choice(self._tests)
        return task(draw, language)

    def _answer(self, draw: Random, language: str, text: str) -> Completion:
        match _drawn(draw, POOR_ANSWERS):
            case "refusal":
                return _said("As an AI, I cannot do that." if language == "en" else "作为人工智能，我不能这样做。")
            case "empty":
                return _said("  ")
            case "circles":
                return _said("so it goes on and on " * 20 if language == "en" else "于是一直这样下去。" * 20)
            case "echo":
                return _said(text)
            case "language":
                return _said(
                    "这里写的是另一种语言的回答。" if language == "en" else "This answer is in another language."
                )
        words = THINGS + TOPICS if language == "en" else ZH_THINGS + ZH_TOPICS
        body = [draw.choice(words) for _ in range(draw.randint(5, 30))]
        return _said("Well: " + " ".join(body) + "." if language == "en" else "答案如下：" + "、".join(body) + "。")


def _drawn(draw: Random, shares: dict[str, float]) -> str:
    left = draw.random()
    for name, share in shares.items():
        left -= share
        if left < 0:
            return name
    return ""


def _said(text: str, prompt_tokens: int = 30) -> Completion:
    return Completion(text, "stop", prompt_tokens, max(1, len(text) // 4))


def highest_rouge(rows: Sequence[str], seeds_: Sequence[str]) -> float:
    """Of all pairs of new tasks, and of each with each seed, by the plain table over words."""
    from openbook.training.data.words import words
    from openbook.training.generate.rouge import lcs_length

    made, given = [words(one) for one in rows], [words(one) for one in seeds_]
    pairs = [*combinations(made, 2), *((one, other) for one in made for other in given)]
    found = 0.0
    for one, other in pairs:
        if 2 * min(len(one), len(other)) > found * (len(one) + len(other)):
            found = max(found, 2 * lcs_length(one, other) / (len(one) + len(other)))
    return found


def rouge_speed(texts: Sequence[str]) -> dict[str, float]:
    """Pairs a second: the table, and 64 words at a time."""
    from openbook.training.data.words import words
    from openbook.training.generate.rouge import KeptTexts, lcs_length

    split, kept = [words(one) for one in texts], KeptTexts(texts)
    kept.most_alike(texts[0])  # compiled
    began = time.perf_counter()
    for one in split[:200]:
        lcs_length(split[0], one)
    table = 200 / (time.perf_counter() - began)
    began = time.perf_counter()
    for text in texts[:200]:
        kept.most_alike(f"{text} and")
    return {"table": round(table), "kernel": round(200 * len(texts) / (time.perf_counter() - began))}


def measured(method: Any, count: int) -> dict[str, Any]:
    from openbook.training.data.contamination import contamination
    from openbook.training.data.duplicates import duplicates
    from openbook.training.generate.language import language_of
    from openbook.training.generate.validate import fault_of_answer, fault_of_task

    given, tests = seeds(200), test_rows()
    with TemporaryDirectory() as folder:
        out = Path(folder) / "rows.jsonl"
        began = time.perf_counter()
        receipt = expand(
            given, TaskWriter(), ExpandSettings(method=method, rows=count, patience=20), out, tests=TestSet(tests)
        )
        seconds = time.perf_counter() - began
        rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    texts = [row["messages"][0]["content"] for row in rows]
    placed = [Placed(f"row:{at}", Chat(tuple(row["messages"]))) for at, row in enumerate(rows)]
    same = duplicates(placed)
    return {
        "seeds": len(given),
        "rows": len(rows),
        "rounds": receipt.rounds,
        "proposed": receipt.fates["proposed"],
        "left_out": {name: count for name, count in receipt.fates.items() if name != "proposed" and count},
        "seconds": round(seconds, 1),
        "highest_rouge_l": round(highest_rouge(texts, [one.text for one in given]), 4),
        "faults_of_rows": sum(
            bool(fault_of_task(one, language_of(one)) or fault_of_answer(one, row["messages"][1]["content"]))
            for one, row in zip(texts, rows, strict=True)
        ),
        "in_the_test_set": contamination(placed, tests)._replace(pairs=[])._asdict(),
        "duplicates": {"exact": same.exact, "near": same.near},
        "chinese": sum(language_of(one) == "zh" for one in texts),
        "stopped": receipt.stopped,
        "rouge_pairs_per_s": rouge_speed(texts),
    }


def main() -> None:
    from machine import describe

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000)
    chosen = parser.parse_args()
    found: dict[str, Any] = {"machine": describe(), "planted": PLANTED, "poor_answers": POOR_ANSWERS}
    for method in ("self-instruct", "evol"):
        found[method] = measured(method, chosen.rows)
        print(method, json.dumps(found[method], indent=1), flush=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
