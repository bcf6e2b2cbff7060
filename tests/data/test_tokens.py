import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.data import DataError, open_tokens
from danlu.data.tokens import HEADER, TokenWriter
from danlu.files.errors import FileError


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 999)), max_size=5), st.sampled_from([1000, 1 << 16, (1 << 16) + 1]))
def test_what_is_written_in_chunks_is_read(tmp_path_factory, chunks, vocabulary):
    path = tmp_path_factory.mktemp("tokens") / "x.tokens"
    with TokenWriter(path, vocabulary) as writer:
        for chunk in chunks:
            writer.write(np.array(chunk, np.int64))
    tokens = open_tokens(path, verify=True)
    assert tokens.ids.tolist() == [i for chunk in chunks for i in chunk]
    assert len(tokens) == writer.count == len(tokens.ids)
    assert tokens.hash == writer.hash
    assert tokens.vocabulary == vocabulary
    assert tokens.ids.itemsize == (2 if vocabulary <= 1 << 16 else 4)


def test_ids_are_mapped_and_cannot_be_changed(write_tokens):
    with pytest.raises(ValueError, match="read-only"):
        write_tokens([1, 2, 3]).ids[0] = 5


def test_hash_depends_on_ids_and_vocabulary(write_tokens):
    first = write_tokens([1, 2, 3], name="a").hash
    assert write_tokens([1, 2, 3], name="b").hash == first
    assert write_tokens([1, 2, 4], name="c").hash != first
    assert write_tokens([1, 2, 3], vocabulary=1001, name="d").hash != first


@pytest.mark.parametrize("size", [0, 10, HEADER - 1, HEADER, HEADER + 1, HEADER + 199])
def test_a_truncated_file_is_named_with_where_it_ends(write_tokens, size):
    path = write_tokens(range(100)).path
    content = path.read_bytes()
    path.write_bytes(content[:size])
    with pytest.raises(DataError, match=rf"some\.tokens ends at byte {size}\b.*cut short") as error:
        open_tokens(path)
    if size >= HEADER:
        assert f"end at byte {HEADER + 200}" in str(error.value)


def test_a_longer_file_is_refused(write_tokens):
    path = write_tokens(range(100)).path
    path.write_bytes(path.read_bytes() + b"\0\0")
    with pytest.raises(DataError, match=rf"ends at byte {HEADER + 202}.*end at byte {HEADER + 200}.*longer"):
        open_tokens(path)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, HEADER + 199), change=st.integers(1, 255))
def test_any_altered_byte_is_an_error_that_names_the_file(tmp_path_factory, place, change):
    path = tmp_path_factory.mktemp("tokens") / "x.tokens"
    with TokenWriter(path, 1000) as writer:
        writer.write(np.arange(100))
    content = bytearray(path.read_bytes())
    content[place] ^= change
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.tokens"):
        open_tokens(path)


def test_an_id_outside_the_vocabulary_is_named_with_its_position(write_tokens):
    path = write_tokens(range(100)).path
    content = bytearray(path.read_bytes())
    content[HEADER + 2 * 42 : HEADER + 2 * 43] = (1234).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=rf"some\.tokens holds token 1234 at position 42 \(byte {HEADER + 84}\)"
    ):
        open_tokens(path)


def test_large_files_are_hashed_only_on_demand(write_tokens, monkeypatch):
    path = write_tokens(range(100)).path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr("danlu.data.tokens._VERIFY_BELOW", 0)
    assert len(open_tokens(path)) == 100
    with pytest.raises(DataError, match="altered after it was written"):
        open_tokens(path, verify=True)


def test_the_writer_refuses_ids_outside_the_vocabulary(tmp_path):
    for wrong in (10, -1):
        with (
            pytest.raises(DataError, match="outside its vocabulary of 10"),
            TokenWriter(tmp_path / "x", 10) as writer,
        ):
            writer.write(np.array([3, wrong]))


def test_a_file_whose_writer_failed_is_refused(tmp_path):
    with pytest.raises(RuntimeError), TokenWriter(tmp_path / "x.tokens", 10) as writer:
        writer.write(np.arange(10))
        raise RuntimeError
    with pytest.raises(DataError, match=r"x\.tokens is not a token file"):
        open_tokens(tmp_path / "x.tokens")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileError, match=r"missing\.tokens is missing"):
        open_tokens(tmp_path / "missing.tokens")
    (tmp_path / "text").write_bytes(b"to be or not to be, " * 10)
    with pytest.raises(DataError, match=r"text is not a token file.*offset 0"):
        open_tokens(tmp_path / "text")
