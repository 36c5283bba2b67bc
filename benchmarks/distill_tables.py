"""The tables of distillation, of both languages: losses with and without a teacher, sums with and without thoughts."""

from __future__ import annotations

from alignment_tables import Found, Language, say, table

SEEDS = ("0", "1", "2")
RUNS = {
    "text alone": ("the text alone", "只有文本"),
    "forward": ("and the teacher: forward, weight .5", "加上教师：forward，权重 .5"),
    "again, text alone": ("as many steps more: the text alone", "再学同样多步：只有文本"),
    "again, forward": ("as many more: forward, weight .5", "再学：forward，权重 .5"),
    "again, reverse": ("as many more: reverse, weight .5", "再学：reverse，权重 .5"),
    "again, on policy": (
        "as many more: half of them on what it writes (jsd, weight 1)",
        "再学：一半的步在自己写的内容上（jsd，权重 1）",
    ),
}


def knowledge(found: Found, language: Language) -> str:
    """Held-out cross-entropy of students."""
    teacher, student = found["teacher"], found["student"]
    place = 0 if language == "en" else 1
    rows = [
        [names[place], *(_loss(found["runs"].get(run, {}).get(seed)) for seed in SEEDS)] for run, names in RUNS.items()
    ]
    head = [say(language, "the student learns from", "学生从什么学习"), *(_seed(seed, language) for seed in SEEDS)]
    said = say(
        language,
        f"Teacher: {teacher['parameters']:,} parameters, {teacher['steps']} steps, held-out loss {teacher['loss']:.3f}. "
        f"Student: {student['parameters']:,} parameters, {student['steps']} steps. Held-out loss, nats a character (–: not run):",
        f"教师：{teacher['parameters']:,} 个参数，{teacher['steps']} 步，留出损失 {teacher['loss']:.3f}。"
        f"学生：{student['parameters']:,} 个参数，{student['steps']} 步。留出损失，每字符的 nats（–：未运行）：",
    )
    return f"{said}\n\n{table(head, rows)}"


def thoughts(found: Found, language: Language) -> str:
    """Held-out sums that are right."""
    rows = []
    for seed in SEEDS:
        one = found["seeds"].get(seed)
        if one is None:
            rows.append([seed, "–", "–", "–", "–", "–"])
            continue
        gained = 100 * (one["traces"] - one["answers"])
        right = [f"{100 * one[name]:.1f} %" for name in ("answers", "traces")]
        rows.append([seed, one["steps"], f"{one['tokens']:,}", *right, f"{gained:+.1f}"])
    head = ["seed", "steps", "tokens", "answers alone", "with thoughts", "points"]
    chinese = ["种子", "步", "词元", "只有回答", "带思考", "百分点"]
    return table(head if language == "en" else chinese, rows)


def _loss(one: Found | None) -> str:
    return "–" if one is None else f"{one['loss']:.3f}"


def _seed(seed: str, language: Language) -> str:
    return say(language, f"seed {seed}", f"种子 {seed}")
