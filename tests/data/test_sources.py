import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.data import DataError, sources
from danlu.data.sources import arrow_folder, json_lines, parquet_file, text_file
from danlu.files.errors import FileError


def read(documents):
    return ["".join(document.pieces) for document in documents]


@settings(max_examples=100, deadline=None)
@given(
    text=st.text(
        st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from("\n\r丹"), max_size=80
    ),
    piece=st.integers(4, 20),
)
def test_text_is_one_document_exactly_as_it_is_however_it_is_pieced(tmp_path_factory, text, piece):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "PIECE", piece)
        (document,) = text_file(path, "")
        pieces = list(document.pieces)
    assert "".join(pieces) == text
    assert document.name == str(path)
    assert all(pieces)
    for before in pieces[:-1]:  # cut within a line only where the line is longer than a piece
        assert before.endswith("\n") or len(before.split("\n")[-1].encode()) > piece - 4


@pytest.mark.parametrize("before", [0, 5, sources.PIECE - 1, sources.PIECE + 3])
def test_zeros_are_no_text(tmp_path, before):
    path = tmp_path / "image.txt"
    path.write_bytes(b"a" * before + bytes(100))
    with pytest.raises(DataError, match=rf"image\.txt has a zero at byte {before}, so it is no text; name a"):
        read(text_file(path, ""))


@pytest.mark.parametrize("before", [0, 5, sources.PIECE - 1, sources.PIECE + 3])
def test_text_that_is_not_utf8_is_named_with_the_byte(tmp_path, before):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"a" * before + b"\xe9t\xe9\n")
    with pytest.raises(DataError, match=rf"latin\.txt is not UTF-8 at byte {before} \(0xe9\)"):
        read(text_file(path, ""))


def test_text_that_ends_within_a_character_is_named_with_the_byte(tmp_path):
    path = tmp_path / "cut.txt"
    path.write_bytes("abc丹".encode()[:-1])
    with pytest.raises(DataError, match=r"cut\.txt is not UTF-8 at byte 3"):
        read(text_file(path, ""))


def test_a_missing_file_is_named(tmp_path):
    for reader in (text_file, json_lines):
        with pytest.raises(FileError, match=r"gone is missing"):
            read(reader(tmp_path / "gone", "text"))


def test_each_json_line_is_a_document(tmp_path):
    path = tmp_path / "a.jsonl"
    texts = ["one\ntwo", "", "丹炉 \u2028 😀"]
    path.write_text("".join(json.dumps({"id": i, "body": t}) + "\n" for i, t in enumerate(texts)) + "\n")
    documents = [(name, "".join(pieces)) for name, pieces in json_lines(path, "body")]
    assert [text for _, text in documents] == [*texts, ""]
    assert documents[1][0] == f"{path}, line 2"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "a"', r"line 2 is not JSON, column \d+"),
        (b"[1]", r"line 2 is a list, not a JSON object"),
        (
            b'{"txet": "a", "id": 1}',
            r"line 2 has no field 'text', only 'txet', 'id'; data.text .*; did you mean txet\?",
        ),
        (b'{"text": null}', r"line 2: 'text' is null, not a string"),
        (b'{"text": 3}', r"line 2: 'text' is a number"),
        (b'{"text": "a\\ud800"}', r"line 2: 'text' holds half a surrogate pair at character 1"),
        (b'{"text": "\xff"}', r"is not UTF-8 at byte 27, in line 2"),
        (b"[" * 100_000, r"line 2 is not JSON: nested deeper than 100"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path, line, message):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"text": "good"}\n' + line + b'\n{"text": "good"}\n')
    with pytest.raises(DataError, match=r"bad\.jsonl.*" + message) as error:
        read(json_lines(path, "text"))
    assert "\n" not in str(error.value)


def test_each_parquet_row_is_a_document(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    texts = [f"document {i} 丹" for i in range(3000)]
    parquet.write_table(arrow.table({"id": list(range(3000)), "body": texts}), path, row_group_size=700)
    assert read(parquet_file(path, "body")) == texts
    with pytest.raises(DataError, match=r"a\.parquet has no column 'text', only 'id', 'body'"):
        read(parquet_file(path, "text"))
    with pytest.raises(DataError, match=r"a\.parquet, row 0: 'id' is a number"):
        read(parquet_file(path, "id"))


def test_a_damaged_parquet_file_is_named(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"text": ["x" * 1000, None]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet, row 1: 'text' is null"):
        read(parquet_file(tmp_path / "a.parquet", "text"))
    content = (tmp_path / "a.parquet").read_bytes()
    for size in (0, 3, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.parquet").write_bytes(content[:size])
        with pytest.raises(DataError, match=r"cut\.parquet cannot be read as Parquet"):
            read(parquet_file(tmp_path / "cut.parquet", "text"))


def test_a_saved_dataset_is_read_as_datasets_reads_it(tmp_path):
    datasets = pytest.importorskip("datasets")
    saved = datasets.Dataset.from_dict({"id": [1, 2, 3, 4, 5], "text": list("abcde")})
    saved.select([3, 0, 2]).save_to_disk(str(tmp_path / "some"), num_shards=2)
    expected = datasets.load_from_disk(str(tmp_path / "some"))["text"]
    assert read(arrow_folder(tmp_path / "some", "text")) == list(expected) == ["d", "a", "c"]
    with pytest.raises(DataError, match=r"\.arrow has no column 'body', only 'id', 'text'"):
        read(arrow_folder(tmp_path / "some", "body"))


def save_arrow(folder, texts, state=None):
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"text": texts})
    with (
        arrow.OSFile(str(folder / "data.arrow"), "wb") as file,
        arrow.ipc.new_stream(file, table.schema) as out,
    ):
        out.write_table(table)
    state = state or {"_data_files": [{"filename": "data.arrow"}]}
    (folder / "state.json").write_text(json.dumps(state))


def test_a_damaged_saved_dataset_is_named(tmp_path):
    save_arrow(tmp_path, ["a", "b"])
    assert read(arrow_folder(tmp_path, "text")) == ["a", "b"]
    (tmp_path / "data.arrow").write_bytes(b"nonsense" * 10)
    with pytest.raises(DataError, match=r"data\.arrow cannot be read"):
        read(arrow_folder(tmp_path, "text"))
    for state in ({"_data_files": [{"filename": "../data.arrow"}]}, {"files": []}):
        save_arrow(tmp_path, ["a"], state)
        with pytest.raises(DataError, match=r"state\.json"):
            read(arrow_folder(tmp_path, "text"))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for reader in (parquet_file, arrow_folder):
        with pytest.raises(DataError, match=r"some needs pyarrow: pip install 'danlu\[data\]'"):
            read(reader(tmp_path / "some", "text"))
