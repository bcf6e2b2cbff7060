"""Makes the network whose features measure generated digits: danlu/catalog/digit-features.safetensors.

    python -m bench.digit_features

Trains scikit-learn's perceptron on 1,200 digits that a fixed seed chooses, says how many of the others it
knows, and how far halves of the data, Gaussians and noise lie from the data in its features. Run again only
on purpose: other weights are another measure.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from sklearn.neural_network import MLPClassifier  # type: ignore[import-untyped]

from danlu.distances import between_halves
from danlu.distances.digits import WEIGHTS, digit_classes, digit_features
from danlu.distances.frechet import between
from danlu.files.write import write_atomically

SEED, TRAINED = 0, 1200
PLACE = Path(__file__).resolve().parents[1] / "danlu" / "catalog" / WEIGHTS


def split() -> tuple[np.ndarray, np.ndarray]:
    """Which digits the network was trained on, and the others."""
    order = np.random.default_rng(SEED).permutation(1797)
    return order[:TRAINED], order[TRAINED:]


def main() -> None:
    """Train, write, report."""
    digits = load_digits()
    images, classes = digits.data / 16, digits.target
    trained, rest = split()
    network = MLPClassifier((64, 32), alpha=1e-3, max_iter=1000, random_state=SEED)
    network.fit(images[trained], classes[trained])
    tensors: dict[str, np.ndarray] = {}
    for i, (matrix, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
        tensors |= {f"{i}.weight": matrix.astype(np.float32), f"{i}.bias": bias.astype(np.float32)}
    made = {"made by": f"bench/digit_features.py, scikit-learn {version('scikit-learn')}, seed {SEED}"}
    write_atomically(PLACE, save(tensors, metadata=made))
    print(f"known of the {len(rest)} others: {np.mean(digit_classes(images[rest]) == classes[rest]):.1%}")
    report(images, classes)


def report(images: np.ndarray, classes: np.ndarray) -> None:
    """Distances to the data, in these features, of as many images each."""
    data, generator = digit_features(images), np.random.default_rng(SEED)
    print(between_halves("halves of the data", between, data))

    def gaussian(of: np.ndarray, count: int) -> np.ndarray:
        return generator.multivariate_normal(of.mean(axis=0), np.cov(of.T), size=count, method="eigh")

    by_class = np.concatenate([gaussian(images[classes == y], int((classes == y).sum())) for y in range(10)])
    others = {
        "a Gaussian of each class": by_class,
        "one Gaussian": gaussian(images, len(images)),
        "shuffled pixels": generator.permuted(images, axis=1),
        "uniform noise": generator.random(images.shape),
        "the mean image": np.repeat(images.mean(axis=0)[None], len(images), axis=0),
    }
    for name, made in others.items():
        print(f"{name}: {between(digit_features(np.clip(made, 0, 1)), data):.3g}")


if __name__ == "__main__":
    main()
