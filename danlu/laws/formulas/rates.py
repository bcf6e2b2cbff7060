"""Learning rates and batch sizes of model size, data or compute: products of powers, fitted in logarithms."""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, Published, register

STEP_LAW = "Li et al. 2025 (Step Law), arXiv:2503.04715, equation 1"
DEEPSEEK = "Bi et al. 2024 (DeepSeek), arXiv:2401.02954, equation 1"
SYMBOLS = {"lr": "η", "b": "B", "n": "N", "d": "D", "c": "C"}
MEANINGS = {"n": "exponent of the model's size", "d": "exponent of the data", "c": "exponent of compute"}


def _product(
    name: str, title: str, text: str, paper: str, target: str, columns: tuple[str, ...],
    published: dict[str, Published],
) -> Law:  # fmt: skip
    """target = k·∏ column^exponent."""

    def predict(theta: Array, data: Data) -> Array:
        log = np.log(theta[..., 0, None])
        for j, column in enumerate(columns, 1):
            log = log + theta[..., j, None] * np.log(data[column])
        return np.exp(log)

    def gradient(theta: Array, data: Data) -> Array:
        value = predict(theta, data)
        rows = [value / theta[..., 0, None], *(value * np.log(data[column]) for column in columns)]
        return np.stack(rows, axis=-2)

    def starts(data: Data, target: Array) -> Array:
        """Least squares in logarithms, and flatter and steeper planes through the middle."""
        X = np.stack([np.log(data[column]) for column in columns], axis=-1)
        y, middle = np.log(target), X.mean(0)
        slopes = np.linalg.lstsq(X - middle, y - y.mean(), rcond=None)[0]
        made = slopes * np.array([1.0, 0.0, 0.5, 0.8, 1.25, 2.0])[:, None]
        return np.column_stack([np.exp(y.mean() - made @ middle), made])

    letter = SYMBOLS[target]
    unit = "tokens" if target == "b" else ""
    return Law(
        name=name,
        title=title,
        formula=f"{letter} = k·" + "·".join(f"{SYMBOLS[column]}^e_{SYMBOLS[column]}" for column in columns),
        text=text,
        paper=paper,
        columns=columns,
        target=target,
        parameters=(
            Parameter("k", "scale", unit, log=True),
            *(Parameter(f"e_{SYMBOLS[c]}", MEANINGS[c], low=-10, high=10) for c in columns),
        ),
        predict=predict,
        gradient=gradient,
        starts=starts,
        published=published,
    )


RATE_ND = register(
    _product(
        "rate-nd",
        "Learning rate of model size and data",
        "Larger models want lower peak rates, more data (with its best batch size) higher ones.",
        STEP_LAW,
        "lr",
        ("n", "d"),
        {"step-law": Published((1.79, -0.713, 0.307), STEP_LAW)},
    )
)
BATCH_D = register(
    _product(
        "batch-d",
        "Batch size of data",
        "The best batch size grows with the data and hardly depends on the model's size.",
        STEP_LAW,
        "b",
        ("d",),
        {"step-law": Published((0.58, 0.571), STEP_LAW)},
    )
)
RATE_C = register(
    _product(
        "rate-c",
        "Learning rate of compute",
        "The best peak rate falls slowly with compute; a broad range about it is nearly as good.",
        DEEPSEEK,
        "lr",
        ("c",),
        {"deepseek": Published((0.3118, -0.1250), DEEPSEEK)},
    )
)
BATCH_C = register(
    _product(
        "batch-c",
        "Batch size of compute",
        "The best batch size grows with compute.",
        DEEPSEEK,
        "b",
        ("c",),
        {"deepseek": Published((0.2920, 0.3271), DEEPSEEK)},
    )
)
