"""A user's own images: PNG and JPEG files in a folder, cropped and resized once, then from the cache."""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.data import alike
from danlu.data.cache import entry_name, new_entry, version
from danlu.data.errors import DataError
from danlu.data.finite import by_group, splits
from danlu.data.images import Images
from danlu.data.pictures import picture, pillow, why
from danlu.data.walk import SourceFile, walk
from danlu.files.errors import FileError
from danlu.files.json import read_object, write_json
from danlu.files.paths import cache_folder, expanded
from danlu.files.read import open_file
from danlu.spec.errors import did_you_mean
from danlu.spec.finite import ImageFolder

ENDINGS = (".png", ".jpg", ".jpeg")
MAKERS = ("alike", "finite", "folder", "pictures", "split", "walk")  # of a cache entry
LARGEST = 2**31  # numbers of all images together: they are kept in memory
_NAMED = 3  # files that a sentence names
_RECORD = {"corpus": str, "classes": [str], "splits": {"train": dict, "held_out": dict}}


def prepare_folder(
    spec: ImageFolder, *, cache: Path | None = None, progress: Callable[[str], None] | None = None
) -> Images:
    """The images of ``spec``: made on first use, read from the cache afterwards. Raises ``DataError`` for a
    folder without images, for files that are no images, and where Pillow is missing."""
    progress = progress or (lambda line: None)
    root = expanded(spec.folder)
    if os.path.isfile(root):
        raise DataError(f"data.folder = {spec.folder} is a file; name the folder that it is in")
    if not os.path.isdir(root):
        beside = [str(root.with_name(entry.name)) for entry in _entries(root.parent)]
        raise DataError(
            f"data.folder = {spec.folder}: there is no such folder{did_you_mean(str(root), beside)}"
        )
    try:
        found = list(walk(root))
        files = [file for file in found if file.name.lower().endswith(ENDINGS)]
        if len(files) < 2:
            raise DataError(
                f"data.folder = {spec.folder} holds {len(files)} images and {len(found) - len(files):,} "
                "other files; allowed: two or more files that end in .png, .jpg or .jpeg"
            )
        parts = [str(root.resolve()), files, spec.pixels, spec.channels, spec.held_out, version("pillow")]
        entry = (cache or cache_folder()) / "data" / entry_name(spec.folder, MAKERS, parts)
        if not entry.is_dir():
            with new_entry(entry) as folder:
                _make(spec, root, files, len(found) - len(files), folder, progress)
        return _open(spec, entry)
    except OSError as error:
        raise DataError(f"cannot read {error.filename or root}: {error.strerror or error}") from error


def _entries(folder: Path) -> Sequence[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for _, entry in zip(range(1000), entries, strict=False)]
    except OSError:
        return []


def _make(
    spec: ImageFolder,
    root: Path,
    files: Sequence[SourceFile],
    ignored: int,
    folder: Path,
    progress: Callable[[str], None],
) -> None:
    """Writes images.npy, classes.npy, held_out.npy and record.json."""
    numbers = len(files) * spec.channels * spec.pixels**2
    if numbers > LARGEST:
        raise DataError(
            f"{len(files):,} images of {spec.pixels} × {spec.pixels} pixels are {numbers:,} numbers, more "
            f"than the {LARGEST:,} allowed; lower data.pixels"
        )
    progress(f"{spec.folder}: reading {len(files):,} images")
    images, thumbnails = _read(spec, root, files)
    names, classes = _classes([file.name for file in files])
    group = alike.groups(thumbnails)
    held_out = by_group(images, group, spec.held_out)
    if held_out is None:
        raise DataError(
            f"data.folder = {spec.folder}: all {len(files):,} images are near-identical, so none can be held "
            "out; name a folder of different ones"
        )
    made: dict[str, NDArray[Any]] = {"images": images, "classes": classes, "held_out": held_out}
    for name, array in made.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    sizes = np.bincount(group)
    record = {
        "corpus": spec.folder,
        "path": str(root.resolve()),
        "files": len(files),
        "ignored_files": ignored,
        "near_identical": int(sizes[sizes > 1].sum()),
        "classes": names,
        "tokenizer": None,
        "splits": splits(images, classes, held_out, "images"),
    }
    write_json(folder / "record.json", record)
    if ignored:
        progress(f"{spec.folder}: {ignored:,} files of other kinds were not read")
    if record["near_identical"]:
        progress(
            f"{spec.folder}: {record['near_identical']:,} images are near-identical to another; these are on "
            "one side of the split"
        )


def _read(
    spec: ImageFolder, root: Path, files: Sequence[SourceFile]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images uint8 [n, channels, pixels, pixels] and their grey thumbnails."""
    library, ops = pillow("PIL.Image"), pillow("PIL.ImageOps")
    size, mode = (spec.pixels, spec.pixels), "L" if spec.channels == 1 else "RGB"
    images = np.empty((len(files), spec.channels, spec.pixels, spec.pixels), np.uint8)
    thumbnails = np.empty((len(files), alike.HIGH, alike.WIDE), np.uint8)
    damaged: list[str] = []
    for place, file in enumerate(files):
        try:
            with open_file(root / file.name) as opened:
                image = ops.fit(picture(opened).convert(mode), size, method=library.Resampling.LANCZOS)
        except Exception as error:  # Pillow raises whatever a damaged file leads it to
            damaged.append(f"{file.name} ({why(error)})")
            continue
        images[place] = np.asarray(image).reshape(spec.pixels, spec.pixels, spec.channels).transpose(2, 0, 1)
        small = image.convert("L").resize((alike.WIDE, alike.HIGH), library.Resampling.BILINEAR)
        thumbnails[place] = np.asarray(small)
    if damaged:
        more = f" and {len(damaged) - _NAMED:,} more" if len(damaged) > _NAMED else ""
        raise DataError(
            f"data.folder = {spec.folder}: {len(damaged):,} of {len(files):,} files cannot be read as PNG or "
            f"JPEG: {', '.join(damaged[:_NAMED])}{more}; move them elsewhere"
        )
    return images, thumbnails


def _classes(names: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The subfolders' names, where every file is in one, and the class of each file."""
    first = [name.split("/")[0] if "/" in name else "" for name in names]
    known = sorted(Tally(first))
    if "" in known or len(known) < 2:
        return [], np.zeros(len(names), np.int64)
    return known, np.array([known.index(name) for name in first], np.int64)


def _open(spec: ImageFolder, entry: Path) -> Images:
    try:
        record = read_object(entry / "record.json", _RECORD)
        images, classes, held_out = (
            np.load(entry / f"{name}.npy", allow_pickle=False) for name in ("images", "classes", "held_out")
        )
    except (FileError, ValueError, EOFError) as error:
        raise DataError(f"{entry} is damaged ({error}); delete it, and it is prepared again") from error
    train, out = (
        ((images[side] / np.float32(255)).astype(np.float32), classes[side]) for side in (~held_out, held_out)
    )
    return Images(spec, train, out, record, tuple(record["classes"]))
