"""The answer of a study in Chinese: what ``words`` says in English, from the same numbers. No torch here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from danlu.lab.regime import Regime
from danlu.lab.trial.answer import Answer
from danlu.lab.trial.cost import Cost
from danlu.lab.trial.findings import Finding
from danlu.lab.trial.question import label
from danlu.lab.trial.words import following, means

VERDICTS = {
    "better": "更好",
    "worse": "更差",
    "not shown": "未见差异",
    "void": "无效",
    "not measured": "未测量",
}
EQUAL = {"steps": "步数", "flops": "FLOPs", "time": "有效时间"}
METRICS = {"bits per byte": "每字节比特数", "accuracy": "准确率", "loss": "损失"}
NEXT = {
    "early": "按现有学习率，得到早期判定：",
    "longer": "用足够长的运行：",
    "tuned": "两侧各用自己的最佳学习率：",
    "pairs": "若均值与离散程度不变，再加约 {} 对即可判定：",
    "time": "比较相等的有效时间，须在本机空闲时：",
    "scale": "在更大的模型中是否成立：",
}
HEADINGS = {
    "": "",
    "Every pair": "每个配对",
    "The difference over the updates": "差异随更新次数的变化",
    "Learning curves": "学习曲线",
    "Why": "原因",
    "What differs": "配置差异",
    "Runs": "运行",
    "Details": "细节",
}
REASONS = {
    "tokens": "每参数 {:.2g} 个 token（需要 {:.0f}）",
    "updates": "{:,} 次更新（需要 {:,}）",
    "below": "比随机水平低 {:.2f} 比特（需要低 {}）",
    "above": "比随机水平高 {:.2f} 比特（需要低 {}）",
    "warmup": "预热占整个运行的 {:.0%}（至多 {:.0%}）",
    "cut": "学习率调度未走完",
    "untuned": "学习率未经调优",
}


def answered(answer: Answer) -> list[str]:
    """The answer on each idea, how far it reaches and what it cost; and what to ask next."""
    lines = []
    for findings in answer.by_idea.values():
        lines += [_sentence(answer, findings), *_regime(findings)]
        if findings[0].cost is not None:
            lines.append(f"  成本：{_cost(findings[0].cost)}")
    asks = (f"{NEXT[what].format(number)}{command}" for what, number, command in following(answer))
    return [*lines, *(f"  下一步：{ask}" for ask in asks)]


def heading(english: str) -> str:
    """That of a section of the page, of which what comes after a colon is a name."""
    name, colon, rest = english.partition(": ")
    return f"{HEADINGS[name]}：{rest}" if colon else HEADINGS[name]


def _sentence(answer: Answer, findings: Sequence[Finding]) -> str:
    head = f"{label(answer.question.on)} 上的 {findings[0].pairs.idea}"
    if findings[0].verdict == "void":
        return f"{head}：无效（{findings[0].note}）。"
    same = groupby(findings, lambda f: (f.said, f.interval.value if f.pairs.seeds else None))
    return f"{head}：{'；'.join(_phrase(list(of)) for _, of in same)}。"


def _phrase(findings: Sequence[Finding]) -> str:
    first = findings[0]
    early = "（早期）" if first.early else ""
    places = "、".join(EQUAL[f.pairs.at] for f in findings)
    where = f"{places}相等时{VERDICTS[first.verdict]}{early}"
    if first.verdict == "not measured":
        return where
    pairs, interval = first.pairs, first.interval
    unit = pairs.metric.unit or METRICS.get(pairs.metric.words, pairs.metric.words)
    for side, count in zip(("基线", "该想法"), pairs.diverged, strict=True):
        if count and count == len(pairs.seeds):
            return f"{where}，因为{side}在全部 {count} 个随机种子下都发散"
    if first.verdict == "not shown":
        if not math.isfinite(interval.low):
            return f"{where}（需要更多配对）"
        half = (interval.high - interval.low) / 2
        seen = f"差异 {interval.value:+.4f} {unit}"
        return f"{where}（{seen}；{len(pairs.differences)} 个配对能显出 {half:.4f} 以上的差异）"
    before, after = means(pairs)
    return f"{where}，相差 {abs(interval.value):.4f} {unit}（{before:.4f} → {after:.4f}）"


def _regime(findings: Sequence[Finding]) -> Iterator[str]:
    known = [f for f in findings if f.regime is not None]
    early = [f for f in known if f.early]
    if known and known[0].regime is not None:
        whole = "" if known[0].early else "：足以说明同规模的更长运行"
        yield f"  训练区间：{_reached(known[0].regime)}{whole}"
    if early and early[0].regime is not None:
        places = "、".join(EQUAL[f.pairs.at] for f in early)
        lacks = "；".join(REASONS[name].format(*numbers) for name, *numbers in early[0].regime.lacks)
        yield f"  早期：{places}相等时，这只说明开始时谁领先：{lacks}"


def _reached(regime: Regime) -> str:
    parts = [f"{regime.updates:,} 次更新"]
    if (ratio := regime.tokens_per_parameter) is not None:
        parts.insert(0, f"每参数 {ratio:.3g} 个 token")
    if (below := regime.bits_below_chance) is not None:
        parts.append(f"比随机水平{'低' if below >= 0 else '高'} {abs(below):.2f} 比特")
    if regime.tuned is not None:
        parts.append("学习率已调优" if regime.tuned else "学习率未经调优")
    return "，".join(parts)


def _cost(cost: Cost) -> str:
    rates = f"（其中 {cost.tuning} 次用于寻找学习率）" if cost.tuning else ""
    flops = f"{cost.flops:.2g}".replace("e+", "e")
    return f"{cost.runs} 次运行{rates}，合计 {_time(cost.seconds)}、{flops} FLOPs"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} 秒"
    return f"{seconds / 60:.0f} 分钟" if seconds < 7200 else f"{seconds / 3600:.1f} 小时"
