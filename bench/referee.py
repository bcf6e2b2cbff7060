"""`danlu referee` on programs that are not danlu's: nanoGPT, and a classifier of scikit-learn's.

    python -m bench.referee --nanogpt CHECKOUT --text FILE

nanoGPT runs in a copy of the checkout, by its own train.py and configuration, with a model that a core trains
in half a minute. It fixes its seed: the first question is refused for that, the others lay a diff of two
lines over every arm. Three changes: one that helps (rotary positions), one that does nothing but to shift the
random numbers, one that pays only at the start (a constant rate). What a person would have kept who compares
one run with one run is counted beside the verdicts.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.common import machine, revision, save, show
from bench.time_to_quality import prepare
from danlu.files.yaml import dump
from danlu.lab.referee import Answer, referee

SETTING = (
    "config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=100 --log_interval=1000 "
    "--always_save_checkpoint=False --block_size=64 --batch_size=12 --n_layer=2 --n_head=2 --n_embd=64 "
    "--dropout=0.0 --learning_rate=2e-3 --min_lr=2e-4 --warmup_iters=20"
)
STEPS, QUICK_STEPS = 2000, 40
RUNGS, QUICK_RUNGS = (50, 100, 200, 400, 800, 1600, 3200), (30, 60)
LENGTH = "--max_iters={0} --lr_decay_iters={0} --eval_interval={0}"
PAIRS, QUICK_PAIRS = 5, 2

# In which file what takes the place of which words.
Edits = Mapping[str, tuple[str, str]]
SEED: Edits = {"train.py": ("device = 'cuda'", "seed = 1337\ndevice = 'cuda'")}
SEED_USED: Edits = {"train.py": ("manual_seed(1337 +", "manual_seed(seed +")}
ROTARY: Edits = {
    "model.py": (
        "        # causal self-attention;",
        "        half = q.size(-1) // 2\n"
        "        angle = torch.arange(T).outer(1e4 ** -(torch.arange(half) / half))\n"
        "        turned = lambda z: torch.cat(\n"
        "            [z[..., :half] * angle.cos() - z[..., half:] * angle.sin(),\n"
        "             z[..., half:] * angle.cos() + z[..., :half] * angle.sin()], -1)\n"
        "        q, k = turned(q), turned(k)\n"
        "        # causal self-attention;",
    )
}
LUCK: Edits = {"train.py": ("# poor man's data loader", "torch.rand(1)\n# poor man's data loader")}

DIGITS = """
import argparse, json, warnings
from pathlib import Path
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

warnings.simplefilter("ignore")  # it would rather train for longer
words = argparse.ArgumentParser()
words.add_argument("--seed", type=int)
words.add_argument("--width", type=int, default=32)
words.add_argument("--activation", default="relu")
words.add_argument("--out", type=Path)
given = words.parse_args()
x, y = load_digits(return_X_y=True)
model = MLPClassifier(given.width, activation=given.activation, max_iter=30, random_state=given.seed)
model.fit(x[:1200], y[:1200])
said = {"accuracy": model.score(x[1200:], y[1200:]), "updates": 6 * model.n_iter_}
(given.out / "result.json").write_text(json.dumps(said))
"""


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=bench", "-c", "user.email=bench")
    return subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def diff(folder: Path, *edits: Edits) -> str:
    """The edits as a diff; the folder is left as it was."""
    for edit in edits:
        for name, (old, new) in edit.items():
            text = (folder / name).read_text()
            if old not in text:
                sys.exit(f"{name} of this checkout has no {old!r}")
            (folder / name).write_text(text.replace(old, new, 1))
    said = git(folder, "diff")
    git(folder, "checkout", "-q", ".")
    return said


def ask(place: Path, name: str, question: Mapping[str, Any]) -> Answer:
    """The referee's answer, its way told on stderr."""
    file = place / f"{name}.yaml"
    file.write_text(dump(question))
    print(f"--- {name}", file=sys.stderr)
    return referee(file, place / "studies", book=None, tell=lambda line: print(line, file=sys.stderr))


def nanogpt(checkout: Path, text: str, place: Path, quick: bool) -> dict[str, Answer]:
    """The questions on it."""
    folder = place / "nanogpt"
    if not folder.exists():
        shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns(".git", "out*", "*.bin", "*.pkl"))
        git(folder, "init", "-q")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", "as it is")
        prepare(folder, text)
    for name, edits in {"seed": (SEED, SEED_USED), "rotary": (ROTARY,), "luck": (LUCK,)}.items():
        (place / f"{name}.diff").write_text(diff(folder, *edits))
    length = LENGTH.format(QUICK_STEPS if quick else STEPS)
    train = f"{sys.executable} train.py {SETTING}"
    also = {"steps": {"stdout": r"^step (\d+):", "pick": "last"}}
    about: dict[str, Any] = {
        "folder": "nanogpt",
        "protect": ["data/**", "configurator.py"],
        "inputs": ["data/shakespeare_char/*.bin", "data/shakespeare_char/*.pkl"],
        "metric": {
            "name": "val_loss",
            "better": "lower",
            "stdout": r"^step \d+: .* val loss (\S+)",
            "pick": "last",
        },
        "also": also,
        "budget": {"pairs": QUICK_PAIRS if quick else PAIRS, "kill_seconds": 3600},
    }
    seeded = {**about, "patch": "seed.diff", "run": f"{train} --seed={{seed}} {length} {{set}}"}
    short = LENGTH.format(QUICK_RUNGS[0] if quick else RUNGS[0])
    rungs = list(QUICK_RUNGS if quick else RUNGS)
    constant = {"base": {}, "constant": {"set": "--decay_lr=False"}}
    brief = f"{train} --seed={{seed}} {short} {{set}}"
    fixed = {**about, "run": f"{train} {short} {{set}}", "arms": constant}
    scaled = {
        **seeded,
        "run": f"{train} --seed={{seed}} {{set}}",
        "arms": constant,
        "scale": {"set": LENGTH.replace("{0}", "{value}"), "values": rungs},
        "also": {**also, "flops": also["steps"]},  # of one model compute is a matter of steps
    }
    return {
        "without a seed": ask(place, "fixed", fixed),
        "rotary": ask(place, "rotary", {**seeded, "arms": {"base": {}, "rotary": {"patch": "rotary.diff"}}}),
        "luck": ask(place, "luck", {**seeded, "arms": {"base": {}, "luck": {"patch": "luck.diff"}}}),
        "a constant rate, short": ask(place, "short", {**seeded, "run": brief, "arms": constant}),
        "a constant rate, rungs": ask(place, "constant", scaled),
    }


def digits(place: Path, quick: bool) -> dict[str, Answer]:
    """Two ideas at once, by accuracy."""
    folder = place / "digits"
    if not folder.exists():
        folder.mkdir()
        (folder / "train.py").write_text(DIGITS)
        git(folder, "init", "-q")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", "as it is")
    question = {
        "folder": "digits",
        "run": f"{sys.executable} train.py --seed {{seed}} --out {{out}} {{set}}",
        "arms": {"base": {}, "wide": {"set": "--width 128"}, "tanh": {"set": "--activation tanh"}},
        "metric": {"name": "accuracy", "better": "higher", "file": "{out}/result.json#/accuracy"},
        "also": {"steps": {"file": "{out}/result.json#/updates"}},
        "budget": {"pairs": QUICK_PAIRS if quick else 10},
    }
    return {"digits": ask(place, "digits", question)}


def told(name: str, answer: Answer) -> list[dict[str, Any]]:
    """What is kept of an answer: one row of each idea."""
    shared = {"question": name, "cost": dict(answer.cost)}
    if not answer.findings:
        return [{**shared, "idea": "", "verdict": answer.outcome, "why": answer.why}]
    sign = answer.question.plan.metric.sign
    rows = []
    for finding in answer.findings:
        differences = finding.sides.differences
        rows.append({
            **shared, "idea": finding.idea, "verdict": answer.verdict(finding), "why": finding.why,
            "differences": differences, "interval": list(finding.interval), "kind": finding.kind,
            "e": finding.e, "gains": [dict(one) for one in finding.gains], "regime": dict(answer.regime),
            "kept by one run": sum(sign * x < 0 for x in differences),
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of nanoGPT")
    parser.add_argument("--text", type=Path, required=True, help="tinyshakespeare.txt")
    parser.add_argument("--folder", type=Path, help="where programs and studies are kept, to go on with")
    parser.add_argument("--quick", action="store_true", help="short runs that show that it works; not saved")
    arguments = parser.parse_args()
    about = machine(1)
    with tempfile.TemporaryDirectory() as aside:
        place = (arguments.folder or Path(aside)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        text = arguments.text.read_text(encoding="utf-8")
        answers = {
            **digits(place, arguments.quick),
            **nanogpt(arguments.nanogpt, text, place, arguments.quick),
        }
    rows = [row for name, answer in answers.items() for row in told(name, answer)]
    for row in rows:
        print(f"{row['question']}: {row['why']}")
    heads = ("question", "idea", "verdict", "kept by one run", "runs", "seconds")
    show("The referee on programs that are not danlu's", heads, [_row(row) for row in rows], about)
    if not arguments.quick:
        save(
            "referee",
            {
                "machine": about,
                "nanogpt_revision": revision(arguments.nanogpt),
                "setting": SETTING,
                "rows": rows,
            },
        )


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    kept = f"{row['kept by one run']} of {len(row['differences'])}" if "differences" in row else ""
    cost = row["cost"]
    return (
        row["question"], row["idea"], row["verdict"], kept, f"{cost['runs']:.0f}", f"{cost['seconds']:.0f}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
