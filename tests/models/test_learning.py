"""A small model learns a page by heart, with either optimizer."""

from __future__ import annotations

import pytest
import torch

from danlu import spec
from danlu.models import build, generate
from danlu.objectives import loss_sum
from danlu.optim import build as build_optimizers

PAGE = (
    b"The pure gold is tried seven times in the furnace; what is left each time is weighed, and the weight "
    b"is written down beside the hour and the heat. An alchemist who trusts the colour of the flame more "
    b"than the scale has made much smoke, says the book, & little gold. 1234"
)
RECIPES = {
    "muon": (spec.Muon(lr=0.02, adamw_lr=5e-3), torch.float32),
    "adamw": (spec.AdamW(lr=5e-3), torch.float32),
    "bfloat16": (spec.Muon(lr=0.02, adamw_lr=5e-3), torch.bfloat16),
}


@pytest.mark.parametrize(("optimizer", "dtype"), RECIPES.values(), ids=RECIPES.keys())
def test_a_page_is_learnt_by_heart(optimizer, dtype):
    page = torch.tensor(list(PAGE[:257]))
    assert len(page) == 257
    inputs, targets = page[:-1].view(4, 64), page[1:].view(4, 64)
    torch.manual_seed(1)
    mixer = spec.Attention(qk_norm=spec.QKNorm())
    model = build(spec.Decoder(layers=2, width=64, mixer=mixer, init=spec.Init(branch="zero")), 128, 64)
    model.compute = dtype
    optimizers = build_optimizers(optimizer, model)
    for _ in range(100):
        loss = loss_sum(model, inputs, targets) / 256
        loss.backward()
        for each in optimizers:
            each.step()
            each.zero_grad()
    with torch.no_grad():
        assert loss_sum(model, inputs, targets).item() / 256 < 0.05
    written = list(generate(model, inputs[:, :20], count=44, context=64, temperature=0))
    right = (torch.cat(written, dim=1) == targets[:, 19:63]).float().mean()
    assert right > 0.9
