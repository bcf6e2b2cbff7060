"""Range estimators against searches and quantiles of their own."""

from __future__ import annotations

import pytest
import torch

from danlu.quantization import LeastError, LeastOutputError, Percentile, named, quantize, rows_of


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("percent", [90.0, 99.0, 99.99, 100.0])
def test_percentiles_are_quantiles(percent: float) -> None:
    rows = normal(5, 1001)
    low, high = Percentile(percent)(rows, named("int8"))
    torch.testing.assert_close(high, rows.double().quantile(percent / 100, dim=1).float())
    torch.testing.assert_close(low, rows.double().quantile(1 - percent / 100, dim=1).float())


def test_a_percentile_of_all_is_the_whole_range() -> None:
    x = normal(4, 64)
    for name in ("int4-affine", "int4-narrow", "nf4"):
        assert torch.equal(
            quantize(x, named(name), Percentile(100)).dequantize(), quantize(x, named(name)).dequantize()
        )


@pytest.mark.parametrize("name", ["int2-narrow", "int3-affine", "nf4", "nvfp4"])
def test_the_least_error_is_the_least_of_a_search(name: str) -> None:
    format, x = named(name, None if name == "nvfp4" else 32), normal(6, 64) ** 3
    format = format.fixed(x)
    rows = rows_of(x, format.per)
    found = quantize(x, format, LeastError(power=2.0)).dequantize()
    low, high = rows.amin(dim=1), rows.amax(dim=1)
    errors = [
        (format.nearest(rows, format.scales(format.hold(low * p, high * p))) - rows).square().sum(dim=1)
        for p in (1 - i / 100 for i in range(80))
    ]
    least = torch.stack(errors).amin(dim=0)
    torch.testing.assert_close((rows_of(found, format.per) - rows).square().sum(dim=1), least)


def test_the_least_output_error_is_of_the_outputs() -> None:
    """Moments of the inputs and the inputs themselves give the same choice."""
    w, x, format = normal(6, 32), normal(200, 32, seed=1) * torch.linspace(0.1, 3, 32), named("int3", 8)
    groups = x.view(200, 4, 8).transpose(0, 1)
    found = quantize(w, format, LeastOutputError(groups.mT @ groups)).dequantize()
    rows = rows_of(w, 8)
    low, high = rows.amin(dim=1), rows.amax(dim=1)
    errors = []
    for i in range(10):
        p = 1 - i / 20
        q = format.nearest(rows, format.scales(format.hold(low * p, high * p)))
        d = (q - rows).view(6, 4, 8)
        errors.append(torch.einsum("gnc,ogc->ogn", groups, d).square().sum(dim=2).flatten())
    d = (rows_of(found, 8) - rows).view(6, 4, 8)
    ours = torch.einsum("gnc,ogc->ogn", groups, d).square().sum(dim=2).flatten()
    torch.testing.assert_close(ours, torch.stack(errors).amin(dim=0))
    assert (ours < errors[0]).any()


def test_a_percentile_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"percent = 40; allowed: above 50"):
        Percentile(40)
