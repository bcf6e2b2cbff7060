"""Own parts in models: what the surroundings give, what a class may leave out, what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import danlu
from danlu.models import build, generate
from danlu.models.costs import parameters
from danlu.nn import Linear
from danlu.spec import SpecError, resolve

WORDS = [
    "nano", "model.layers=2", "model.width=16", "model.mixer.heads=2", "data.context=16",
    "train.precision=float32", "train.steps=4",
]  # fmt: skip


@pytest.fixture(autouse=True)
def mine() -> None:
    danlu.load(Path(__file__).with_name("mine.py"))


def model_of(*words: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build(resolve([*WORDS, *words]).model, 32, 16)


MEAN = ("model.mixer=mean", "model.position=none")


def test_a_users_module_is_itself() -> None:
    """Its names, its type and its repr are the user's."""
    model = model_of("model.norm=dyt", "model.norm.alpha=0.7")
    norm = model.blocks[0].mixer_norm
    dyt = danlu.spec.families.FAMILIES["norm"].own["dyt"].makes
    assert isinstance(norm, dyt)  # type: ignore[arg-type]
    assert repr(norm) == "DyT()"
    assert {"blocks.0.mixer_norm.alpha", "blocks.0.mixer_norm.gain", "norm.gain"} <= set(model.state_dict())
    assert norm.alpha.item() == pytest.approx(0.7)


def test_costs_are_told_by_part() -> None:
    found = parameters(model_of("model.norm=dyt", "model.position=decay", "model.residual=half"))
    assert found["norms and gains"] == 5 * 17 and found["positions"] == 2 * 2
    assert "other" not in found


def test_bfloat16_activations_beside_weights_in_float32() -> None:
    """Plain nn.Linear included; the output has the input's type, close to float32's."""
    model = model_of("model.norm=dyt", "model.feed_forward=low-rank", *MEAN)
    tokens = torch.arange(16)[None]
    exact = model(tokens)
    model.compute = torch.bfloat16
    rounded = model(tokens)
    assert rounded.dtype == torch.float32 and 0 < (rounded - exact).abs().max() < 0.1
    rounded.square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


def test_generation_without_a_cache_of_ones_own() -> None:
    """Token by token it is what the whole text gives."""
    model = model_of(*MEAN).eval()
    written = list(map(int, generate(model, torch.tensor([[1, 2, 3]]), count=6, context=16, temperature=0)))
    text = [1, 2, 3]
    for token in written:
        assert int(model(torch.tensor([text]))[0, -1].argmax()) == token
        text.append(token)


@pytest.mark.slow
def test_compiled_it_agrees() -> None:
    model = model_of("model.norm=dyt", "model.feed_forward=low-rank", "model.position=decay")
    tokens = torch.arange(16)[None]
    compiled = torch.compile(model, backend="aot_eager")
    torch.testing.assert_close(compiled(tokens), model(tokens))


def test_initial_branches_are_scaled() -> None:
    """By ``out``, whatever linear map it is."""
    assert all(
        not block.feed_forward.out.weight.any()
        for block in model_of("model.feed_forward=low-rank", "model.init.branch=zero").blocks
    )


class NoEnd(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.map(x)  # type: ignore[no-any-return]


class Shift(nn.Module):
    """No weights at all."""

    out = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]


class Picky(nn.Module):
    def __init__(self, width: int, *, groups: int = 3) -> None:
        super().__init__()
        if width % groups:
            raise ValueError(f"groups = {groups} does not divide width = {width}")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Both(danlu.nn.Mixer):
    """Knows what a mask is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = Linear(width, width)

    def mix(self, x: torch.Tensor, mask: danlu.nn.AttentionMask) -> torch.Tensor:
        mean = x.cumsum(1) if mask.causal else x.mean(1, keepdim=True).expand_as(x)
        return self.out(mean)  # type: ignore[no-any-return]


def test_what_a_class_cannot_do_is_told() -> None:
    danlu.part("feed_forward", "no-end")(NoEnd)
    with pytest.raises(
        SpecError, match=r"the feed_forward no-end of test_models.py has no out: call its last"
    ):
        model_of("model.feed_forward=no-end")
    danlu.part("norm", "picky")(Picky)
    with pytest.raises(
        SpecError, match=r"the norm picky of test_models.py: groups = 3 does not divide width = 16"
    ):
        model_of("model.norm=picky")
    model_of("model.norm=picky", "model.norm.groups=4")
    danlu.part("norm", "number")(type("Number", (), {"__init__": lambda self, width: None}))
    with pytest.raises(SpecError, match=r"the norm number of test_models.py is not a torch.nn.Module"):
        model_of("model.norm=number")


@pytest.mark.parametrize(
    ("family", "base", "members", "words", "said"),
    [
        ("norm", nn.Module, {}, [], "has no forward: write def forward(self, x) in its class"),
        ("norm", danlu.nn.Norm, {}, [], "has no forward: write def forward(self, x) in"),
        ("mixer", nn.Module, {"out": None}, ["position=none"], "has no forward: write def forward(self, x)"),
        (
            "mixer",
            danlu.nn.Mixer,
            {"out": None},
            ["position=none"],
            "has no mix: write def mix(self, x, mask)",
        ),
        ("feed_forward", nn.Module, {"out": None}, [], "has no forward: write def forward(self, x) in"),
        ("residual", danlu.nn.Residual, {}, [], "has no forward: write def forward(self, x, branch)"),
        ("activation", nn.Module, {}, [], "has no forward: write def forward(self, x)"),
        ("position", danlu.nn.EmbeddingPosition, {}, [], "has no at: write def at(self, start, count)"),
        ("position", danlu.nn.HeadPosition, {}, [], "has no forward: write def forward(self, x, start)"),
        ("position", danlu.nn.ScorePosition, {}, [], "has no bias: write def bias(self, q, keys, offset"),
    ],
)
def test_a_class_without_its_method_is_refused_when_the_model_is_made(
    family: str, base: type, members: dict[str, Any], words: list[str], said: str
) -> None:
    own = type("Own", (base,), {"__init__": lambda self: base.__init__(self), **members})
    danlu.part(family, "idle")(own)
    with pytest.raises(SpecError, match=re.escape(f"the {family} idle of test_models.py {said}")):
        model_of(f"{family}=idle", *words)


def test_a_mixer_without_weights() -> None:
    danlu.part("mixer", "shift")(Shift)
    model = model_of("model.mixer=shift", "model.position=none", "model.init.branch=depth")
    assert model.blocks[0].mixer.flops(1, 16) == 0
    assert model(torch.arange(16)[None]).shape == (1, 16, 32)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model.mixer=mean"], r"inside attention, and no layer has attention \(model.mixer.kind = mean"),
        ([*MEAN, "model.kind=encoder", "objective=masked"], "mixer.kind = mean takes no mask, so it runs"),
        ([*MEAN, "data.documents=separate"], "separate cannot be used with model.mixer.kind = mean, which"),
        ([*MEAN, "objective=prefix"], "see one another, and model.mixer.kind = mean runs"),
        ([*MEAN, "model.kind=encoder-decoder", "objective=spans"], "mean cannot be used in an encoder-dec"),
        (["model.mixer=latent", "model.position=decay"], "position.kind = decay cannot be used with"),
        (["objective=focal", "model.kind=encoder"], "objective.kind = focal is for a model of kind decoder"),
        (["data=stripes"], "objective.kind = causal takes data of kind text, and data.kind = stripes"),
        (["optimizer=heavy-ball", "vary=[{setting: betas}]"], "vary.0.setting = betas is not a number"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        resolve([*WORDS, *words])


def test_a_mixer_that_takes_the_mask_goes_everywhere() -> None:
    danlu.part("mixer", "both")(Both)
    base = ["model.mixer=both", "model.position=none"]
    model = model_of(*base, "model.kind=encoder", "objective=masked")
    one, other = torch.arange(16)[None], torch.arange(16)[None].flip(-1)
    assert not torch.allclose(model(one)[0, 0], model(torch.cat((one[:, :1], other[:, 1:]), 1))[0, 0])
    resolve([*WORDS, *base, "data.documents=separate"])


def test_an_own_position_in_attention_with_a_padding_window() -> None:
    model = model_of("model.position=decay", "model.mixer.window=4")
    assert model(torch.arange(16)[None]).shape == (1, 16, 32)
