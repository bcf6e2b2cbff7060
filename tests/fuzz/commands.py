"""Commands over the files of a world: plain ones, and with one or two hostile words in them."""

from __future__ import annotations

import random
import shlex
from collections.abc import Sequence
from functools import cache

from pydantic import BaseModel

from danlu.spec import Experiment
from danlu.spec.catalog import names
from danlu.spec.schema import Accepts, accepts
from tests.fuzz.mutate import word

ODD = """
nonsense model.nonsense task .. train. .train base data.corpus data.tokenizer optimizer.groups model.pattern
vary train.ramp schedule train.steps train.batch
"""

# FILE: any file of the world. PLACE: where something may be written. WORD: any hostile word. NUMBER: a
# number. FIELD: a field
# set to one. GRID: to two.
READING = """\
show base.yaml
show runs/one
show FILE
show base.yaml FIELD
show RECIPE +IDEA
show RECIPE +IDEA +IDEA FIELD
show RECIPE --shrink 100k --costs
diff RECIPE "RECIPE +IDEA"
show base.yaml +IDEA --groups
show WORD
show tiny FIELD FIELD
show base.yaml +swiglu FIELD
show tiny +WORD
show nano --shrink WORD
show nano FIELD --costs
show nano FIELD --groups
show runs/one --kernels
show base.yaml --json
show FILE FIELD
diff base.yaml FILE
diff tiny WORD
diff runs/one 'base.yaml FIELD'
recipes --sort WORD
recipes --family WORD
ideas
ideas idea.yaml
ideas FILE
ideas WORD
ideas --on 'base.yaml FIELD'
ideas swiglu --on WORD
runs
runs runs
runs --json
runs --group
runs runs studies/runs --json
runs FILE
runs --where WORD
runs --where 'optimizer.lr>WORD'
runs --sort WORD
runs --columns WORD
runs --limit NUMBER
runs --sort best --group --json
compare runs/one runs/two
compare runs/one FILE
compare 'runs/*'
compare runs/one runs/two --metric WORD
compare runs/two runs/three --x WORD
compare studies/runs runs --json
compare runs/one runs/two --html PLACE
publish runs --to csv --out PLACE
publish runs/one FILE --to WORD
ledger
ledger --json
ledger show WORD
ledger all
ledger judge
ledger judge --json
ledger search WORD
ledger search optimizer.lr=WORD --on WORD
ledger due
ledger due runs/one
ledger due FILE
ledger --file FILE
ledger decide try adopt --because WORD
ledger decide WORD WORD --because WORD
ledger decide optimizer adopt --because x --revisit WORD
laws fit points.csv --resamples 2
laws fit points.jsonl --resamples 2
laws fit FILE --resamples 0
laws fit runs --resamples 0 --law power
laws fit points.csv --law WORD
laws fit points.csv --cluster WORD
laws fit points.csv --resamples NUMBER
laws fit points.csv --hold-out NUMBER
laws fit points.csv --n WORD --resamples 0
laws fit points.csv --column WORD
laws fit points.csv --where WORD --resamples 0
laws fit points.csv --unit WORD
laws fit points.csv --fix WORD --resamples 0
laws fit points.csv --fix E=NUMBER --resamples 0
laws fit points.csv --loss WORD --resamples 0
laws fit points.csv --group WORD --resamples 0
laws fit points.csv --group n --shared WORD --resamples 0
laws fit points.csv --hull --law power --column x=n --resamples 0
laws fit points.csv --law power --resamples 0 --report PLACE
laws compare points.csv
laws compare FILE
laws show WORD
laws plan --flops NUMBER
laws plan --tokens 1e9 --by FILE
laws plan --flops 1e20 --by fit.json --json
laws plan --parameters NUMBER
laws plan --flops 1e20 --unique-tokens NUMBER
laws plan --tokens 1e9 --price NUMBER
laws plan --flops 1e20 --utilisation NUMBER --flops-per-second NUMBER
laws plan --loss NUMBER --parameters NUMBER
laws plan --hours NUMBER --gpus NUMBER
laws plan --money NUMBER --price NUMBER --gpu-memory NUMBER
laws plan --flops 1e20 --serve NUMBER --unique-tokens NUMBER --json
laws plan WORD --flops 1e15
laws plan --flops 1e20 --published --report PLACE
prove --list
referee WORD
referee FILE
prove WORD
prove FILE
prove --write PLACE
prove claim.yaml --seeds NUMBER
import hf
import FILE
import hf --json
import hf --to PLACE
WORD
WORD WORD
--json-schema WORD
trust WORD
trust FILE
show tiny lr=WORD
show base.yaml WORD=NUMBER
sweep base.yaml lr=WORD,WORD
show --with parts.py
show --with FILE
show --WORD
--version
"""
WORKING = """\
sample runs/one --tokens 3
sample FILE --tokens 3
sample runs/one --tokens 3 --temperature NUMBER
sample runs/one --tokens 3 --top-k NUMBER
sample runs/one --tokens 3 --top-p NUMBER
sample runs/one --tokens 3 --seed NUMBER
sample runs/one --tokens 3 --step NUMBER
sample runs/one --tokens 3 --prompt WORD
sample runs/one --tokens NUMBER
sample runs/one --tokens 3 --json
train base.yaml FIELD
train base.yaml +IDEA
train base.yaml +IDEA FIELD
train base.yaml FIELD train.compile=false
profile base.yaml +IDEA --steps 1
try IDEA --on base.yaml --seeds 1 --tune none
train base.yaml FIELD FIELD
train FILE train.steps=1
train base.yaml train.average=ema train.checkpoint_every=1 --run runs/one
train base.yaml train.average=ema train.checkpoint_every=1 train.keep=9 train.steps=4 --run runs/half
train base.yaml data.tokenizer=bpe.json
train base.yaml --run PLACE
train base.yaml data.corpus=FILE
train base.yaml data.corpus=saved
train base.yaml data.tokenizer=FILE
train base.yaml data.tokenizer=characters.json
train base.yaml data.corpus=corpus.txt
train base.yaml --shrink WORD
export runs/one --to PLACE
export FILE --to out
export runs/one --to out --step NUMBER
export runs/one --to out --family WORD
profile base.yaml --steps 1
profile base.yaml FIELD --steps 1
profile runs/one --steps 1
profile base.yaml --steps NUMBER
plan base.yaml --devices NUMBER
plan base.yaml --device WORD
plan base.yaml --device FILE
sweep base.yaml optimizer.lr=0.01,0.02 --study sweep
sweep base.yaml GRID
sweep base.yaml GRID --trials 2
sweep base.yaml optimizer.lr=1e-3..1e-1 --trials NUMBER
sweep base.yaml optimizer.lr=0.01,0.02 --seeds NUMBER
sweep FILE optimizer.lr=0.01,0.02
sweep base.yaml optimizer.lr=0.01,0.02 --studies PLACE
sweep base.yaml optimizer.lr=0.01,0.02 --study WORD
sweep base.yaml optimizer.lr=0.01,0.02 --metric WORD
sweep base.yaml optimizer.lr=0.01,0.02 --sampler WORD --trials 1
sweep base.yaml optimizer.lr=0.01,0.02 --workers NUMBER
try optimizer.lr=0.01 --on base.yaml --seeds 2
try idea.yaml --on base.yaml --seeds 1 --tune none
try FILE --on base.yaml --seeds 1 --tune none
try WORD --on base.yaml --seeds 1 --tune none
try FIELD --on base.yaml --seeds 1 --tune none
try idea.yaml --on FILE --seeds 1 --tune none
try idea.yaml --on base.yaml --seeds NUMBER --tune none
try idea.yaml --on base.yaml --budget WORD --tune none
try idea.yaml --on base.yaml --tune WORD
try idea.yaml --on WORD --seeds 1 --tune none
try idea.yaml --on base.yaml --seeds 1 --ledger FILE --tune none
try idea.yaml --on base.yaml --seeds 1 --studies PLACE --tune none
prove claim.yaml
prove claim.yaml --ledger FILE
prove claim.yaml --studies PLACE
ladder base.yaml --budget WORD --dry-run
ladder base.yaml --budget 1e8flop --rungs NUMBER --dry-run
ladder base.yaml --budget 1e8flop --target WORD --dry-run
ladder base.yaml --budget 1e8flop --seeds NUMBER --dry-run
ladder base.yaml --budget 1e8flop --rates FILE --dry-run
ladder base.yaml --budget 1e8flop --tokens-per-parameter NUMBER --dry-run
ladder base.yaml --budget 1e8flop --hold-out NUMBER --design WORD --dry-run
ladder FILE --budget 1e8flop --dry-run
ladder base.yaml --budget 1e8flop FIELD --dry-run
"""
NUMBERS = """
0 1 2 3 -1 -5 7 100 1000 1000000000 99999999999 9223372036854775808 1e9 1e18 1e30 1e300 1e-9 1e-38 1e-320 nan
inf -inf -1e9 0.5 1.5 -0.5 999999999999999999999999999999999999999999
"""
PLACES = [
    "mine", "mine/book.txt", "mine/report.html", "mine/new", "out", "out/x.html", "points.csv", "base.yaml",
    "runs/one", "runs/two", "studies", "studies/sweep", "hf", "/dev/null", "/dev/full", "/dev/zero",
    "/proc/x",
    "~nouser/x", "x" * 256, "corpus.jsonl/x", "", ".", "out\x1b[2J.html", "out\udcff", "ledger.yaml", "/",
    "new.html",
]  # fmt: skip


# Commands that read what lies below a folder, beside those that name it.
READERS = {
    "runs/half": ["runs/half"],
    "runs": ["runs", "compare", "sample", "export", "profile", "due"], "studies/sweep": ["sweep"],
    "studies/try": ["try"], "studies/claims": ["prove"],
    "studies/runs": ["sweep", "try", "prove", "runs", "compare"], "ledger.yaml": ["ledger", "try"],
    "corpus.jsonl": ["base.yaml"],
}  # fmt: skip


def command(draw: random.Random, files: Sequence[str], working: bool, damaged: str | None) -> list[str]:
    """One command, as a rule one that reads what was ``damaged``; now and then with one more hostile word, or
    one word of it replaced."""
    templates = [shlex.split(line) for line in (WORKING if working else READING).splitlines()]
    if damaged is not None and draw.random() < 0.75:
        place = next((place for place in READERS if damaged.startswith(place)), damaged.split("/")[0])
        named = (place, *READERS.get(place, ()))
        templates = [
            one for one in templates if any(name in part for name in named for part in one)
        ] or templates
    words = [_filled(part, draw, files) for part in draw.choice(templates)]
    if words and draw.random() < 0.1:
        words[draw.randrange(len(words))] = word(draw)
    if draw.random() < 0.1:
        words.insert(draw.randrange(len(words) + 1), word(draw))
    return words


def _filled(part: str, draw: random.Random, files: Sequence[str]) -> str:
    for name, make in (
        ("FILE", lambda: draw.choice(files)),
        ("PLACE", lambda: draw.choice(PLACES)),
        ("FIELD", lambda: "=".join(_field(draw))),
        ("GRID", lambda: "=".join((*_field(draw), f"{word(draw)}")).replace("=", ",").replace(",", "=", 1)),
        ("IDEA", lambda: draw.choice(names("ideas"))),
        ("RECIPE", lambda: draw.choice(names("recipes"))),
        ("NUMBER", lambda: draw.choice(NUMBERS.split())),
        ("WORD", lambda: word(draw)),
    ):
        if name in part:
            part = part.replace(name, make(), 1)
    return part


def _field(draw: random.Random) -> tuple[str, str]:
    """A field of an experiment, of any kind of any part, and a value: of its type, or any."""
    if draw.random() < 0.2:
        return draw.choice(ODD.split()), word(draw)
    name, to = draw.choice(_fields())
    values = [*to.words, *(f"{{kind: {kind}}}" for kind in to.kinds), *to.kinds]
    if to.items is not None:
        values += [f"[{', '.join(to.items.kinds or ['1'])}]", "[{}]"]
    if int in to.scalars or float in to.scalars:
        values += NUMBERS.split()
    if values and draw.random() < 0.8:
        return name, draw.choice(values)
    return name, word(draw)


@cache
def _fields() -> list[tuple[str, Accepts]]:
    """Every dotted name that an experiment may have, whatever the kinds, and what it takes."""
    found: dict[tuple[str, str], Accepts] = {}

    def walk(part: type[BaseModel], inside: str, above: tuple[type[BaseModel], ...]) -> None:
        for name, to in accepts(part).items():
            found[f"{inside}{name}", to.describe()] = to
            for inner in {*to.specs, *to.kinds.values()} - {*above}:
                walk(inner, f"{inside}{name}.", (*above, inner))

    walk(Experiment, "", (Experiment,))
    return [(name, to) for (name, _), to in sorted(found.items())]
