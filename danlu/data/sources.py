"""Documents out of files, one kind of file at a time, streaming.

A document is its name and its text in pieces of some 256 KiB, so that no file need fit in memory.
Pieces end at line ends; only a line longer than a piece is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from json import JSONDecodeError
from pathlib import Path
from typing import Any, NamedTuple

from danlu.data.errors import DataError
from danlu.files.errors import FileError
from danlu.files.json import parse, read_object
from danlu.files.read import LIMIT, MIB, open_file
from danlu.spec.errors import did_you_mean

PIECE = 1 << 18  # bytes
STATE = {"_data_files": [{"filename": str}]}  # what must be in a saved dataset's state.json


class Document(NamedTuple):
    """``name``: the file and the place in it. ``pieces``: the text, read when iterated, once."""

    name: str
    pieces: Iterable[str]


Reader = Callable[[Path, str], Iterator[Document]]


def text_file(path: Path, field: str) -> Iterator[Document]:
    """A file of UTF-8 text is one document, exactly as it is: line ends are kept."""
    yield Document(str(path), _read_text(path))


def _read_text(path: Path) -> Iterator[str]:
    with open_file(path) as file:
        offset, rest = 0, b""
        while block := file.read(PIECE):
            block = rest + block
            end = block.rfind(b"\n") + 1 or _character_end(block)
            yield _decode(block[:end], path, offset)
            offset, rest = offset + end, block[end:]
        if rest:
            yield _decode(rest, path, offset)


def _character_end(block: bytes) -> int:
    """The end of the last UTF-8 character in ``block`` that is complete."""
    for back in range(1, min(4, len(block)) + 1):
        byte = block[-back]
        if byte & 0xC0 != 0x80:  # the first byte of a character: has it all its bytes?
            length = 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
            return len(block) - back if length > back else len(block)
    return len(block)  # not UTF-8: decoding will say where


def _decode(block: bytes, path: Path, offset: int, place: str = "") -> str:
    if (zero := block.find(0)) >= 0:
        raise DataError(f"{path} has a zero at byte {offset + zero}{place}, so it is no text; name another")
    try:
        return block.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 at byte {offset + error.start}{place} "
            f"(0x{block[error.start]:02x}): convert it, for example with iconv"
        ) from None


def json_lines(path: Path, field: str) -> Iterator[Document]:
    """Every line of a JSON Lines file is a document: the string in its ``field``."""
    with open_file(path) as file:
        offset = 0
        for number, line in enumerate(iter(lambda: file.readline(LIMIT), b""), 1):
            if len(line) == LIMIT and not line.endswith(b"\n"):
                raise DataError(f"{path}, line {number} is longer than {LIMIT / MIB:g} MiB; cut it up")
            yield Document(f"{path}, line {number}", _read_line(line, path, number, offset, field))
            offset += len(line)


def _read_line(line: bytes, path: Path, number: int, offset: int, field: str) -> Iterator[str]:
    # A generator, so that lines on the other side of the split are not even parsed.
    text = _decode(line, path, offset, f", in line {number}")
    if not text.strip():
        return
    try:
        record = parse(text)
    except ValueError as error:
        place = f", column {error.colno}: {error.msg}" if isinstance(error, JSONDecodeError) else f": {error}"
        raise DataError(f"{path}, line {number} is not JSON{place}") from None
    if not isinstance(record, dict):
        raise DataError(f"{path}, line {number} is {_kind(record)}, not a JSON object with a field {field!r}")
    if field not in record:
        raise DataError(_no_field(f"{path}, line {number}", "field", field, record))
    yield _text(record[field], f"{path}, line {number}", field)


def parquet_file(path: Path, field: str) -> Iterator[Document]:
    """Every row of a Parquet file is a document: the string in column ``field``."""
    arrow, parquet = _pyarrow(path), _pyarrow(path, "pyarrow.parquet")
    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            _check_column(path, file.schema_arrow, field)
            batches = file.iter_batches(batch_size=1024, columns=[field])
            yield from _rows(path, batches, 0, field)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {_first_line(error)}") from error


def arrow_folder(path: Path, field: str) -> Iterator[Document]:
    """Every row of a dataset that Hugging Face ``datasets`` saved to disk is a document.

    The folder's ``state.json`` lists its Arrow files, which are read as they are.
    """
    arrow = _pyarrow(path)
    row = 0
    for name in _data_files(path):
        file = path / name
        open_file(file).close()  # so that it is a file
        try:
            with arrow.memory_map(str(file)) as source, arrow.ipc.open_stream(source) as batches:
                _check_column(file, batches.schema, field)
                for batch in batches:
                    yield from _rows(path, [batch.select([field])], row, field)
                    row += batch.num_rows
        except (arrow.ArrowException, OSError) as error:
            raise DataError(f"{file} cannot be read as an Arrow stream: {_first_line(error)}") from error


def _data_files(path: Path) -> list[str]:
    state = path / "state.json"
    try:
        names = [entry["filename"] for entry in read_object(state, STATE)["_data_files"]]
    except FileError as error:
        raise DataError(f"{error}: it does not list the data files of a saved dataset") from None
    for name in names:
        # The folder may come from anybody; it has no business with files elsewhere.
        if Path(name).name != name:
            raise DataError(f"{state} lists {name!r}, which is outside the folder")
    return names


def _rows(path: Path, batches: Iterable[Any], row: int, field: str) -> Iterator[Document]:
    for batch in batches:
        try:
            values = batch.column(0).to_pylist()
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, after row {row}: {field!r} is not UTF-8 ({error.reason})") from None
        for value in values:
            name = f"{path}, row {row}"
            yield Document(name, (_text(value, name, field),))
            row += 1


def _check_column(path: Path, schema: Any, field: str) -> None:
    if field not in schema.names:
        raise DataError(_no_field(str(path), "column", field, schema.names))


def _text(value: object, place: str, field: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{place}: {field!r} is {_kind(value)}, not a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: {field!r} holds half a surrogate pair at character {error.start}, which is not text"
        ) from None
    return value


def _no_field(place: str, what: str, field: str, names: Iterable[str]) -> str:
    names = list(names)
    listed = ", ".join(map(repr, names[:12])) + (", …" if len(names) > 12 else "")
    only = f"only {listed}" if names else "nor any other"
    meant = did_you_mean(field, names)
    return f"{place} has no {what} {field!r}, {only}; data.text names the one to read{meant}"


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(
        type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _pyarrow(path: Path, module: str = "pyarrow") -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise DataError(f"{path} needs pyarrow: pip install 'danlu[data]'") from None


READERS: dict[str, Reader] = {
    ".txt": text_file,
    ".md": text_file,
    ".py": text_file,
    ".jsonl": json_lines,
    ".parquet": parquet_file,
}
