"""What a convolutional network asks of its widths and of its images."""

from __future__ import annotations


def check_groups(width: int, groups: int) -> None:
    """Raises ValueError where ``groups`` of a norm do not divide the ``width``."""
    if width % groups:
        raise ValueError(
            f"groups = {groups} does not divide width = {width}; set one of them to fit the other"
        )


def check_halves(shape: tuple[int, ...], scales: int) -> None:
    """Raises ValueError where images (channels, height, width) cannot be halved ``scales`` − 1 times."""
    if len(shape) != 3:
        raise ValueError(f"this network is for images (channels, height, width), and the data has {shape}")
    times = 2 ** (scales - 1)
    if any(side % times for side in shape[1:]):
        raise ValueError(
            f"scales has {scales} entries, so height and width must be multiples of {times}, and images are "
            f"{shape[1]} × {shape[2]}; name fewer scales"
        )
