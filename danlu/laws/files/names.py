"""Which column of a file is which of ours, by the words of its heading: ``Training Tokens (B)`` is d.

A heading is words and a unit. A rule says which words make a column ours, which change nothing, which make it
a weaker choice (parameters without embeddings), and which forbid it (tokens per second).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from danlu.laws.files.units import OURS, Unit, fits, unit
from danlu.laws.table import COLUMNS

# Words that mean the same, as the first of each line.
_SAME = {
    word: line.split()[0]
    for line in (
        "params param parameters parameter nparams nparam numparams numparameters",
        "tokens token tok toks ntokens numtokens ntok",
        "flops flop nflops",
        "steps step iterations iteration iters iter updates update nsteps",
        "val validation valid eval evaluation test dev heldout holdout",
        "train training trained pretrain pretraining tr",
        "embed embedding embeddings emb embd embeds nonembedding",
        "num number nr count no",
        "non non without wo excl excluding minus",
        "nll nll xent crossentropy celoss",
        "perplexity perplexity ppl",
        "accuracy accuracy acc",
        "lr lr learningrate",
        "max max maximum peak",
        "final final last end",
        "std std stdev stderr sem err ci se var variance sd",
        "low low lo lo95 lower hi hi95 high upper q025 q975 p5 p95",
        "smooth smooth smoothed ema smoothing",
        "log log log2 logarithm",
    )
    for word in line.split()
}  # fmt: skip
# Of headings in German and Chinese, in English; where one is within another, the longer counts.
_FOREIGN = {
    "validierungs": "val", "validierung": "val", "trainings": "train", "verlust": "loss", "modell": "model",
    "größe": "size", "groesse": "size", "anzahl": "num", "rechenaufwand": "flops", "lernrate": "lr",
    "schritte": "steps",
    "训练": "train", "验证": "val", "测试": "val", "评估": "val", "损失": "loss", "困惑度": "perplexity",
    "准确率": "accuracy", "参数": "params", "参数量": "params", "参数数量": "params", "参数数": "params",
    "非嵌入": "nonemb", "激活": "active", "词元": "tokens", "词元数": "tokens", "词元数量": "tokens",
    "词元量": "tokens", "token数": "tokens", "token数量": "tokens", "token量": "tokens",
    "数据量": "data size",
    "算力": "flops", "计算量": "flops", "浮点运算": "flops", "模型": "model", "规模": "size", "大小": "size",
    "总": "total", "学习率": "lr", "步数": "steps", "每": "per", "秒": "second",
}  # fmt: skip
_WORDS = re.compile("|".join(sorted(_FOREIGN, key=len, reverse=True)), re.IGNORECASE)
WIDE = str.maketrans("（）［］：", "()[]:")  # as Chinese keyboards type them
_FREE = (
    "num of the n a total all model final overall est estimated approx train config summary metrics args "
    "hparams value"
)
_NEVER = (
    "per ratio log second seconds sec s ms std low optimal opt star relative rate utilization mfu max min "
    "index id"
)


class Rule(NamedTuple):
    """Words that make a column ours (any of these sets), that change nothing, that make it a weaker choice
    (by how much), and that forbid it."""

    core: tuple[frozenset[str], ...]
    free: frozenset[str]
    weak: dict[str, int]
    never: frozenset[str]


def _rule(core: str, free: str = "", weak: dict[str, int] | None = None, never: str = "") -> Rule:
    sets = tuple(frozenset(one.split()) for one in core.split(","))
    free, never = f"{free} {_FREE}", f"{never} {_NEVER}"
    return Rule(sets, frozenset(free.split()), weak or {}, frozenset(never.split()))


RULES: dict[str, Rule] = {
    "n": _rule(
        "params,model size,modelsize,n,size",
        "precise exact trainable network llm lm count",
        {"active": 2, "non": 3, "nonemb": 3, "nominal": 1},
        "embed flops tokens val batch vocab loss data dataset context layer layers head heads steps unique "
        "sample samples",
    ),
    "d": _rule(
        "tokens,data size,dataset size,datasize,train data,d",
        "d on datapoints seen consumed processed throughput global cumulative data dataset size corpus so "
        "far used",
        {"budget": 2, "planned": 3, "target": 3},
        "embed unique batch vocab epoch val context params flops loss special served inference generated "
        "device gpu left remaining max",
    ),
    "c": _rule(
        "flops,compute,budget,c",
        "c spent used throughput cumulative global compute flops budget",
        {"6nd": 1, "nonemb": 3, "non": 3},
        "val device gpu inference params tokens step steps token batch data epoch cost price sample",
    ),
    "s": _rule("steps,s", "global optimizer current", {}, "warmup decay cooldown val batch time flops"),
    "b": _rule("batch tokens,b", "size global in", {}, "micro device val critical"),
    "u": _rule("unique tokens,u", "data size dataset", {}, ""),
    "lr": _rule("lr,learning rate", "max peak base init", {}, "warmup cooldown min final decay schedule"),
    "loss": _rule(
        "loss,nll,cross entropy,log perplexity,l",
        "entropy cross lm mean avg average nll loss ce best",
        {},
        "perplexity accuracy bpb bpc byte bytes char bits aux auxiliary router balance moe z mtp diff delta "
        "reducible irreducible excess error weight scale coef mask fn function type",
    ),
}  # fmt: skip
_NEAR = {
    "n": ("param", "weights"), "d": ("token", "sample", "example", "dataset"), "loss": ("loss", "nll"),
    "c": ("flop", "compute", "macs"), "s": ("step", "iter"), "x": ("size", "example", "sample", "token"),
}  # fmt: skip
_ACTIVE = frozenset(("active", "activated", "act", "dense"))
EXACT = {  # of columns that few laws have
    "width": ("width", "d_model", "hidden_size", "n_embd"),
    "depth": ("depth", "layers", "num_layers", "n_layers", "n_layer"),
    "e": ("e", "experts", "num_experts", "n_experts"),
    "g": ("g", "granularity"),
}
UNKNOWN = 10  # a word of no rule: a guess
TRAIN = 30  # a loss on training data: where there is no other
_LONE = {"size": 5, "l": TRAIN - 1}  # that often mean something else
_EXTRA = re.compile(r"\s*[(\[{]([^()\[\]{}]*)[)\]}]\s*$")
_MEASURES = ("ppl", "perplexity")  # that are what a column holds, not its unit
_DAYS = re.compile(r"(?i)p(?:eta)?[\s_-]*f(?:lops?)?(?:/s)?[\s_-]*(?:s[\s_-]+)?days?")


class Guess(NamedTuple):
    """A column of the file, how far its name is from the usual one (0: not), and the unit that it says."""

    name: str
    rank: int
    unit: Unit


def words_of(name: str) -> tuple[list[str], Unit]:
    """The words of a heading, alike where they mean the same, and its unit."""
    name = _DAYS.sub(" pfdays ", name.translate(WIDE))
    if match := _EXTRA.search(name):
        found = unit(match[1].removeprefix("in ").removeprefix("×").strip())
        if found is not None:
            return _plain(name[: match.start()]), found
        log = unit(name[: match.start()])  # log10(C)
        if log is not None and log.factor is None:
            return _plain(match[1]), log
    said = _split(name)
    for length in (2, 1):  # tokens in billions, flops_1e18, n_params_m
        tail = unit(" ".join(said[-length:])) if len(said) > length else None
        if (
            tail is not None
            and (tail.kind == "" or tail.factor != 1)
            and tail.name not in ("ppl", "perplexity")
        ):
            head = said[:-length]
            head = head[:-1] if head[-1] == "in" and len(head) > 1 else head
            return _same(head if not tail.kind or tail.kind == "loss" else [*head, *_core(tail)]), tail
    for place, word in enumerate(said):  # gflops, total_mparams, log10_flops, pfdays
        inner = unit(word)
        if inner is None or inner.factor == 1 or inner.kind == "loss":
            continue
        if inner.kind in ("n", "d", "c"):
            return _same([*said[:place], *_core(inner), *said[place + 1 :]]), inner
        if inner.factor is None and place == 0 and len(said) > 1:
            return _same(said[1:]), inner
    return _same(said), OURS


def _core(found: Unit) -> list[str]:
    return [{"n": "params", "d": "tokens", "c": "flops"}[found.kind]]


def _plain(name: str) -> list[str]:
    return _same(_split(name))


def _split(name: str) -> list[str]:
    """Words in lower case; CamelCase is parted."""
    name = _WORDS.sub(lambda match: f" {_FOREIGN[match[0].lower()]} ", name.translate(WIDE))
    parts = re.split(r"[^0-9A-Za-zÀ-ÖØ-öø-ÿΑ-ω一-鿿#%]+", name.replace("#", " num "))
    out: list[str] = []
    for part in parts:
        out += [part] if part.lower() in _SAME else re.sub(r"([a-z])([A-Z])", r"\1 \2", part).split()
    return [word.lower() for word in out if word]


def _same(words: Sequence[str]) -> list[str]:
    joined = " ".join(words)
    for apart, whole in (
        ("held out", "val"), ("hold out", "val"), ("pre train", "train"), ("non embed", "nonemb"),
        ("no embed", "nonemb"), ("no emb", "nonemb"), ("non emb", "nonemb"), ("non embedding", "nonemb"),
        ("cross ent", "nll"), ("# ", "num "),
    ):  # fmt: skip
        joined = re.sub(rf"\b{apart}\w*", whole, joined)
    return [_SAME.get(word, word) for word in joined.split()]


def rank(ours: str, name: str) -> Guess | None:
    """How well a heading names one of our columns; None where it does not."""
    rule = RULES.get(ours)
    whole = "_".join(_split(name))
    if rule is None:
        return Guess(name, 0, OURS) if whole in EXACT.get(ours, (ours,)) else None
    if whole in COLUMNS and whole != ours:  # task_loss is one of its own
        return None
    words, found = words_of(name)
    there = set(words)
    core = next((core for core in rule.core if core <= there), None)
    if core is None or not fits(ours, found):
        return None
    rest = there - core
    if "non" in rest:
        rest -= {"embed"}
    if core in (frozenset(ours), {"size"}, {"l"}):  # n of n_heads is no size
        if not rest <= {"total", "train", "val", *rule.weak}:
            return None
        weakest = max([rule.weak.get(word, 0) for word in rest], default=0)
        return Guess(name, weakest + _LONE.get("".join(core), 0), found)
    rest -= rule.free
    if rest & rule.never:
        return None
    if ours == "loss":
        return Guess(name, _loss(rest, "train" in words), found)
    return Guess(name, max([rule.weak.get(word, UNKNOWN) for word in rest], default=0), found)


def _loss(rest: set[str], train: bool) -> int:
    """Held-out loss goes before a loss of no further name, and that before the loss on some data, and last
    comes the loss on training data."""
    if train:
        return TRAIN
    return UNKNOWN if rest - {"val"} else 0 if rest else 5


def guesses(ours: str, names: Iterable[str]) -> list[Guess]:
    """The columns that may be ours, the best first."""
    found = [guess for name in names if (guess := rank(ours, name)) is not None]
    return sorted(found, key=lambda guess: guess.rank)


def met(name: str) -> bool:
    """Whether a heading says that its parameters are those which one token meets."""
    words = _split(name)
    return not _ACTIVE.isdisjoint(words) or "".join(words) == "na"


def unembedded(name: str) -> bool:
    """Whether a heading says that its parameters leave out embeddings."""
    words = {*words_of(name)[0]}
    return "nonemb" in words or {"non", "embed"} <= words


def near(ours: str, names: Iterable[str]) -> list[str]:
    """Columns whose headings remind of ours, but mean something else, such as a logarithm or examples."""
    return [name for name in names if any(word in name.lower() for word in _NEAR.get(ours, ()))]


def not_nats(name: str) -> str:
    """What a column measures, where its name says that this is no loss in nats per token; else ""."""
    there = set(_plain(name))
    if "perplexity" in there and "log" not in there:
        return "perplexity"
    if there & {"bpb", "bpc"} or ({"bits"} & there and there & {"byte", "bytes", "char"}):
        return "bits per byte or character"
    if "bits" in there:
        return "bits"
    return "accuracy" if there & {"accuracy", "top1", "top5", "bleu"} else ""
