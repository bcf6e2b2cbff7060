"""The digits: a fixed split, every image once an epoch, moved as its place says."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.data import DataError, Images, prepare
from danlu.data.images import _moved
from danlu.spec import Digits

sklearn = pytest.importorskip("sklearn.datasets")


def test_they_are_scikit_learns() -> None:
    theirs = sklearn.load_digits()
    ours: Images = prepare(Digits())
    images = np.concatenate([ours.held_out[0], ours.train[0]])[:, 0].reshape(-1, 64) * 16
    classes = np.concatenate([ours.held_out[1], ours.train[1]])
    here = sorted(map(tuple, np.column_stack([images, classes]).astype(int)))
    assert here == sorted(map(tuple, np.column_stack([theirs.data, theirs.target]).astype(int)))
    assert len(ours.held_out[0]) == round(0.2 * 1797)


def test_what_is_held_out_stays_held_out() -> None:
    """A smaller share is a part of a larger one, since each image is placed by its own hash."""
    small, large = (prepare(Digits(held_out=share)).held_out[0] for share in (0.1, 0.3))
    held = {image.tobytes() for image in large}
    assert all(image.tobytes() in held for image in small)


def test_an_epoch_has_every_image_once() -> None:
    data: Images = prepare(Digits())
    count = len(data.train[0])
    read = [data.rows(7, step, 100 * step, 0, 100)[0] for step in range(-(-2 * count // 100))]
    images = np.concatenate(read)
    for epoch in range(2):
        found = images[epoch * count : (epoch + 1) * count]
        assert sorted(i.tobytes() for i in found) == sorted(i.tobytes() for i in data.train[0])
    assert not np.array_equal(images[:count], images[count : 2 * count])


@pytest.mark.parametrize("shift", [0, 2])
def test_a_slice_of_an_update_equals_the_whole(shift: int) -> None:
    data: Images = prepare(Digits(shift=shift))
    images, classes = data.rows(3, 5, 1430, 0, 32)  # across the end of an epoch
    for start, stop in ((0, 8), (8, 32), (31, 32)):
        part, of = data.rows(3, 5, 1430, start, stop)
        assert np.array_equal(part, images[start:stop]) and np.array_equal(of, classes[start:stop])


def test_a_moved_image_is_the_image_moved() -> None:
    image = np.arange(1.0, 17.0, dtype=np.float32).reshape(1, 1, 4, 4)
    moved = _moved(np.repeat(image, 3, 0), np.array([[0, 0], [1, 0], [0, -2]]))
    assert np.array_equal(moved[0], image[0])
    assert np.array_equal(moved[1, 0], np.vstack([np.zeros((1, 4)), image[0, 0, :3]]))
    assert np.array_equal(moved[2, 0], np.hstack([image[0, 0, :, 2:], np.zeros((4, 2))]))


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from danlu.data import images

    def missing(package: str) -> object:
        raise ModuleNotFoundError(package)

    monkeypatch.setattr(images.resources, "files", missing)
    with pytest.raises(DataError, match=r"pip install 'danlu\[images\]'"):
        prepare(Digits())


def test_label_noise_replaces_classes_of_training_alone() -> None:
    clean, noisy = (prepare(Digits(label_noise=share)) for share in (0.0, 0.2))
    for side in ("train", "held_out"):
        assert np.array_equal(getattr(clean, side)[0], getattr(noisy, side)[0])
    assert np.array_equal(clean.held_out[1], noisy.held_out[1])
    before, after = clean.train[1], noisy.train[1]
    wrong = before != after
    assert wrong.sum() == round(0.2 * len(before)) and set(after) == set(range(10))
    # Each of the nine others alike: 32 of 288 are expected, five deviations are 27.
    assert np.bincount((after - before)[wrong] % 10, minlength=10)[1:].min() > 5
    assert np.array_equal(after, prepare(Digits(label_noise=0.2)).train[1])
