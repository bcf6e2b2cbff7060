"""Wall-clock from command to quality: recipe `tiny` beside nanoGPT's own CPU setting, on one text.

    python -m bench.time_to_quality --nanogpt CHECKOUT --text FILE [--steps N] [--rounds 3]

The rival runs its own train.py, in a temporary copy of the checkout, with the setting that its README gives
for a CPU; its loss is then measured by this file over the whole held-out tenth. danlu runs `danlu train tiny`
with nothing but the corpus, the tokenizer and the length of training changed; its best checkpoint is measured
over the same tenth, in windows of the context that it was trained with.
Both are timed from the command to the end of the process, start-up and evaluation included.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import cores, danlu_command, machine, ratio, revision, save, show, spread, verdict
from bench.step_time import load

BAR = 6.0
CONTEXT = 64
RIVAL = (
    "config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=20 --log_interval=100 "
    f"--block_size={CONTEXT} --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 "
    "--max_iters=2000 --lr_decay_iters=2000 --dropout=0.0 --always_save_checkpoint=True"
).split()


# --- the rival -----------------------------------------------------------------------------------------


def prepare(checkout: Path, text: str) -> None:
    """What data/shakespeare_char/prepare.py does: ids by sorted character, the last tenth held out."""
    folder = checkout / "data" / "shakespeare_char"
    folder.mkdir(parents=True, exist_ok=True)
    characters = sorted(set(text))
    ids = {character: number for number, character in enumerate(characters)}
    encoded = np.array([ids[character] for character in text], dtype=np.uint16)
    cut = int(len(text) * 0.9)
    encoded[:cut].tofile(folder / "train.bin")
    encoded[cut:].tofile(folder / "val.bin")
    meta = {"vocab_size": len(characters), "itos": dict(enumerate(characters)), "stoi": ids}
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))


def run_rival(checkout: Path, threads: int) -> tuple[float, float]:
    """Seconds of the whole command, and the final loss in nats per character."""
    seconds = timed([sys.executable, "train.py", *RIVAL], checkout, threads)
    return seconds, rival_loss(checkout)


def rival_loss(checkout: Path) -> float:
    """Nats per character of the last checkpoint over the held-out tenth."""
    import torch

    saved = torch.load(checkout / "out-shakespeare-char" / "ckpt.pt", map_location="cpu", weights_only=True)
    module = load(checkout / "model.py")
    model = module.GPT(module.GPTConfig(**saved["model_args"])).eval()
    model.load_state_dict(saved["model"])
    ids = np.fromfile(checkout / "data" / "shakespeare_char" / "val.bin", dtype=np.uint16).astype(np.int64)
    # Given targets, it returns logits for every position.
    return loss_in_windows(lambda x: model(x, x)[0], ids, CONTEXT)


def loss_in_windows(logits: Callable[[Any], Any], ids: Any, context: int) -> float:
    """Nats per token over ``ids`` in windows of ``context``, one after another."""
    import torch

    windows = (len(ids) - 1) // context
    x = torch.from_numpy(ids[: windows * context]).view(windows, context)
    y = torch.from_numpy(ids[1 : windows * context + 1]).view(windows, context)
    total = 0.0
    with torch.no_grad():
        for part_x, part_y in zip(x.split(64), y.split(64), strict=True):
            found = logits(part_x).float().flatten(0, 1)
            total += torch.nn.functional.cross_entropy(found, part_y.flatten(), reduction="sum").item()
    return total / y.numel()


# --- danlu ---------------------------------------------------------------------------------------------


def run_danlu(
    text: Path, steps: int | None, overrides: list[str], folder: Path, threads: int
) -> tuple[float, dict[str, Any]]:
    """Seconds of the whole command, and the object that it prints."""
    output = folder / "output.json"
    length = [f"train.steps={steps}"] if steps else []
    command = [
        *danlu_command(), "train", "tiny", f"data.corpus={text}", "data.tokenizer=characters",
        *length, *overrides, "--run", str(folder / "run"), "--json",
    ]  # fmt: skip
    # An empty cache each time: what is counted is a first run on this text. Compiled kernels live there too.
    seconds = timed(command, folder, threads, output, {"DANLU_CACHE": str(folder / "cache")})
    return seconds, json.loads(output.read_text(encoding="utf-8"))


def danlu_losses(run: Path, held_out: str, reported: dict[str, Any]) -> dict[str, float]:
    """Nats per character of the run's best checkpoint: as reported, and over the whole held-out tenth in
    windows of its own context and of the rival's."""
    # API: loading a run.
    from danlu.train.load import load_run

    loaded = load_run(run)
    ids = np.asarray(loaded.tokenizer.encode(held_out), dtype=np.int64)
    assert len(ids) == len(held_out), "the comparison is per character: data.tokenizer=characters"
    assert reported["metric"]["name"] == "bits_per_byte"
    bytes_per_character = len(held_out.encode("utf-8")) / len(held_out)
    return {
        "reported": reported["metric"]["value"] * math.log(2) * bytes_per_character,
        "own_context": loss_in_windows(loaded.model, ids, loaded.experiment.text.context),
        "rival_context": loss_in_windows(loaded.model, ids, CONTEXT),
    }


def differences(run: Path) -> list[str]:
    """Where the two sides are not the same, in words."""
    import yaml

    data = yaml.safe_load((run / "experiment.yaml").read_text(encoding="utf-8"))["data"]
    found = []
    if data["context"] != CONTEXT:
        found.append(
            f"nanoGPT is trained and evaluated with {CONTEXT} characters, danlu with {data['context']}"
        )
    if data["held_out"] != 0.1:
        found.append(f"nanoGPT holds out the last 0.1 of the text, danlu {data['held_out']}")
    return found


# --- both ------------------------------------------------------------------------------------------------


def timed(
    command: list[str],
    folder: Path,
    threads: int,
    output: Path | None = None,
    extra: dict[str, str] | None = None,
) -> float:
    """Wall-clock seconds of a command, from its start to its end."""
    environment = (
        os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} | (extra or {})
    )
    log = folder / "log.txt"
    with log.open("w") as stderr, (output or Path(os.devnull)).open("w") as stdout:
        start = time.perf_counter()
        result = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            check=False,
        )
        seconds = time.perf_counter() - start
    if result.returncode:
        raise SystemExit(
            f"{' '.join(command)} ended with status {result.returncode}:\n{log.read_text()[-4000:]}"
        )
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of nanoGPT")
    parser.add_argument("--text", type=Path, required=True, help="the corpus: one text file")
    parser.add_argument("--steps", type=int, help="danlu's train.steps (left out: the recipe's own length)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a further override for danlu"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=cores())
    arguments = parser.parse_args()
    source, path = arguments.nanogpt.resolve(), arguments.text.resolve()
    if not (source / "train.py").is_file():
        parser.error(f"{source} holds no train.py: --nanogpt wants a checkout of nanoGPT")
    text = path.read_text(encoding="utf-8")
    held_out = text[int(len(text) * 0.9) :]

    about = machine(arguments.threads)
    rival: list[tuple[float, float]] = []
    mine: list[tuple[float, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(arguments.rounds):
            checkout, folder = Path(temporary) / f"nanogpt{number}", Path(temporary) / f"danlu{number}"
            folder.mkdir()
            shutil.copytree(source, checkout, ignore=shutil.ignore_patterns(".git", "out*", "*.bin"))
            prepare(checkout, text)
            rival.append(run_rival(checkout, arguments.threads))
            print(
                f"round {number + 1}: nanoGPT {rival[-1][0]:.1f} s, {rival[-1][1]:.4f} nats/char",
                file=sys.stderr,
            )
            seconds, reported = run_danlu(path, arguments.steps, arguments.set, folder, arguments.threads)
            mine.append((seconds, danlu_losses(folder / "run", held_out, reported)))
            loss = mine[-1][1]["own_context"]
            print(f"round {number + 1}: danlu {seconds:.1f} s, {loss:.4f} nats/char", file=sys.stderr)
            notes = differences(folder / "run")

    results: dict[str, Any] = {
        "machine": about,
        "nanogpt_revision": revision(source),
        "nanogpt_command": ["train.py", *RIVAL],
        "danlu_overrides": [*([f"train.steps={arguments.steps}"] if arguments.steps else []), *arguments.set],
        "text_characters": len(text),
        "notes": notes,
        "nanogpt": {"seconds": spread([s for s, _ in rival]), "loss": spread([x for _, x in rival])},
        "danlu": {
            "seconds": spread([s for s, _ in mine]),
            "loss": spread([x["own_context"] for _, x in mine]),
            "loss_in_the_rivals_context": spread([x["rival_context"] for _, x in mine]),
            "loss_reported": spread([x["reported"] for _, x in mine]),
        },
        "ratio": ratio([s for s, _ in rival], [s for s, _ in mine]) | {"bar": BAR},
        "quality_reached": [
            losses["own_context"] <= loss for (_, losses), (_, loss) in zip(mine, rival, strict=True)
        ],
    }
    rows = [
        (
            name,
            *(
                f"{r[key]['median']:{form}} ({r[key]['low']:{form}} to {r[key]['high']:{form}})"
                for key, form in (("seconds", ".1f"), ("loss", ".4f"))
            ),
        )
        for name, r in (("nanoGPT, 2,000 steps", results["nanogpt"]), ("danlu, tiny", results["danlu"]))
    ]
    show("From command to quality", ("", "seconds", "held-out nats/char"), rows, about)
    shorter = results["danlu"]["loss_in_the_rivals_context"]["median"]
    notes.append(f"in windows of {CONTEXT} characters, danlu's loss is {shorter:.4f}")
    for note in notes:
        print(f"note: {note}")
    reached = sum(results["quality_reached"])
    print(f"danlu's loss is at most nanoGPT's in {reached} of {arguments.rounds} rounds")
    found = results["ratio"]
    if reached == arguments.rounds:
        span = f"{found['low']:.1f} to {found['high']:.1f}"
        print(f"{found['median']:.1f}× as fast ({span}): {verdict(found['median'], BAR)}")
    else:
        print("missed: the quality was not reached in every round, so the times don't compare; raise --steps")
    save("time_to_quality", results)


if __name__ == "__main__":
    main()
