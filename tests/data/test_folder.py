"""A folder of images: what is read, how it is cut, what is held out, and what is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from danlu.code import Recording
from danlu.data import DataError, Images, folder, pictures, prepare
from danlu.spec import ImageFolder

Image = pytest.importorskip("PIL.Image")


def noise(seed: int, *shape: int) -> np.ndarray:
    """A smooth picture, different for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, *shape[2:]), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(shape[1::-1], 2))


def photos(
    root: Path, count: int = 30, classes: tuple[str, ...] = ("cats", "dogs"), ending: str = "png"
) -> Path:
    for i in range(count):
        place = root / classes[i % len(classes)] if classes else root
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(i, 40, 60, 3)).save(place / f"{i:03}.{ending}")
    return root


def read(root: Path, cache: Path, progress=None, **settings) -> Images:
    found: Images = prepare(
        ImageFolder(folder=str(root), **{"pixels": 16, "held_out": 0.3} | settings),
        cache=cache,
        progress=progress,
    )
    return found


def test_shapes_classes_and_counts(tmp_path: Path) -> None:
    (photos(tmp_path / "p") / "notes.txt").write_text("none")
    (tmp_path / "p" / ".hidden.png").write_bytes(b"")
    said: list[str] = []
    data = read(tmp_path / "p", tmp_path / "cache", said.append)
    assert data.shape == data.spec.shape == (3, 16, 16)
    assert (data.classes, data.names) == (2, ("cats", "dogs"))
    images = np.concatenate([data.train[0], data.held_out[0]])
    assert images.shape == (30, 3, 16, 16) and images.dtype == np.float32
    assert 0 <= images.min() < 0.2 and 0.8 < images.max() <= 1
    assert len(data.held_out[0]) == data.record["splits"]["held_out"]["images"] == 9
    assert sorted(np.concatenate([data.train[1], data.held_out[1]])) == [0] * 15 + [1] * 15
    assert data.record["ignored_files"] == 1 and any("1 files of other kinds" in line for line in said)


def test_the_middle_is_kept(tmp_path: Path) -> None:
    """A picture of three squares side by side becomes the one in the middle, of either format."""
    three = np.zeros((32, 96), np.uint8)
    three[:, 32:64] = 200
    (tmp_path / "p").mkdir()
    for name in ("a.png", "b.jpg"):
        Image.fromarray(three if name == "a.png" else 255 - three).save(tmp_path / "p" / name)
    data = read(tmp_path / "p", tmp_path / "cache", channels=1)
    means = sorted(float(image.mean()) for part in (data.train, data.held_out) for image in part[0])
    assert means == pytest.approx([55 / 255, 200 / 255], abs=0.02)


def test_modes_of_pictures(tmp_path: Path) -> None:
    """Sixteen bits keep their shades, what is transparent is white, a camera's turn is obeyed."""
    (tmp_path / "p").mkdir()
    Image.fromarray(np.full((20, 20), 128 * 257, np.uint16)).save(tmp_path / "p" / "deep.png")
    clear = np.zeros((20, 20, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "p" / "clear.png")
    turned = Image.fromarray(np.repeat(np.array([[0], [90]], np.uint8), [10, 10], 0).repeat(20, 1))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned.save(tmp_path / "p" / "turned.png", exif=exif)
    data = read(tmp_path / "p", tmp_path / "cache", channels=1)
    images = sorted(np.concatenate([data.train[0], data.held_out[0]])[:, 0], key=np.mean)
    assert images[0][:4].mean() == pytest.approx(90 / 255, abs=0.01) and images[0][-4:].mean() < 0.01
    assert images[1].mean() == pytest.approx(128 / 255, abs=1e-3) and images[2].min() == 1.0


def test_near_identical_images_are_on_one_side(tmp_path: Path) -> None:
    """Ten pictures, each three times: as it is, saved as JPEG, and a little smaller."""
    root = tmp_path / "p"
    root.mkdir()
    for i in range(10):
        image = Image.fromarray(noise(i, 48, 48, 3))
        image.save(root / f"{i}.png")
        image.save(root / f"{i} again.jpg", quality=80)
        image.resize((40, 40)).save(root / f"{i} small.png")
    said: list[str] = []
    data = read(root, tmp_path / "cache", said.append)
    assert data.record["near_identical"] == 30 and any(
        "30 images are near-identical" in line for line in said
    )
    assert len(data.held_out[0]) == 9
    apart = np.abs(data.train[0][:, None] - data.held_out[0]).mean((2, 3, 4))
    assert apart.min() > 0.1


def test_the_cache_is_read_and_follows_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = photos(tmp_path / "p"), tmp_path / "cache"
    first = read(root, cache)
    with monkeypatch.context() as patch:
        patch.setattr(folder, "_make", None)  # nothing is made a second time
        again = read(root, cache)
    assert all(map(np.array_equal, first.train, again.train))
    assert first.record == again.record
    Image.fromarray(noise(99, 40, 60, 3)).save(root / "cats" / "new.png")
    assert len(read(root, cache).train[0]) + len(read(root, cache).held_out[0]) == 31
    (entry,) = [one for one in (cache / "data").iterdir() if len(np.load(one / "classes.npy")) == 31]
    (entry / "images.npy").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"is damaged .*; delete it"):
        read(root, cache)


def test_where_it_lies_and_how_files_are_called_changes_no_side(tmp_path: Path) -> None:
    one = read(photos(tmp_path / "a", classes=()), tmp_path / "cache")
    (tmp_path / "b").mkdir()
    for i, path in enumerate(sorted((tmp_path / "a").iterdir(), reverse=True)):
        (tmp_path / "b" / f"{i}.png").write_bytes(path.read_bytes())
    other = read(tmp_path / "b", tmp_path / "cache")
    assert {i.tobytes() for i in one.held_out[0]} == {i.tobytes() for i in other.held_out[0]}


def test_files_of_one_folder_have_no_classes(tmp_path: Path) -> None:
    data = read(photos(tmp_path / "p", 6, classes=()), tmp_path / "cache")
    assert (data.classes, data.names) == (0, ())


def test_an_epoch_and_its_slices(tmp_path: Path) -> None:
    """As of the digits: the same code, moved as the row says."""
    data = read(photos(tmp_path / "p"), tmp_path / "cache", shift=2)
    images, classes = data.rows(3, 5, 15, 0, 32)  # across the end of an epoch
    for start, stop in ((0, 8), (8, 32)):
        part, of = data.rows(3, 5, 15, start, stop)
        assert np.array_equal(part, images[start:stop]) and np.array_equal(of, classes[start:stop])


def test_damaged_files_are_named(tmp_path: Path) -> None:
    root = photos(tmp_path / "p", 8)
    (root / "cats" / "text.png").write_text("no picture")
    (root / "cats" / "empty.jpg").write_bytes(b"")
    whole = (root / "dogs" / "001.png").read_bytes()
    (root / "dogs" / "001.png").write_bytes(whole[: len(whole) // 2])
    (root / "dogs" / "zzz.png").write_bytes(b"GIF89a" + bytes(40))
    with pytest.raises(DataError) as told:
        read(root, tmp_path / "cache")
    said = str(told.value)
    assert "4 of 11 files cannot be read as PNG or JPEG: cats/empty.jpg (" in said and "\n" not in said
    assert "cats/text.png (no image)" in said and "and 1 more; move them elsewhere" in said
    assert not list((tmp_path / "cache" / "data").iterdir())


@pytest.mark.parametrize("place", [30, 60, 100, 200])
def test_a_flipped_byte_is_an_image_or_a_sentence(tmp_path: Path, place: int) -> None:
    root = photos(tmp_path / "p", 4)
    file = root / "dogs" / "001.png"
    damaged = bytearray(file.read_bytes())
    damaged[place] ^= 0xFF
    file.write_bytes(bytes(damaged))
    try:
        read(root, tmp_path / "cache")
    except DataError as error:
        assert "001.png" in str(error)


def test_too_many_pixels_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = photos(tmp_path / "p", 4)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="too many pixels"):
        read(root, tmp_path / "cache")
    with pytest.raises(DataError, match=r"lower data\.pixels"):
        monkeypatch.setattr(folder, "LARGEST", 1000)
        read(root, tmp_path / "cache")


def test_a_folder_without_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"there is no such folder; did you mean .*photos\?"):
        read(tmp_path / "fotos", tmp_path / "cache")
    (tmp_path / "one.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"one.png is a file; name the folder that it is in"):
        read(tmp_path / "one.png", tmp_path / "cache")
    with pytest.raises(DataError, match="holds 0 images and 0 other files"):
        read(tmp_path / "photos", tmp_path / "cache")
    for i in range(3):
        Image.fromarray(noise(1, 20, 20, 3)).save(tmp_path / "photos" / f"{i}.png")
    with pytest.raises(DataError, match="all 3 images are near-identical"):
        read(tmp_path / "photos", tmp_path / "cache")
    monkeypatch.setattr(pictures.importlib, "import_module", _missing)
    with pytest.raises(DataError, match=r"pip install 'danlu\[images\]'"):
        read(photos(tmp_path / "others", 3), tmp_path / "cache")


def _missing(name: str) -> None:
    raise ImportError(name)


def test_the_files_that_make_images_are_named(tmp_path: Path) -> None:
    photos(tmp_path / "p", 6)
    recording = Recording()
    with recording.during("make"):
        read(tmp_path / "p", tmp_path / "cache")
    ran = {name for name in recording.files if name.startswith("data/")}
    around = {"data/cache.py", "data/prepare.py", "data/dataset.py"}
    assert ran - around <= {f"data/{name}.py" for name in folder.MAKERS}
