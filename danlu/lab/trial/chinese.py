"""The words of a study's answer in Chinese (``danlu.lab.trial.words``), and the headings of its page.

No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence

from danlu.lab.regime import Regime
from danlu.lab.trial.cost import Cost
from danlu.lab.trial.findings import At, Finding
from danlu.lab.trial.words import Language

VERDICTS = {
    "better": "更好",
    "worse": "更差",
    "not shown": "未见差异",
    "void": "无效",
    "not measured": "未测量",
}
EQUAL: dict[At, str] = {"steps": "步数", "flops": "FLOPs", "time": "有效时间"}
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


def heading(english: str) -> str:
    """That of a section of the page, of which what comes after a colon is a name."""
    name, colon, rest = english.partition(": ")
    return f"{HEADINGS[name]}：{rest}" if colon else HEADINGS[name]


def _where(findings: Sequence[Finding]) -> str:
    early = "（早期）" if findings[0].early else ""
    return f"{'、'.join(EQUAL[f.pairs.at] for f in findings)}相等时{VERDICTS[findings[0].verdict]}{early}"


def _regime(regime: Regime) -> str:
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


CHINESE = Language(
    answer="{bed} 上的 {idea}：{said}。",
    between="；",
    and_="、",
    void="无效（{note}）",
    where=_where,
    sides=("基线", "该想法"),
    diverged="{where}，因为{side}在全部 {count} 个随机种子下都发散",
    few="{where}（需要更多配对）",
    not_shown="{where}（差异 {value:+.4f} {unit}；{pairs} 个配对能显出 {half:.4f} 以上的差异）",
    shown="{where}，相差 {by:.4f} {unit}（{before:.4f} → {after:.4f}）",
    reached="  训练区间：{regime}{whole}",
    whole="：足以说明同规模的更长运行",
    early="  早期：{places}相等时，这只说明开始时谁领先：{lacks}",
    spent="  成本：{cost}",
    next="  下一步：{ask}",
    other=None,
    regime=_regime,
    cost=_cost,
    equal=EQUAL,
    reasons={
        "tokens": "每参数 {:.2g} 个 token（需要 {:.0f}）",
        "updates": "{:,} 次更新（需要 {:,}）",
        "below": "比随机水平低 {:.2f} 比特（需要低 {}）",
        "above": "比随机水平高 {:.2f} 比特（需要低 {}）",
        "warmup": "预热占整个运行的 {:.0%}（至多 {:.0%}）",
        "cut": "学习率调度未走完",
        "untuned": "学习率未经调优",
    },
    following={
        "early": "按现有学习率，得到早期判定：{command}",
        "longer": "用足够长的运行：{command}",
        "tuned": "两侧各用自己的最佳学习率：{command}",
        "several": "一对不足以判定；改用 {number} 对：{command}",
        "pairs": "若均值与离散程度不变，再加约 {number} 对即可判定：{command}",
        "time": "比较相等的有效时间，须在本机空闲时：{command}",
        "scale": "在更大的模型中是否成立：{command}",
    },
    metrics={"bits per byte": "每字节比特数", "accuracy": "准确率", "loss": "损失"},
)
