"""The curvature of a scalar function of many parameters, by products with its Hessian: PyTorch alone.

products (Hessian and Gauss-Newton matrix times a vector) · trace (Hutchinson) · lanczos (eigenvalues at the
ends, the density of all of them) · sparsity (exact zeros by pair of layers) · sharpness (one step upwards) ·
noise (the gradient's noise scale).

A term is a function without arguments that returns a scalar; L is the sum of some. Whoever writes terms sees
to it that their second derivatives are right: danlu's networks within ``danlu.nn.pure()``.

>>> import torch
>>> w = torch.tensor([1.0, 2.0], requires_grad=True)
>>> hessian = Hessian([w], [lambda: (w[0] ** 2 * w[1]).sum()])
>>> hessian(torch.tensor([1.0, 0.0]))  # [[2 w₁, 2 w₀], [2 w₀, 0]]
tensor([4., 2.])
"""

from danlu.curvature.lanczos import Lanczos, Spectrum, density, top
from danlu.curvature.noise import Noise, jackknife, noise_from_norms, noise_of
from danlu.curvature.products import GaussNewton, Hessian, Outputs, Product, Term, flatten, gradient_of, split
from danlu.curvature.sharpness import ascent
from danlu.curvature.sparsity import Sparsity, sparsity
from danlu.curvature.trace import Trace, hutchinson, signs

__all__ = [
    "GaussNewton",
    "Hessian",
    "Lanczos",
    "Noise",
    "Outputs",
    "Product",
    "Sparsity",
    "Spectrum",
    "Term",
    "Trace",
    "ascent",
    "density",
    "flatten",
    "gradient_of",
    "hutchinson",
    "jackknife",
    "noise_from_norms",
    "noise_of",
    "signs",
    "sparsity",
    "split",
    "top",
]
