"""nanoGPT's GPT-2 of 124 million parameters beside danlu's: one update, the same batch, both compiled and in
bfloat16. nanoGPT is imported from a checkout and is no part of danlu."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.gpu.place import Place, Row
from bench.gpu.steps import GPT2, Step
from bench.step_time import Shape, nanogpt_model
from danlu import spec
from danlu.train import compiling

BATCH, WORDS = 16, 50304


def rows(at: Place) -> Iterator[Row]:
    if at.nanogpt is None:
        yield {"what": "nanoGPT's checkout is not named (--nanogpt)", "aside": True}
        return
    backend = at.size("inductor", "aot_eager")
    step = Step(at, GPT2, WORDS, BATCH)
    step.loss = compiling.compiled(step.experiment, step.made.objective, backend=backend).loss
    ours = step.speed()
    yield {"what": f"danlu, {step}", **ours}
    network, context, words = step.experiment.model, step.tokens // step.batch, step.vocabulary
    assert isinstance(network, spec.Decoder) and isinstance(network.mixer, spec.Attention)
    shape = Shape(network.layers, network.width, network.mixer.heads, step.batch, context)
    del step
    model = nanogpt_model(at.nanogpt, shape, words).to(at.device)
    rule = model.configure_optimizers(0.1, 1e-4, (0.9, 0.95), at.device.type)
    forward = torch.compile(model, backend=backend)
    ids = torch.randint(words, (shape.batch, context + 1), device=at.device)

    def update() -> None:
        with torch.autocast(at.device.type, torch.bfloat16):
            _, loss = forward(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rule.step()
        rule.zero_grad(set_to_none=True)

    ms = at.milliseconds(update)
    theirs = round(ids[:, 1:].numel() / ms * 1e3)
    yield {"what": "nanoGPT, the same batch", "ms": ms, "tok/s": theirs}
    yield {"what": "danlu's tokens a second beside nanoGPT's", "times": ours["tok/s"] / theirs}
