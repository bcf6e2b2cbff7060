"""Depth: how far one update moves the output, and gradients, stream and cosines from layer to layer."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from danlu import spec
from danlu.inspection.numbers import cosine_of_rows
from danlu.lab.depths import depths
from danlu.lab.errors import LabError
from danlu.nn import Admin, Block, Linear
from danlu.nn.masks import AttentionMask
from danlu.objectives import Draw
from danlu.spec import resolve
from danlu.train.assemble import assemble, objective_of
from danlu.train.coordinates import noise
from danlu.train.depth import depth, gain
from danlu.train.errors import RunError

SMALL = [
    *("nano", "model.width=32", "model.mixer.heads=2", "data.context=8", "train.batch=4"),
    *("model.init.embedding=1.0", "model.norm.gain=false", "model.init.branch=same"),
]
# The power of the depth by which the output's change grows: along the sign of the gradient, Adam's first
# step, and along the gradient.
GROWTH = {
    "depth-scaled": (0.5, 0.0),  # Su 2022, kexue.fm/archives/8994: S changes of 1/√S, and gradients alike
    "deepnorm": (0.5, 0.0),  # S·β/α = √S; of the gradient Wang et al. 2022, theorem 4.2: S·β²/α² is constant
    "deepnorm-adam": (0.0, None),  # S·β/α = 1
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_change_grows_as_the_derivations_say(seed):
    """Within 0.15 of the power from 4 to 32 layers. Norms have no gains, whose changes the derivations leave
    out. Without these constants a step along the sign grows nearly as the depth, or faster."""
    words = [*SMALL, f"train.seed={seed}"]
    for i, update in enumerate(("sign", "gradient")):
        wanted = {name: powers[i] for name, powers in GROWTH.items() if powers[i] is not None}
        arms = {arm.name: arm for arm in depths(words, (4, 8, 16, 32), list(wanted), update=update)}
        assert not any(arm.warnings for arm in arms.values())
        assert {name: arms[name].slope for name in wanted} == pytest.approx(wanted, abs=0.15)
        assert arms["as it is"].slope > (0.7 if update == "sign" else 0.4)
    # Admin begins as a norm before each branch does, up to ω being one number for all tokens (Liu et al.
    # 2020, arXiv:2004.08249, section 4.1: x + f(norm(x)) over its own size is norm(ω·norm(x) + f(norm(x)))).
    before, admin = depths(words, (4, 8, 16, 32), ["admin"])
    assert admin.slope == pytest.approx(before.slope, abs=0.15)
    for one, other in zip(admin.found, before.found, strict=True):
        assert 1 / 1.5 < one.change / other.change < 1.5
    (_, none) = depths(words, (4, 8, 16), ["no-residual"], step=1e-7)
    (post,) = depths([*words, "model.placement=post"], (4, 8, 16), [], step=1e-7)
    assert none.slope > 0.7 and post.slope > 0.7


def test_each_constant_bounds_its_step():
    """The same between two depths, with a factor of 1.5 for what two points leave."""
    sign = {arm.name: arm.found for arm in depths(SMALL, (4, 16), list(GROWTH))}
    grown = {name: many.change / few.change for name, (few, many) in sign.items()}
    for name, (power, _) in GROWTH.items():
        assert 4**power / 1.5 < grown[name] < 4**power * 1.5
    assert grown["as it is"] > 2.5


@pytest.mark.parametrize("update", ["sign", "gradient"])
def test_the_loss_falls_as_the_gradient_says(update):
    """ΔL = −η‖g‖² of a gradient step and −η‖g‖₁ of one by signs, to first order: at a tenth of the step a
    hundredth of the difference is left (a quarter and four are allowed for the third order)."""
    experiment = resolve([*SMALL, "model.layers=2", "train.seed=3"])
    rest = []
    for step in (1e-4, 1e-5):
        found = depth(experiment, step, update)
        assert found.first_order < 0 and found.loss_change < 0
        rest.append(found.loss_change - found.first_order)
    assert 25 < rest[0] / rest[1] < 400


def test_first_order_is_of_the_gradient():
    """Against gradients taken anew: −η‖g‖² and −η‖g‖₁; and the norm by layer."""
    experiment = resolve([*SMALL, "model.layers=2"])
    objective = objective_of(experiment, noise(experiment, 4, 0))
    model = assemble(experiment, objective).model.double()
    model.compute = torch.float64
    example = {name: torch.from_numpy(a) for name, a in objective.example(Draw(0, 0, 0, 0, 4)).items()}
    (objective.loss(model, example).total / (4 * objective.count)).backward()
    grads = [p.grad for p in model.parameters()]
    by_gradient, by_sign = (depth(experiment, 1e-3, update) for update in ("gradient", "sign"))
    assert by_gradient.first_order == pytest.approx(-1e-3 * sum(g.square().sum().item() for g in grads))
    assert by_sign.first_order == pytest.approx(-1e-3 * sum(g.abs().sum().item() for g in grads))
    for block, norm in zip(model.blocks, by_sign.gradient, strict=True):
        squares = sum(p.grad.square().sum().item() for p in block.parameters())
        assert norm == pytest.approx(squares**0.5)


def test_a_step_too_large_is_told():
    experiment = resolve([*SMALL, "model.layers=4", "+no-residual"])
    assert depth(experiment, 1e-7).linear
    assert not depth(experiment, 10.0).linear
    (arm,) = depths([*SMALL, "+no-residual"], (2, 4), step=10.0)
    assert arm.slope is None and arm.line is None and "4 layers: half of the step makes" in arm.warnings[1]


def test_a_readout_of_zeros_is_drawn():
    """With it no block would have a gradient."""
    zero, drawn = (
        depth(resolve([*SMALL, "model.layers=2", *more])) for more in (["model.init.readout=0.0"], [])
    )
    assert zero == drawn and min(zero.gradient) > 0


@pytest.mark.parametrize(
    "experiment",
    ["tiny +masked-lm", "tiny +span-corruption", pytest.param("digits", marks=pytest.mark.slow)],
)
def test_every_kind_of_model(experiment):
    small = ["model.layers=2", "model.width=16", "model.mixer.heads=2", "train.batch=2"]
    found = depth(resolve([*experiment.split(), *small]))
    assert len(found.gain) == len(found.gradient) == 2 and len(found.stream) == len(found.cosine) == 3
    assert found.change > 0 and found.linear


def wide(activation: str, residual: str) -> Block:
    """A block of one feed-forward layer, with weights that keep a variance of 1 up to the activation."""
    torch.manual_seed(0)
    layer = spec.MLP(activation=activation, hidden=1024)
    block = Block(256, mixer="none", feed_forward=layer, norm=torch.nn.Identity(), residual=residual).double()
    for linear in (module for module in block.modules() if isinstance(module, Linear)):
        torch.nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
    return block


@pytest.mark.parametrize(("residual", "more"), [("none", 0.0), ("plain", 1.0)])
@pytest.mark.parametrize(("activation", "slope"), [("relu", 0.5), ("gelu", None)])
def test_gain_is_chi(activation, slope, residual, more):
    """χ = E[φ′(z)²] σ_w² for z ~ N(0, 1) and σ_w = 1 in both maps: ½ of ReLU; of GELU by an integral; and
    1 + χ around a plain residual. Within 5 %, which 256 × 1,024 weights and 64 rows leave of it."""
    if slope is None:
        z = torch.linspace(-8, 8, 20_001, dtype=torch.float64, requires_grad=True)
        (derivative,) = torch.autograd.grad(F.gelu(z).sum(), z)
        density = (-(z.detach() ** 2) / 2).exp() / (2 * torch.pi) ** 0.5
        slope = torch.trapezoid(derivative**2 * density, z.detach()).item()
    x = torch.randn(4, 16, 256, dtype=torch.float64)
    found = gain(wide(activation, residual), (x, AttentionMask.of(None), None, None))
    assert found == pytest.approx(slope + more, rel=0.05)


def test_cosine():
    """Of independent rows 0 within five standard errors, 1/√(pairs of numbers); of equal ones 1."""
    x = torch.randn(8, 5, 400)
    assert abs(float(cosine_of_rows(x))) < 5 / (28 * 5 * 400) ** 0.5
    assert float(cosine_of_rows(x[:1].expand(8, 5, 400))) == pytest.approx(1.0)
    a, b = x[:2]
    assert float(cosine_of_rows(x[:2])) == pytest.approx(
        F.cosine_similarity(a, b, dim=-1).mean().item(), abs=1e-6
    )


def test_what_has_no_depth_is_refused():
    with pytest.raises(RunError, match=r"model.kind = siren has no blocks of a transformer"):
        depth(resolve(["siren-chirp"]))
    for layers, step, update, said in (
        ((4,), 1e-6, "sign", "--layers = '4'; allowed: two or more"),
        ((4, 8), 0.0, "sign", "--step = 0.0; allowed"),
        ((4, 8), 1e-6, "adam", "--update = 'adam'; allowed: sign, gradient"),
    ):
        with pytest.raises(LabError, match=said):
            depths(SMALL, layers, step=step, update=update)


def test_admin_takes_its_numbers_from_the_first_batch():
    """ω₁ = 1 and ω² = Var(ω′x′) + Var f′ of the sum before (Liu et al. 2020, and their code), told anew from
    what each sum was given; the rest of the network is that of plain post-norm."""
    words = [*SMALL, "model.layers=3"]
    experiment = resolve([*words, "+admin"])
    objective = objective_of(experiment, noise(experiment, 4, 0))
    model = assemble(experiment, objective).model.eval()
    joins = [module for module in model.modules() if isinstance(module, Admin)]
    assert len(joins) == 6
    given = {}
    for join in joins:
        join.register_forward_pre_hook(given.__setitem__)
    example = {name: torch.from_numpy(a) for name, a in objective.example(Draw(0, 0, 0, 0, 4)).items()}
    objective.loss(model, example)
    omega = 1.0
    for join in joins:
        torch.testing.assert_close(join.gain.detach(), torch.full((32,), omega), rtol=1e-5, atol=0)
        x, branch = given[join]
        omega = (omega**2 * x.var() + branch.var()).sqrt().item()
    assert omega > 1.5
    post = assemble(resolve([*words, "model.placement=post"]), objective).model
    ours = dict(model.named_parameters())
    assert all(torch.equal(ours[name], p) for name, p in post.named_parameters())
