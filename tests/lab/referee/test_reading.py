"""The number of a run out of each kind of log: written by the library where it is installed, else by the
format's definition."""

from __future__ import annotations

import json
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from danlu.files import event_files, offline_runs
from danlu.files.errors import FileError
from danlu.files.protobuf import fields
from danlu.lab.referee.plan import Reading
from danlu.lab.referee.reading import Unread, read


def number(tmp_path: Path, **said: Any) -> float:
    return read("loss", Reading(**said), tmp_path, tmp_path / "out", tmp_path)


# ---------------------------------------------------------------- what was printed


@pytest.mark.parametrize(("pick", "value"), [("first", 2.5), ("last", 0.5)])
def test_printed(tmp_path: Path, pick: str, value: float) -> None:
    (tmp_path / "stdout.txt").write_text("step 1 loss 2.5\nbar\rstep 2 loss 5e-1\nlosses 7\n")
    assert number(tmp_path, stdout=r"^step \d+ loss (\S+)$", pick=pick) == value
    with pytest.raises(Unread, match=r"loss is there twice: .* finds 2\.5 first and 0\.5 last"):
        number(tmp_path, stdout=r"^step \d+ loss (\S+)$")


def test_printed_on_stderr_not_finite_or_absent(tmp_path: Path) -> None:
    (tmp_path / "stderr.txt").write_bytes(b"\xff loss nan\n")
    assert math.isnan(number(tmp_path, stderr=r"loss (\S+)"))
    with pytest.raises(Unread, match="loss is not there"):
        number(tmp_path, stderr=r"accuracy (\S+)")
    with pytest.raises(Unread, match="finds 'lo', which is no number"):
        number(tmp_path, stderr=r"(lo)ss")


# ---------------------------------------------------------------- files


def test_json_pointer(tmp_path: Path) -> None:
    """RFC 6901: ~1 is a slash, ~0 a tilde, a number a place in a list."""
    (tmp_path / "r.json").write_text(json.dumps({"val/loss": {"a~b": [1, 2.5]}, "loss": "NaN", "none": None}))
    assert number(tmp_path, file="r.json#/val~1loss/a~0b/1") == 2.5
    assert math.isnan(number(tmp_path, file="r.json#/loss"))
    for absent in ("/none", "/nothing", "/val~1loss/a~0b/2"):
        with pytest.raises(Unread, match="is not there"):
            number(tmp_path, file=f"r.json#{absent}")
    with pytest.raises(Unread, match="is no number"):
        number(tmp_path, file="r.json#/val~1loss")


def test_lines_and_columns(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    rows = [{"step": 1, "val": {"loss": 3}}, {"step": 2}, {"step": 3, "val": {"loss": 1.5}}]
    torn = '{"step": 4, "val": {"lo'
    (tmp_path / "out" / "m.jsonl").write_text("\n".join([*map(json.dumps, rows), torn]))
    assert number(tmp_path, file="{out}/m.jsonl#/val/loss", pick="last") == 1.5
    (tmp_path / "log.csv").write_text('step,"val, loss"\n1,3\n2,\n3,1.5\n')
    assert number(tmp_path, file="log.csv#val, loss", pick="first") == 3
    (tmp_path / "log.tsv").write_text("loss\tstep\n0.25\t1\n")
    assert number(tmp_path, file="log.tsv#loss") == 0.25
    (tmp_path / "bad.jsonl").write_text("{\n{}\n")
    with pytest.raises(Unread, match="line 1: no JSON"):
        number(tmp_path, file="bad.jsonl#/a")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"file": "a.json#val"}, "a pointer begins with /"),
        ({"file": "a.txt#x"}, r"allowed is a file of \.json"),
        ({"file": "a.csv"}, "is not PLACE#WHAT"), ({"stdout": "("}, "is not a regular expression"),
        ({"stdout": "a"}, "has 0 groups; put one"), ({}, "none is given"),
        ({"stdout": "(a)", "wandb": "a#b"}, "stdout and wandb are given"),
        ({"tensorboard": "{o}#a"}, "allowed: {out}"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(said: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Reading(**said)  # type: ignore[arg-type]


# ---------------------------------------------------------------- protocol buffers


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    found = b""
    while value >= 128:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def field(number: int, value: bytes | int | float) -> bytes:
    """A field of a message: bytes, a whole number as varint, a float of 32 bits."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def test_fields() -> None:
    message = field(1, 300) + field(2, b"ab") + field(3, 0.5) + field(1, -1)
    assert fields(message) == [(1, 300), (2, b"ab"), (3, struct.pack("<f", 0.5)), (1, (1 << 64) - 1)]
    with pytest.raises(FileError, match="no protocol buffer"):
        fields(message[:-1])


# ---------------------------------------------------------------- TensorBoard


def test_the_checksum() -> None:
    """RFC 3720, appendix B.4; and the mask by its inverse."""
    assert event_files.crc32c(bytes(32)) == 0x8A9136AA
    assert event_files.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert event_files.crc32c(bytes(range(32))) == 0x46DD794E
    turned = (event_files.masked(b"abc") - 0xA282EAD8) & 0xFFFFFFFF
    assert (turned >> 17 | turned << 15) & 0xFFFFFFFF == event_files.crc32c(b"abc")


def framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    sums = [struct.pack("<I", event_files.masked(data)) for data in (length, record)]
    return length + sums[0] + record + sums[1]


def event(step: int, tag: bytes, value: bytes) -> bytes:
    return framed(field(2, step) + field(5, field(1, field(1, tag) + value)))


def test_event_files(tmp_path: Path) -> None:
    """Three ways to write a number, in two files, not in the order of steps; others' tags, a torn end."""
    tensors = [
        field(8, field(1, 1) + field(5, struct.pack("<f", 1.5))),
        field(8, field(1, 2) + field(4, struct.pack("<d", 0.125))),
    ]
    first = (
        event(3, b"loss", field(2, 0.5)) + event(1, b"loss", tensors[0]) + event(1, b"loss/a", field(2, 9.0))
    )
    second = framed(field(3, b"brain.Event:2")) + event(2, b"loss", tensors[1])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "events.out.tfevents.1").write_bytes(first)
    (tmp_path / "events.out.tfevents.2").write_bytes(second + event(4, b"loss", field(2, 7.0))[:-3])
    assert event_files.scalars(tmp_path, "loss") == [1.5, 0.125, 0.5]
    assert number(tmp_path, tensorboard=".#loss", pick="last") == 0.5
    damaged = bytearray(first)
    damaged[20] ^= 1
    (tmp_path / "run" / "events.out.tfevents.1").write_bytes(damaged)
    with pytest.raises(Unread, match="a checksum is wrong"):
        number(tmp_path, tensorboard=".#loss")


def test_event_files_of_the_library(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(5):
            writer.add_scalar("val/loss", 2.0 - step / 4, step)
    assert event_files.scalars(tmp_path, "val/loss") == [2.0, 1.75, 1.5, 1.25, 1.0]


# ---------------------------------------------------------------- Weights & Biases


def log(*records: bytes) -> bytes:
    """A LevelDB log after W&B's identity: parts of records, none across the border of two blocks."""
    data = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
    for record in records:
        begun = False
        while record or not begun:
            room = 32768 - len(data) % 32768
            if room < 7:
                data += bytes(room)
                continue
            part, record = record[: room - 7], record[room - 7 :]
            kind = (3 if record else 4) if begun else (2 if record else 1)
            data += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            begun = True
    return data


def item(key: str, value: float, nested: bool = False) -> bytes:
    names = b"".join(field(2, part.encode()) for part in key.split(".")) if nested else field(1, key.encode())
    return field(1, names + field(16, json.dumps(value).encode()))


def test_offline_runs(tmp_path: Path) -> None:
    """Over the border of blocks; names in parts; a summary alone; a run that was cut off."""
    history = [
        field(2, item("loss", 3 - i / 10) + item("val.loss", i, nested=True) + item("text" * 4000, 0))
        for i in range(20)
    ]
    whole = log(*history, field(3, item("best", 0.5)), field(3, item("best", 0.25)))
    (tmp_path / "offline-run").mkdir()
    file = tmp_path / "offline-run" / "run-abc.wandb"
    file.write_bytes(whole)
    assert len(whole) > 5 * 32768
    assert offline_runs.logged(tmp_path, "loss") == [3 - i / 10 for i in range(20)]
    assert number(tmp_path, wandb=".#val.loss", pick="last") == 19
    assert number(tmp_path, wandb=".#best") == 0.25
    file.write_bytes(whole[: len(whole) // 2])
    assert 5 < len(offline_runs.logged(tmp_path, "loss")) < 15
    file.write_bytes(whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:])
    with pytest.raises(Unread, match="a checksum is wrong"):
        number(tmp_path, wandb=".#loss")
    file.write_bytes(b"x" + whole)
    with pytest.raises(Unread, match="no log of Weights & Biases"):
        number(tmp_path, wandb=".#loss")


def test_a_summary_in_place_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "wandb-summary.json").write_text('{"val/loss": 1.5, "_step": 3}')
    assert number(tmp_path, wandb=".#val/loss") == 1.5


def test_offline_runs_of_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb: Any = pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    run = wandb.init(mode="offline", project="p", settings=wandb.Settings(silent=True))
    for step in range(5):
        run.log({"val/loss": 2 - step / 4, "d": {"acc": step}})
    run.finish()
    assert offline_runs.logged(tmp_path / "wandb", "val/loss") == [2.0, 1.75, 1.5, 1.25, 1.0]
    assert offline_runs.logged(tmp_path / "wandb", "d.acc") == [0, 1, 2, 3, 4]


# ---------------------------------------------------------------- what is missing


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """The path that was looked at; where the run wrote the file into its own folder, how to name it; the
    columns that there are; the place in a file that holds nothing."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("{}")
    (tmp_path / "log.csv").write_text("step,val_loss\n1,\n")
    for source, said in (
        ("none.json#/a", f"loss is not there: the run left no {tmp_path / 'none.json'}"),
        ("run.json#/a", "write '{out}/run.json#/a'"),
        ("{out}/run.json#/a", f"{tmp_path / 'out' / 'run.json'} is there, and holds nothing at '/a'"),
        ("log.csv#val_los", f"{tmp_path / 'log.csv'} has no column 'val_los'; did you mean val_loss?"),
        ("log.csv#x", "has no column 'x'; it has step, val_loss"),
        ("log.csv#val_loss", f"the column 'val_loss' of {tmp_path / 'log.csv'} is empty"),
    ):
        reading = Reading(file=source)
        with pytest.raises(Unread) as error:
            read("loss", reading, tmp_path, tmp_path / "out", tmp_path)
        assert said in str(error.value)
