"""torchao's methods, where it is installed: learned scales, GPTQ, SmoothQuant, AWQ, Hadamard matrices."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
import torch.nn as nn
from torch import Tensor

from danlu.quantization import (
    NVFP4,
    Format,
    Integers,
    Moments,
    ParetoQ,
    Seam,
    awq,
    fake_quantize,
    gptq,
    hadamard,
    quantize,
    smoothquant_scales,
)

pytest.importorskip("torchao", reason="the extra oracles is not installed")

from torchao.quantization import quant_api as api
from torchao.quantization.granularity import PerGroup


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("how", "format"),
    [
        (
            {"dtype": torch.int4, "group_size": 32, "is_symmetric": True},
            Integers(bits=4, grid="full", per=32),
        ),
        (
            {"dtype": torch.int8, "granularity": "per_token", "is_symmetric": False},
            Integers(bits=8, grid="affine", per="token"),
        ),
    ],
    ids=["int4 in groups", "int8 per token"],
)
def test_rounding_while_training(how: dict[str, Any], format: Integers) -> None:
    """Forward bit for bit; their gradient is dy·(1/s)·s, masked as ours."""
    module = pytest.importorskip("torchao.quantization.qat")
    x = (3 * normal(64, 96)).requires_grad_()
    theirs = module.IntxFakeQuantizer(module.IntxFakeQuantizeConfig(**how))(x)
    ours, dy = fake_quantize(x, format), normal(64, 96, seed=9)
    assert torch.equal(ours, theirs)
    (dx,), (other,) = torch.autograd.grad(ours, x, dy), torch.autograd.grad(theirs, x, dy)
    torch.testing.assert_close(dx, other, rtol=1e-6, atol=0)
    assert ((dx == 0).sum() > 20) == (format.grid == "full")  # where +amax is clipped by half a step


@pytest.mark.parametrize("bits", [2, 3, 4, "ternary"])
def test_paretoq(bits: Any) -> None:
    """Forward, and both gradients. Of a ternary number that is clipped theirs takes ±1 as the derivative by
    the scale, where its level is ±⅔; ours takes the level."""
    rules = pytest.importorskip("torchao.prototype.paretoq.models.utils_quant")
    w = normal(6, 64).requires_grad_()
    pareto = ParetoQ(bits, w)
    pareto.scale.data.mul_(torch.linspace(0.4, 1.1, 6))
    scale = pareto.scale.detach().clone()[:, None].requires_grad_()
    rule = rules.LsqBinaryTernaryExtension if bits in (3, 4) else rules.StretchedElasticQuant
    ours, theirs = pareto(w), rule.apply(w, scale, 0 if bits == "ternary" else bits, False)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    dy = normal(6, 64, seed=9)
    dw, ds = torch.autograd.grad(ours, (w, pareto.scale), dy)
    other_dw, other_ds = torch.autograd.grad(theirs, (w, scale), dy)
    assert torch.equal(dw, other_dw) and 0.02 < (dw == 0).float().mean() < 0.9
    if bits == "ternary":
        beyond = (w / scale).detach().abs() > 0.99
        ds = ds + (dy * w.sign() * beyond).sum(1) / 3 / math.sqrt(w.numel())
    torch.testing.assert_close(ds, other_ds[:, 0], rtol=1e-5, atol=1e-6)


def gptq_quantize(module: Any) -> Any:
    """Theirs, without its demand for CUDA."""
    source = inspect.getsource(module.gptq_quantize)
    for word, instead in (('device.type == "cuda"', "True"), ("torch.cuda.synchronize()", "pass")):
        assert source.count(word) == 1
        source = source.replace(word, instead)
    scope = vars(module) | {"_nvfp4_qdq_fn": module._nvfp4_with_precalculated_scales_qdq}  # not compiled
    exec(source, scope)
    return scope["gptq_quantize"]


@pytest.mark.slow  # the import takes seconds
@pytest.mark.parametrize("format", [Integers(bits=8, grid="full"), NVFP4()], ids=lambda f: f.name)
def test_gptq(format: Format) -> None:
    """Theirs in float32, so that a number at a tie may fall to the other side, and what follows with it."""
    module = pytest.importorskip("torchao.prototype.gptq.api")
    flow = pytest.importorskip("torchao.prototype.mx_formats.inference_workflow")
    turn = torch.linalg.qr(normal(128, 128, seed=5))[0]
    x = normal(400, 128, seed=6) @ turn * torch.logspace(0, -1.5, 128) @ turn.T
    x[:, 7] = 0
    moments, w = Moments(128), normal(32, 128, seed=7)
    moments.add(x)
    base = (
        flow.NVFP4DynamicActivationNVFP4WeightConfig(use_triton_kernel=False)
        if isinstance(format, NVFP4)
        else api.Int8WeightOnlyConfig(set_inductor_config=False)
    )
    config = module.GPTQConfig(step="convert", base_config=base, gptq_quantize_block_size=128)
    theirs = gptq_quantize(module)(moments.hessian.float(), w.clone(), config).dequantize(torch.float32)
    ours = gptq(w, moments.hessian, format, block=48).quantized.dequantize()
    assert (ours[:, 7] == 0).all()
    assert ((ours - theirs).abs() > 1e-6).float().mean() < 0.02
    cost = [
        float(torch.trace((q - w).double() @ moments.hessian @ (q - w).double().T)) for q in (ours, theirs)
    ]
    assert cost[0] == pytest.approx(cost[1], rel=0.01)
    plain = (quantize(w, format).dequantize() - w).double()
    assert cost[0] < 0.5 * float(torch.trace(plain @ moments.hessian @ plain.T))


def test_smoothquant() -> None:
    """Theirs adds float32's ε to both maxima."""
    module = pytest.importorskip("torchao.prototype.smoothquant.core")
    w, x = normal(12, 16), normal(3, 40, 16, seed=1) * torch.logspace(-2, 2, 16)
    for alpha in (0.0, 0.3, 0.5, 1.0):
        observer = module.SmoothQuantObserver(w, alpha)
        observer(x)
        ours = smoothquant_scales(x.abs().amax(dim=(0, 1)), [w], alpha)
        torch.testing.assert_close(ours, observer.calculate_qparams()[0], rtol=1e-4, atol=0)


@pytest.mark.parametrize("seed", range(3))
def test_awq(seed: int) -> None:
    """The same search over the same 20 scales, of one map."""
    module = pytest.importorskip("torchao.prototype.awq.core")
    made, format = nn.Linear(128, 48), Integers(bits=4, grid="full", per=32)
    made.weight.data.copy_(normal(48, 128, seed=2))
    x = normal(2, 30, 128, seed=10 + seed) * torch.exp(1.5 * normal(128, seed=20 + seed))
    config = api.IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32))
    observer = module.AWQObserver(made.weight.clone(), made.bias, config)
    observer(x, made(x))
    expected, found = observer.calculate_qparams(), []
    seam = Seam("it", found.append, [made], [made])  # type: ignore[list-item]
    alpha = awq([seam], [(x,)], made, format)["it"]
    assert alpha > 0
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("n", [1, 8, 64, 256])
def test_hadamard_by_doubling(n: int) -> None:
    module = pytest.importorskip("torchao.prototype.spinquant.hadamard_utils")
    found = module.matmul_hadU(torch.eye(n, dtype=torch.float64), None, 1) * n**0.5
    torch.testing.assert_close(hadamard(n), found)


@pytest.mark.parametrize("n", [12, 20, 28, 36, 40, 44, 60, 108, 140])
def test_hadamard_by_tables(n: int) -> None:
    """Of these sizes theirs are tables and ours Paley's: two matrices, of the same kind."""
    module = pytest.importorskip("torchao.prototype.spinquant.hadamard_utils")
    table, size = module.get_hadK(n)
    for matrix in (table.double(), hadamard(n)):
        assert size == n and matrix.shape == (n, n) and (matrix.abs() == 1).all()
        assert torch.equal(matrix @ matrix.T, n * torch.eye(n, dtype=torch.float64))
