"""Tokens per second of one training step, danlu beside x-transformers and nanoGPT.

    python -m bench.step_time --nanogpt CHECKOUT [--only small|medium]

A step is forward, backward, clipping and AdamW, with the same architecture, batch and context for all. The
rivals run in their own default on a CPU, float32, and each counts with the better of eager and compiled;
``--bfloat16`` adds them under autocast. The machine's matrix-product ceiling is measured in the same rounds,
since the attainable ratio depends on how much faster bfloat16 products are here.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.common import Step, cores, interleave, machine, ratio, revision, save, serve, show, spread, verdict

BARS = {"x-transformers": 2.4, "nanoGPT": 2.2}
VOCABULARY = 65
PRODUCT = (2048, 384, 1536)


@dataclass(frozen=True)
class Shape:
    layers: int
    width: int
    heads: int
    batch: int
    context: int

    @property
    def tokens(self) -> int:
        return self.batch * self.context

    @property
    def flops(self) -> int:
        """Matrix products of a step, forward and backward, the whole attention square counted."""
        weights = self.layers * 12 * self.width**2 + VOCABULARY * self.width
        return self.tokens * (6 * weights + 12 * self.layers * self.context * self.width)

    def __str__(self) -> str:
        sizes = f"{self.layers} layers, width {self.width}, {self.heads} heads"
        return f"{sizes}, {self.batch}×{self.context} tokens"


SHAPES = {"small": Shape(4, 128, 4, 12, 64), "medium": Shape(6, 384, 6, 8, 256)}


@dataclass(frozen=True)
class Row:
    library: str
    compiled: bool = False
    bfloat16: bool = False

    @property
    def precision(self) -> str:
        return "bfloat16" if self.bfloat16 else "float32"

    def __str__(self) -> str:
        return f"{self.library} {self.precision} {'compiled' if self.compiled else 'eager'}"


# --- the rivals ------------------------------------------------------------------------------------


def batch(shape: Shape) -> tuple[Any, Any]:
    import torch

    x, y = torch.randint(
        VOCABULARY, (2, shape.batch, shape.context), generator=torch.Generator().manual_seed(0)
    )
    return x, y


def autocast(row: Row) -> AbstractContextManager[Any]:
    import torch

    return torch.autocast("cpu", torch.bfloat16) if row.bfloat16 else nullcontext()


def update(loss: Any, parameters: Iterable[Any], optimizer: Any) -> None:
    import torch

    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def x_transformers_step(shape: Shape, row: Row, nanogpt: Path | None) -> Step:
    import torch
    from x_transformers import Decoder, TransformerWrapper

    model = TransformerWrapper(
        num_tokens=VOCABULARY,
        max_seq_len=shape.context,
        attn_layers=Decoder(
            dim=shape.width,
            depth=shape.layers,
            heads=shape.heads,
            attn_dim_head=shape.width // shape.heads,
            attn_flash=True,
        ),
    )
    # x-transformers leaves the optimizer to its user: the fastest that PyTorch has.
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True
    )
    forward = torch.compile(model) if row.compiled else model
    (x, y), parameters = batch(shape), list(model.parameters())

    def step() -> None:
        with autocast(row):
            logits = forward(x)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        update(loss, parameters, optimizer)

    return step


def nanogpt_step(shape: Shape, row: Row, nanogpt: Path | None) -> Step:
    import torch

    assert nanogpt is not None
    model = nanogpt_model(nanogpt, shape, VOCABULARY)
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")
    forward = torch.compile(model) if row.compiled else model
    (x, y), parameters = batch(shape), list(model.parameters())

    def step() -> None:
        with autocast(row):
            _, loss = forward(x, y)
        update(loss, parameters, optimizer)

    return step


def nanogpt_model(checkout: Path, shape: Shape, vocabulary: int) -> Any:
    """nanoGPT's network of that shape, without biases and dropout."""
    module = load(checkout / "model.py")
    config = module.GPTConfig(
        block_size=shape.context,
        vocab_size=vocabulary,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_embd=shape.width,
        dropout=0.0,
        bias=False,
    )
    return module.GPT(config)


def load(path: Path) -> Any:
    """A module from a file of the user's checkout."""
    spec = importlib.util.spec_from_file_location(f"rival_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def danlu_step(shape: Shape, row: Row, nanogpt: Path | None) -> Step:
    """nanoGPT's architecture, from recipe ``nanogpt-char``, with danlu's own model, loss and optimizer."""
    # API: to the end of the function; what danlu.train does in an update, on ids that stay the same.
    from danlu.spec import resolve
    from danlu.train import compiling
    from danlu.train.assemble import assemble, objective_of, outlined
    from danlu.train.machine import keep_memory
    from danlu.train.update import Update

    keep_memory()
    experiment = resolve(
        [
            "nanogpt-char",
            f"model.layers={shape.layers}",
            f"model.width={shape.width}",
            f"model.mixer.heads={shape.heads}",
            f"data.context={shape.context}",
            f"train.batch={shape.batch}",
        ]
    )
    objective = objective_of(experiment, outlined(experiment, VOCABULARY))
    made = assemble(experiment, objective, row.precision)
    passes = compiling.compiled(experiment, objective) if row.compiled else None
    one = Update(made, loss=passes.loss if passes else None)
    x, y = batch(shape)
    example = {"tokens": x, "targets": y}

    one.example = lambda draw: example  # type: ignore[method-assign]

    def step() -> None:
        one.apply(0, one.gradients(0, 0, shape.batch))
        one.clear()

    return step


def product_step(shape: Shape, row: Row, nanogpt: Path | None) -> Step:
    """One large matrix product: what the machine can do at best."""
    import torch

    n, k, m = PRODUCT
    dtype = torch.bfloat16 if row.bfloat16 else torch.float32
    a, b = torch.randn(n, k, dtype=dtype), torch.randn(k, m, dtype=dtype)
    out = torch.empty(n, m, dtype=dtype)
    return lambda: torch.mm(a, b, out=out)


BUILDERS = {
    "x-transformers": x_transformers_step,
    "nanoGPT": nanogpt_step,
    "danlu": danlu_step,
    "product": product_step,
}


# --- the comparison ----------------------------------------------------------------------------------


def rows(nanogpt: Path | None, bfloat16: bool) -> list[Row]:
    rivals = ["x-transformers", *(["nanoGPT"] if nanogpt else [])]
    found = [Row(rival, compiled) for rival in rivals for compiled in (False, True)]
    if bfloat16:
        found += [Row(rival, compiled, bfloat16=True) for rival in rivals for compiled in (False, True)]
    found += [Row("danlu", False), Row("danlu", False, bfloat16=True), Row("danlu", True, bfloat16=True)]
    return [*found, Row("product"), Row("product", bfloat16=True)]


def compare(name: str, shape: Shape, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time all rows in turn; danlu's best against each rival's best in its own default precision."""
    chosen = rows(arguments.nanogpt, arguments.bfloat16)
    about = machine(arguments.threads)
    commands = {str(row): worker(row, name, arguments) for row in chosen}
    timed = interleave(commands, arguments.rounds, arguments.seconds, arguments.threads)
    times = {row: timed[str(row)] for row in chosen}

    def best(library: str) -> Row:
        own = [row for row in chosen if row.library == library and (library == "danlu" or not row.bfloat16)]
        return min(own, key=lambda row: median(times[row]))

    mine, ratios = best("danlu"), {}
    for rival, bar in BARS.items():
        if any(row.library == rival for row in chosen):
            theirs = best(rival)
            names = {"danlu": str(mine), "rival": str(theirs), "bar": bar}
            ratios[rival] = names | ratio(times[theirs], times[mine])
    products = {
        row: 2 * math.prod(PRODUCT) / median(times[row]) / 1e9 for row in chosen if row.library == "product"
    }
    return {
        "shape": str(shape),
        "machine": about,
        "nanogpt_revision": revision(arguments.nanogpt) if arguments.nanogpt else None,
        "ceiling_gflops": {row.precision: value for row, value in products.items()},
        "step_seconds": {str(row): spread(times[row]) for row in chosen if row.library != "product"},
        "ratios": ratios,
    }


def worker(row: Row, name: str, arguments: argparse.Namespace) -> list[str]:
    """The command that serves one row."""
    command = f"-m bench.step_time --worker {row.library} --only {name} --threads {arguments.threads}".split()
    flags = ["--compiled"] * row.compiled + ["--bfloat16"] * row.bfloat16
    checkout = ["--nanogpt", str(arguments.nanogpt)] if arguments.nanogpt else []
    return [sys.executable, *command, *flags, *checkout]


def report(name: str, shape: Shape, results: dict[str, Any]) -> None:
    """The table, the ceilings, the ratios."""
    table, ceilings = [], results["ceiling_gflops"]
    for row, measured in results["step_seconds"].items():
        seconds = measured["median"]
        speed = shape.flops / seconds / 1e9
        share = speed / ceilings["bfloat16" if "bfloat16" in row else "float32"]
        table.append(
            (row, f"{seconds * 1e3:.1f}", f"{shape.tokens / seconds:,.0f}", f"{speed:.0f}", f"{share:.0%}")
        )
    columns = ("", "ms/step", "tokens/s", "GFLOP/s", "of the ceiling")
    show(f"{name}: {shape}", columns, table, results["machine"])
    for precision, value in ceilings.items():
        print(f"ceiling, {'×'.join(map(str, PRODUCT))} in {precision}: {value:.0f} GFLOP/s")
    for rival, found in results["ratios"].items():
        print(
            f"{found['median']:.2f}× {rival} ({found['low']:.2f} to {found['high']:.2f} over the rounds; "
            f"{found['danlu']} against {found['rival']}): {verdict(found['median'], found['bar'])}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--nanogpt", type=Path, help="a checkout of nanoGPT; left out, that rival is left out"
    )
    parser.add_argument("--only", choices=SHAPES)
    parser.add_argument("--bfloat16", action="store_true", help="also the rivals under bfloat16 autocast")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="time given to each rival in a round")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--worker", choices=BUILDERS, help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.nanogpt:
        arguments.nanogpt = arguments.nanogpt.resolve()
        if not (arguments.nanogpt / "model.py").is_file():
            parser.error(f"{arguments.nanogpt} holds no model.py: --nanogpt wants a checkout of nanoGPT")

    if arguments.worker:
        import torch

        torch.set_num_threads(arguments.threads)
        torch.manual_seed(0)
        row = Row(arguments.worker, arguments.compiled, arguments.bfloat16)
        serve(lambda: BUILDERS[row.library](SHAPES[arguments.only], row, arguments.nanogpt))
        return
    for name in [arguments.only] if arguments.only else SHAPES:
        results = compare(name, SHAPES[name], arguments)
        report(name, SHAPES[name], results)
        save(f"step_time_{name}", results)


if __name__ == "__main__":
    main()
