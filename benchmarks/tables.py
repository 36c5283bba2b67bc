"""Writes the measured tables of both READMEs and pages from the JSON that the benchmarks wrote, so that no figure is
typed by hand.

python benchmarks/tables.py            writes README, docs/alignment, docs/ppo and docs/distillation in both languages
python benchmarks/tables.py --check    exits with 1 when they are not what the JSON says (a test does this)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import alignment_tables
import distill_tables

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- tables: made by benchmarks/tables.py -->", "<!-- end of tables -->"
ENDS = ((".md", "en"), (".zh-CN.md", "zh"))
Language = str
Row = Sequence[object]


def say(language: Language, english: str, chinese: str) -> str:
    return english if language == "en" else chinese


def table(head: Row, rows: Sequence[Row]) -> str:
    lines = ["| " + " | ".join(map(str, head)) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def load(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def retrieval(found: dict[str, Any], language: Language) -> str:
    names = {"squad": "SQuAD", "cranfield": "Cranfield", "scifact": "SciFact", "cmrc": "CMRC2018", "drcd": "DRCD"}
    columns = ("bm25s", "MiniLM", "ours bm25", "ours dense", "ours hybrid")
    rows = []
    for key, name in names.items():
        one = found[key]
        gain = one["hybrid minus better list"]
        mixed = found[f"{key} in the mixture"]["hybrid minus better list"]
        rows.append(
            [name, *(f"{one[column]['ndcg@10'][0]:.3f}" for column in columns)]
            + [f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]", f"{mixed['mean']:+.3f}"]
        )
    head = [
        "nDCG@10",
        "bm25s",
        "sentence-transformers",
        say(language, "our BM25", "本项目 BM25"),
        say(language, "our vectors", "本项目向量"),
        say(language, "hybrid", "混合"),
        say(language, "hybrid minus the better list", "混合减较好者"),
        say(language, "the same, all five in one library", "同上，五个集合在同一个库"),
    ]
    return table(head, rows)


def embedding(found: dict[str, Any], language: Language) -> str:
    rows = [
        [name, f"{one['passages_per_s']:.0f}", f"{one['x_float32']:.1f}", f"{one['x_bfloat16']:.1f}"]
        + [f"{100 * one['share_of_peak']:.0f} %", f"{one['largest_difference']:.1e}", f"{one['mean_cosine']:.4f}"]
        for name, one in found["speed"].items()
        if "passages_per_s" in one
    ]
    head = [
        say(language, "SQuAD paragraphs", "SQuAD 段落"),
        say(language, "passages/s", "段/秒"),
        say(language, "× its float32", "× 其 float32"),
        say(language, "× its bfloat16", "× 其 bfloat16"),
        say(language, "of the peak", "占峰值"),
        say(language, "largest difference", "最大差"),
        say(language, "mean cosine", "平均余弦"),
    ]
    return table(head, rows)


def library(found: dict[str, Any], language: Language) -> str:
    rows = [
        [
            name,
            f"{one['passages_per_s']:.0f}",
            f"{one['search_p50_ms']:.1f}",
            f"{one['peak_mb']:.0f}",
            f"{one['disk_mb']:.0f}",
        ]
        for name, one in found.get("systems", {}).items()
    ]
    head = [
        say(language, f"{found.get('passages', 0):,} passages", f"{found.get('passages', 0):,} 段"),
        say(language, "passages/s, committed", "段/秒（含提交）"),
        say(language, "search p50, ms", "检索 p50，毫秒"),
        say(language, "peak memory, MB", "峰值内存，MB"),
        say(language, "on disk, MB", "磁盘，MB"),
    ]
    text = table(head, rows)
    memory = found.get("memory")
    if memory:
        text += "\n\n" + say(
            language,
            f"Peak memory of all processes at 10,000 documents is {memory['ratio']:.2f}x that at 2,000.",
            f"一万个文档时所有进程的峰值内存是两千个时的 {memory['ratio']:.2f} 倍。",
        )
    return text


def live(found: dict[str, Any], language: Language) -> str:
    rows = [[name, f"{one['p50']:.1f}", f"{one['p95']:.1f}"] for name, one in found["figures"].items() if "p50" in one]
    return table(
        [say(language, f"{found['chunks']:,} chunks, ms", f"{found['chunks']:,} 个分块，毫秒"), "p50", "p95"], rows
    )


def follow_ups(found: dict[str, Any], language: Language) -> str:
    columns = ("as asked", "joined turns", "rewritten", "by hand")
    rows = [
        [name, one["turns"], *(f"{one[column]:.3f}" for column in columns)] for name, one in found["recall"].items()
    ]
    chinese = ("原样", "各轮相连", "改写", "人工改写")
    head = [f"R@5, {found['documents']:,} " + say(language, "documents", "个文档"), say(language, "turns", "轮")]
    return table([*head, *(say(language, e, c) for e, c in zip(columns, chinese, strict=True))], rows)


def answers(found: dict[str, Any], language: Language) -> str:
    """Quotations, then abstention, then milliseconds."""
    quoted = [
        [
            name,
            one["questions"],
            f"{one['right']:.3f}",
            f"{one['right and answered']:.3f}",
            f"{one['mean length']:.0f} {one['unit']}",
        ]
        for part in ("english_quotations", "chinese_quotations")
        for name, one in found[part].items()
    ]
    first = table(
        [
            say(language, "one quotation", "一段摘录"),
            say(language, "questions", "问题"),
            say(language, "covers the answer in the gold paragraph", "覆盖金标段落中的答案"),
            say(language, "the same, abstentions at the default counted as misses", "同上，默认弃答计为错误"),
            say(language, "mean length", "平均长度"),
        ],
        quoted,
    )
    kept = [
        [name, f"{one['kept at 5 %']:.3f}", f"{one['kept at 10 %']:.3f}", f"{one['auroc']:.3f}"]
        for part in ("english_abstention", "chinese_abstention")
        for name, one in found[part].items()
        if "auroc" in one
    ]
    second = table(
        [
            say(
                language,
                "answerable still answered when, of the others, are answered at most",
                "其余问题至多被回答以下比例时，仍回答的可答问题",
            ),
            "5 %",
            "10 %",
            "AUROC",
        ],
        kept,
    )
    errors = ", ".join(
        f"{name.partition(':')[0]} {one['expected calibration error']:.3f}"
        for part in ("english_abstention", "chinese_abstention")
        for name, one in found[part].items()
        if "expected calibration error" in one
    )
    across = ", ".join(f"{name} {one['abstained']:.3f}" for name, one in found["languages"].items())
    spent = ", ".join(
        f"{name} p50 {one['p50_ms']:.0f} ms" for name, one in found["speed"].items() if isinstance(one, dict)
    )
    notes = say(
        language,
        f"Expected calibration error: {errors}. Abstained across languages: {across}. Extractive `ask`, warm: {spent}.",
        f"期望校准误差：{errors}。跨语言弃答：{across}。常驻进程中的摘录式 `ask`：{spent}。",
    )
    return f"{first}\n\n{second}\n\n{notes}"


def checked(found: dict[str, Any], language: Language) -> str:
    rows = []
    for name, one in found["shares"].items():
        marked = f"{one['altered_marked']:.3f}" if one.get("altered") else "–"
        rows.append(
            [
                name,
                one.get("altered") or "–",
                marked,
                one["true"] or "–",
                f"{one['true_marked']:.3f}" if one["true"] else "–",
            ]
        )
    head = [
        say(language, "sentences", "句子"),
        say(language, "altered", "改动过的"),
        say(language, "of them marked", "其中被标出"),
        say(language, "true", "真实的"),
        say(language, "of them marked", "其中被标出"),
    ]
    return table(head, rows)


def splitting(found: dict[str, Any], language: Language) -> str:
    rows = []
    for name in ("squad", "cmrc"):
        for size, splitters in found[name]["chunk_tokens"].items():
            for splitter, one in splitters.items():
                recall, gain = one["recall"], one.get("minus recursive")
                difference = f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]" if gain else "–"
                interval = f"{recall['mean']:.3f} [{recall['low']:.3f}, {recall['high']:.3f}]"
                rows.append([name, size, splitter, one["chunks"], interval, difference])
    head = [
        say(language, "answer span within the first 1,000 tokens", "前 1,000 个词元内含答案"),
        say(language, "chunk_tokens", "chunk_tokens"),
        say(language, "splitter", "切分方式"),
        say(language, "chunks", "分块"),
        say(language, "recall", "召回"),
        say(language, "minus recursive", "减 recursive"),
    ]
    return table(head, rows)


def start(found: dict[str, Any], language: Language) -> str:
    rows = [
        [f"`openbook {name}`", f"{one['median_s']:.2f} s", f"{one['slowest_s']:.2f} s"]
        for name, one in found["commands"].items()
    ]
    head = [
        say(language, "command, cold process", "命令（冷启动进程）"),
        say(language, "median", "中位数"),
        say(language, "slowest", "最慢"),
    ]
    first = sorted(found["demo"]["first_answer_s"])
    note = say(
        language,
        f"{found['runs']} runs each, in turn. First cited answer of the demo, from an empty library: "
        f"{first[len(first) // 2]:.1f} s.",
        f"每条命令轮流运行 {found['runs']} 次。演示从空资料库到第一个带引用的回答：{first[len(first) // 2]:.1f} 秒。",
    )
    return f"{table(head, rows)}\n\n{note}"


def forward(found: dict[str, Any], language: Language) -> str:
    rows = [
        [
            title,
            f"{one['openbook_tokens_per_s']:,.0f}",
            f"{one['transformers_tokens_per_s']:,.0f}",
            f"{one['ratio']:.2f} [{one['ratio_low']:.2f}, {one['ratio_high']:.2f}]",
        ]
        for title, one in found["rows"].items()
    ]
    head = [
        say(language, "tokens/s", "词元/秒"),
        "openbook",
        "transformers",
        say(language, "ratio, median of the rounds [least, most]", "比值，各轮中位数 [最小, 最大]"),
    ]
    loads = [
        [
            title,
            *(
                f"{one[name]['seconds']:.2f} s, {one[name]['peak_over_model']:.2f}"
                for name in ("openbook", "transformers")
            ),
        ]
        for title, one in found["loading"].items()
    ]
    loading = [
        say(language, "loading: time, peak memory over the model's size", "加载：时间，内存峰值与模型大小之比"),
        "openbook",
        "transformers",
    ]
    return f"{table(head, rows)}\n\n{table(loading, loads)}"


def serving(found: dict[str, Any], language: Language) -> str:
    cases = found["tokens_per_second"]
    names = list(dict.fromkeys(name for by in cases.values() for name in by))
    head = [
        say(language, "tokens/s, median of the rounds", "词元/秒，各轮中位数"),
        say(language, "one answer", "单个回答"),
        say(language, "a prompt of 512", "512 词元的提示"),
        say(language, "32 at once", "32 个同时"),
    ]
    rows = [
        [
            name,
            *(f"{by[name]:,.0f}" if name in by else "–" for by in (cases["decode"], cases["prefill"], cases["mixed"])),
        ]
        for name in names
    ]
    titles = {
        "decode": say(language, "one answer", "单个回答"),
        "prefill": say(language, "a prompt of 512", "512 词元的提示"),
        "mixed": say(language, "32 at once", "32 个同时"),
    }
    ratio_head = [
        say(language, "ratio, median of the rounds [least, most]", "比值，各轮中位数 [最小, 最大]"),
        "openbook",
        say(language, "against", "对比"),
        say(language, "ratio", "比值"),
        say(language, "aim", "目标"),
    ]
    ratios = [
        [
            titles[one["case"]],
            one["ours"].removeprefix("openbook-"),
            one["theirs"],
            f"{one['ratio']:.2f} [{one['least']:.2f}, {one['most']:.2f}]",
            one["aim"],
        ]
        for one in found["ratios"]
    ]
    parts = [table(head, rows), table(ratio_head, ratios), _bandwidth(found, language)]
    if "alone" in found:
        parts.append(_alone(found["alone"], language))
    return "\n\n".join(parts)


def _bandwidth(found: dict[str, Any], language: Language) -> str:
    speeds = [one for each in found["read_gb_per_second"].values() for one in each]
    shares = ", ".join(
        f"{name.removeprefix('openbook-')} {share:.0%}" for name, share in found["share_of_bandwidth"].items()
    )
    return say(
        language,
        f"Memory was read at {min(speeds):.0f} to {max(speeds):.0f} GB/s while one answer was timed; weights took: {shares}.",
        f"计时单个回答时，内存读取速度为 {min(speeds):.0f} 到 {max(speeds):.0f} GB/s；其中权重占：{shares}。",
    )


def _alone(found: dict[str, Any], language: Language) -> str:
    step, prefix = found["step"], found["prefix"]
    events = step["step"] - step["run"] - step["plan"] - step["computed"] - step["choose"]
    times = {
        say(language, "planning", "调度"): step["plan"] + step["computed"],
        say(language, "input", "输入"): step["run"] - step["forward"],
        say(language, "the forward pass", "前向"): step["forward"],
        say(language, "choosing tokens", "选词元"): step["choose"],
        say(language, "events", "事件"): events,
    }
    profile = ", ".join(f"{name} {ms:.2f}" for name, ms in times.items())
    text = say(
        language,
        f"A step of 32 sequences takes {step['step']:.1f} ms, of which {100 * step['share_beside_forward']:.1f} % are no forward "
        f"pass (ms: {profile}). A prefix of 1,000 tokens that is known makes the first token "
        f"{prefix['ratio']:.1f} times sooner ({1e3 * prefix['shared_s']:.0f} ms). {100 * found['kv_waste']:.1f} % of the cache's "
        f"slots in use hold no token.",
        f"32 个序列的一步用时 {step['step']:.1f} 毫秒，其中 {100 * step['share_beside_forward']:.1f} % 不是前向计算"
        f"（毫秒：{profile}）。已知的 1,000 词元前缀使首个词元快 {prefix['ratio']:.1f} 倍"
        f"（{1e3 * prefix['shared_s']:.0f} 毫秒）。缓存占用的槽位中有 {100 * found['kv_waste']:.1f} % 未存词元。",
    )
    return text + (_http(found["http"], language) if "http" in found else "")


def _http(found: dict[str, float], language: Language) -> str:
    whole, streamed = (f"{100 * found[name]:.1f} %" for name in ("costs", "streamed_costs"))
    return say(
        language,
        f" Over HTTP the 32 requests lose {whole} of the tokens a second of the Python API, streamed {streamed} (the client on "
        f"the same cores).",
        f"经 HTTP，32 个请求每秒的词元比 Python 接口少 {whole}，流式少 {streamed}（客户端占用同样的核）。",
    )


def speculation(found: dict[str, Any], language: Language) -> str:
    """Answers that copy, then drafts."""
    kinds = {
        "quotes": say(language, "quotations", "引文"),
        "edits": say(language, "edited code", "修改代码"),
        "new text": say(language, "new text", "新文本"),
    }
    drafts = {
        "a trained draft": say(language, "trained on the same texts", "同样文本上训练"),
        "a trained draft, temperature 1": say(language, "the same, temperature 1", "同上，温度 1"),
        "an untrained draft": say(language, "untrained", "未经训练"),
        "a trained draft, 0.5B": say(
            language, "trained, its answers at the cost of 0.5B", "训练过的，以 0.5B 的代价重放其回答"
        ),
        "an untrained draft, 0.5B": say(language, "untrained, the same", "未经训练的，同上"),
    }
    columns = [
        say(language, "tokens/s without guesses", "无猜测，词元/秒"),
        say(language, "with", "有猜测"),
        say(language, "ratio", "比值"),
        say(language, "right", "命中"),
        say(language, "guesses", "猜测数"),
    ]
    together = say(language, ", 8 at once", "，8 个同时")
    copied = [
        [title + extra, *_guesses(found["ngram"][kind][way])]
        for kind, title in kinds.items()
        for way, extra in (("alone", ""), ("together", together))
    ]
    drafted = [[title, *_guesses(found["draft"][kind])] for kind, title in drafts.items()]
    first = table(
        [say(language, "n-grams, Qwen2.5-0.5B's shape in int8", "n-gram，Qwen2.5-0.5B 的形状，int8"), *columns], copied
    )
    second = table([say(language, "a draft of 1M for a model of 5M", "1M 草稿，5M 模型"), *columns], drafted)
    return f"{first}\n\n{second}"


def _guesses(one: dict[str, float]) -> list[str]:
    share = f"{100 * one['accepted'] / one['proposed']:.0f} %" if one["proposed"] else "–"
    speeds = [f"{one[name]:,.0f}" for name in ("plain_tokens_per_second", "guessing_tokens_per_second")]
    return [*speeds, f"{one['ratio']:.2f}", share, f"{one['proposed']:,}"]


def training(found: dict[str, Any], language: Language) -> str:
    """Speed, memory, what each technique buys, the loss curve, and the small recipe: those that have been measured."""
    parts = [
        _training_speed(found, language),
        _training_memory(found.get("memory", {}), language),
        _ablation(found.get("ablation", {}), language),
        _curve(found.get("curve", {}), language),
        _tiny_recipe(found.get("tiny", {}), language),
    ]
    return "\n\n".join(part for part in parts if part)


def _training_speed(found: dict[str, Any], language: Language) -> str:
    names = {
        "speed30": say(language, "30M, steps of 4,096 tokens", "30M，每步 4,096 词元"),
        "speed05": say(language, "Qwen2.5-0.5B's shape, steps of 1,024", "Qwen2.5-0.5B 的形状，每步 1,024 词元"),
        "speed05_lora": say(language, "the same, LoRA", "同上，LoRA"),
    }
    rows: list[Row] = []
    for key, title in names.items():
        for name, speed in found.get(key, {}).get("tokens_per_s", {}).items():
            ratios = [_ratio_of(one.get(name)) for one in found[key]["ratios"].values()]
            rows.append([title, name, f"{speed:,.0f}", *ratios, f"{found[key]['peak_bytes'][name] / 2**30:.2f}"])
    if not rows:
        return ""
    head = [
        say(language, "tokens/s, padding not counted", "词元/秒，不计填充"),
        say(language, "system", "系统"),
        say(language, "tokens/s", "词元/秒"),
        say(language, "openbook is so many times as fast [least, most]", "openbook 的倍数 [最小, 最大]"),
        say(language, "with activations computed again", "激活重算时的倍数"),
        say(language, "peak memory, GiB", "峰值内存，GiB"),
    ]
    peak = found["peak_giga_ops"]["bfloat16"]
    shares = "; ".join(
        f"{names[key]}: {found[key]['giga_ops']:,} GFLOP/s, {found[key]['giga_ops'] / peak:.0%}"
        for key in ("speed30", "speed05")
        if key in found
    )
    of_peak = say(language, f"Of the measured peak of {peak:,.0f} GFLOP/s: ", f"占实测峰值 {peak:,.0f} GFLOP/s：")
    return f"{table(head, rows)}\n\n{of_peak}{shares}."


def _ratio_of(one: dict[str, float] | None) -> str:
    return f"{one['ratio']:.2f} [{one['least']:.2f}, {one['most']:.2f}]" if one else "–"


def _training_memory(found: dict[str, Any], language: Language) -> str:
    if not found:
        return ""
    peers = list(next(iter(found.values()))["shares"])
    rows = [
        [name, *(f"{one['shares'][peer]:.2f}" if peer in one["shares"] else "–" for peer in peers)]
        for name, one in found.items()
    ]
    return table([say(language, "peak memory as a share of that of", "峰值内存与其之比"), *peers], rows)


def _ablation(found: dict[str, Any], language: Language) -> str:
    if not found:
        return ""
    head = [
        say(language, "30M, one thing changed", "30M，只改一项"),
        say(language, "tokens/s", "词元/秒"),
        say(language, "of the first", "与首行之比"),
        say(language, "peak memory, GiB", "峰值内存，GiB"),
    ]
    rows = [
        [name, f"{one['tokens_per_s']:,.0f}", f"{one['of_all']:.2f}", f"{one['peak_bytes'] / 2**30:.2f}"]
        for name, one in found.items()
    ]
    return table(head, rows)


def _curve(found: dict[str, Any], language: Language) -> str:
    if not found:
        return ""
    apart, steps = f"{100 * found['largest']:.2g} %", found["steps"]
    return say(
        language,
        f"The losses of {steps} steps on the same batches in float32 are at most {apart} from TRL's.",
        f"相同批次、float32，{steps} 步的损失与 TRL 相差至多 {apart}。",
    )


def _tiny_recipe(found: dict[str, Any], language: Language) -> str:
    if not found:
        return ""
    head = [
        f"pretrain-llama-tiny, {found['steps']:,} " + say(language, "steps", "步"),
        say(language, "held-out loss", "验证损失"),
        say(language, "steps, s", "各步，秒"),
        say(language, "process, s", "进程，秒"),
    ]
    rows = [
        [name, f"{one['loss']:.3f}", f"{one['steps_s']:.1f}", f"{one['process_s']:.1f}"]
        for name, one in found.items()
        if name != "steps"
    ]
    return table(head, rows)


def reranking(found: dict[str, Any], language: Language) -> str:
    """By set; the difference in brackets is the 95 % interval of paired samples."""
    names = {
        "squad": "SQuAD",
        "scifact": "SciFact",
        "cranfield": "Cranfield",
        "rgb_en": "RGB en",
        "handbook": say(language, "a handbook", "一本手册"),
    }
    rows = []
    for key, name in names.items():
        one = found["sets"][key]
        gain = one["reranked minus hybrid"]
        rows.append(
            [name, one["queries"], *(f"{one[run]['mean']:.3f}" for run in ("hybrid", "reranked", "reranker alone"))]
            + [f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"]
        )
    head = [
        "nDCG@10",
        say(language, "questions", "问题数"),
        say(language, "hybrid", "混合"),
        say(language, "reranked", "重排后"),
        say(language, "the cross-encoder alone", "只用交叉编码器"),
        say(language, "reranked minus hybrid", "重排后减混合"),
    ]
    times = found["milliseconds"]
    spans = say(
        language,
        "Weight {weight} for all, fitted on {queries} questions of SQuAD's training part. 20 passages are read in {a} ms (p50),"
        " 50 in {b} ms (p95).",
        "所有集合用同一权重 {weight}，在 SQuAD 训练集的 {queries} 个问题上拟合。"
        "读 20 段用 {a} 毫秒（p50），50 段 {b} 毫秒（p95）。",
    ).format(
        weight=found["weight"],
        queries=f"{found['fitted_on']['queries']:,}",
        a=f"{times['20']['p50']:,.0f}",
        b=f"{times['50']['p95']:,.0f}",
    )
    return f"{table(head, rows)}\n\n{spans}"


def next_sentence(found: dict[str, Any], language: Language) -> str:
    """What the model and the embedder's cosine choose, and what they say of labelled neighbours."""
    choices, pairs = found["choices"], found["neighbours"]
    names = {"next-sentence": "nsp-en", "cosine": say(language, "the embedder's cosine", "向量模型的余弦")}
    rows = []
    for key, name in names.items():
        shares = [choices[key][part] for part in ("all", "inside a paragraph", "between two")]
        rows.append(
            [name, *(f"{one['mean']:.3f} [{one['low']:.3f}, {one['high']:.3f}]" for one in shares)]
            + [f"{pairs[key]['F1 of merges']:.2f}", f"{pairs[key]['F1 of boundaries']:.2f}"]
        )
    head = [
        say(
            language,
            f"the right one of two passages, {choices['count']:,} places",
            f"两段选一，{choices['count']:,} 处",
        ),
        say(language, "all", "全部"),
        say(language, "inside a paragraph", "段内"),
        say(language, "between two", "段间"),
        say(language, f"{pairs['pairs']} neighbours: F1 of merges", f"{pairs['pairs']} 对相邻段落：合并 F1"),
        say(language, "F1 of boundaries", "边界 F1"),
    ]
    return table(head, rows)


Parts = tuple[tuple[str, str, str, Callable[[dict[str, Any], Language], str]], ...]
PARTS: Parts = (
    ("retrieval", "Retrieval (`benchmarks/retrieval.py`)", "检索质量（`benchmarks/retrieval.py`）", retrieval),
    ("rerank", "Reranking (`benchmarks/rerank.py`)", "重排（`benchmarks/rerank.py`）", reranking),
    ("answers", "Answers and abstention (`benchmarks/answers.py`)", "回答与弃答（`benchmarks/answers.py`）", answers),
    (
        "follow_ups",
        "Follow-up questions (`benchmarks/follow_ups.py`)",
        "追问（`benchmarks/follow_ups.py`）",
        follow_ups,
    ),
    (
        "checked_sentences",
        "Checked sentences (`benchmarks/checked_sentences.py`)",
        "句子核对（`benchmarks/checked_sentences.py`）",
        checked,
    ),
    ("splitting", "Splitting (`benchmarks/splitting.py`)", "切分（`benchmarks/splitting.py`）", splitting),
    (
        "next_sentence",
        "What goes on (`benchmarks/next_sentence.py`)",
        "接着往下说的是哪一段（`benchmarks/next_sentence.py`）",
        next_sentence,
    ),
    ("embed", "Embedding (`benchmarks/embed.py`)", "向量计算（`benchmarks/embed.py`）", embedding),
    ("library", "Adding and searching (`benchmarks/library.py`)", "添加与检索（`benchmarks/library.py`）", library),
    (
        "search_live",
        "Search in a warm process (`benchmarks/search_live.py`)",
        "常驻进程中的检索（`benchmarks/search_live.py`）",
        live,
    ),
    ("start", "Commands in a cold process (`benchmarks/start.py`)", "冷启动的命令（`benchmarks/start.py`）", start),
    ("forward", "The model (`benchmarks/forward.py`)", "模型（`benchmarks/forward.py`）", forward),
    (
        "serving",
        "Serving the shape of Qwen2.5-0.5B (`benchmarks/serving.py`)",
        "服务：Qwen2.5-0.5B 的形状（`benchmarks/serving.py`）",
        serving,
    ),
    (
        "speculation",
        "Speculation (`benchmarks/speculation.py`)",
        "推测解码（`benchmarks/speculation.py`）",
        speculation,
    ),
    ("training", "Training (`benchmarks/training.py`)", "训练（`benchmarks/training.py`）", training),
    (
        "alignment",
        "GRPO and DPO (`benchmarks/alignment.py`)",
        "GRPO 与 DPO（`benchmarks/alignment.py`）",
        alignment_tables.speed,
    ),
)
PROOFS: Parts = (
    (
        "grpo_proof",
        "GRPO and its kin (`benchmarks/grpo_proof.py`)",
        "GRPO 及其变体（`benchmarks/grpo_proof.py`）",
        alignment_tables.grpo,
    ),
    ("grpo_proof", "Rollouts of less precision", "精度较低的 rollout", alignment_tables.precision),
    ("ppo_proof", "PPO (`benchmarks/ppo_proof.py`)", "PPO（`benchmarks/ppo_proof.py`）", alignment_tables.ppo),
    PARTS[-1],
)
"""Of docs/alignment."""
DISTILLATION: Parts = (
    (
        "distill_proof",
        "A quarter of the size (`benchmarks/distill_proof.py`)",
        "四分之一的大小（`benchmarks/distill_proof.py`）",
        distill_tables.knowledge,
    ),
    (
        "cot_proof",
        "Chain of thought (`benchmarks/cot_proof.py`)",
        "思维链（`benchmarks/cot_proof.py`）",
        distill_tables.thoughts,
    ),
)
"""Of docs/distillation."""


def sections(chosen: Parts, language: Language) -> list[str]:
    """Those whose JSON is there."""
    parts = []
    for name, english, chinese, make in chosen:
        found = load(name)
        if found is not None:
            parts.append(f"### {say(language, english, chinese)}\n\n{make(found, language)}\n")
    return parts


def proofs(language: Language) -> str:
    return "\n".join(sections(PROOFS, language))


def of_distillation(language: Language) -> str:
    return "\n".join(sections(DISTILLATION, language))


def of_ppo(language: Language) -> str:
    found = load("ppo_proof")
    return "" if found is None else alignment_tables.ppo(found, language) + "\n"


def rendered(language: Language) -> str:
    parts = sections(PARTS, language)
    embed = load("embed")
    if embed is not None:
        machine = embed["machine"]
        text = say(
            language,
            "Machine: {cpu}, {cores} cores, {system}, Python {python}.",
            "机器：{cpu}，{cores} 核，{system}，Python {python}。",
        )
        parts.insert(0, text.format(**machine) + "\n")
    return "\n".join(parts)


def main() -> None:
    stale = False
    pages = (
        ("README", rendered),
        ("docs/alignment", proofs),
        ("docs/ppo", of_ppo),
        ("docs/distillation", of_distillation),
    )
    for name, language, make in [(one + end, tongue, make) for one, make in pages for end, tongue in ENDS]:
        path = ROOT / name
        text = path.read_text("utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        wanted = f"{before}{BEGIN}\n\n{make(language)}\n{END}{after}"
        if wanted != text:
            stale = True
            if "--check" not in sys.argv:
                path.write_text(wanted, "utf-8")
    if stale and "--check" in sys.argv:
        raise SystemExit("the pages do not say what the JSON says: run benchmarks/tables.py")


if __name__ == "__main__":
    main()
