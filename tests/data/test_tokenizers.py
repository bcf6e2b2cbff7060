import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.data import DataError, load_tokenizer
from danlu.data.tokenizers import Bytes, Characters, Pretrained, build_tokenizer
from danlu.files.errors import DanluError, FileError

TEXT = ["the cat sat on the mat; the dog sat on the log\n" * 20, "naïve 丹炉 😀\r\n\tthat is that\n"]


def trained(size=280):
    pytest.importorskip("tokenizers")
    return Pretrained.train(TEXT, size, f"bpe:{size}")


@pytest.fixture(scope="module")
def bpe():
    return trained()


texts = st.text(st.characters(codec="utf-8"), max_size=60)


@settings(max_examples=200, deadline=None)
@given(text=texts)
def test_bytes_round_trip(text):
    ids = Bytes().encode(text)
    assert ids.dtype == np.int64
    assert ids.tolist() == list(text.encode())
    assert Bytes().decode(ids) == text


@settings(max_examples=100, deadline=None)
@given(text=texts)
def test_bpe_round_trips_text_that_it_has_never_seen(bpe, text):
    ids = bpe.encode(text)
    assert bpe.decode(ids) == text
    assert bpe.separator not in ids
    assert bpe.token_bytes[ids].sum() == len(text.encode())


@settings(max_examples=100, deadline=None)
@given(known=texts, text=texts)
def test_characters_round_trip_but_for_the_unknown(known, text):
    tokenizer = Characters.train([known[:20], known[20:]])
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == "".join(c if c in known else "\ufffd" for c in text)
    assert (ids == tokenizer.unknown).sum() == sum(c not in known for c in text)
    assert tokenizer.token_bytes[ids].sum() == sum(len(c.encode()) for c in text if c in known)
    assert tokenizer.vocabulary == len(set(known)) + 2


def each(bpe):
    return [Bytes(), Characters.train(TEXT), bpe]


def test_separators_stand_for_nothing(bpe):
    for tokenizer in each(bpe):
        between = [
            tokenizer.separator,
            *tokenizer.encode("that"),
            tokenizer.separator,
            *tokenizer.encode(" is"),
        ]
        assert tokenizer.decode(between) == "that is"
        assert tokenizer.token_bytes[tokenizer.separator] == 0
        assert tokenizer.token_bytes.shape == (tokenizer.vocabulary,)
        assert tokenizer.token_bytes.dtype == np.int32


def test_saved_and_loaded_they_are_the_same(bpe, tmp_path):
    for tokenizer in each(bpe):
        tokenizer.save(tmp_path / "t.json")
        loaded = load_tokenizer(tmp_path / "t.json")
        assert type(loaded) is type(tokenizer) and loaded.name == tokenizer.name
        assert (loaded.vocabulary, loaded.separator) == (tokenizer.vocabulary, tokenizer.separator)
        np.testing.assert_array_equal(loaded.encode(TEXT[1]), tokenizer.encode(TEXT[1]))
        np.testing.assert_array_equal(loaded.token_bytes, tokenizer.token_bytes)


def test_ids_outside_the_vocabulary_are_named(bpe):
    for tokenizer in each(bpe):
        with pytest.raises(
            DataError, match=f"token {tokenizer.vocabulary} at position 1 .*of {tokenizer.vocabulary}"
        ):
            tokenizer.decode([0, tokenizer.vocabulary])


def test_bpe_has_the_size_asked_for_and_learns_words(bpe):
    assert bpe.vocabulary == 280
    assert len(bpe.encode(" the")) == 1 < len(Bytes().encode(" the"))


def test_bpe_is_the_same_each_time(tmp_path):
    for name in ("a", "b"):
        trained().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_smallest_bpe_is_bytes():
    tokenizer = trained(257)
    assert tokenizer.vocabulary == 257
    assert len(tokenizer.encode("the 丹")) == len("the 丹".encode())


def test_a_tokenizer_json_of_others(bpe, tmp_path):
    library = pytest.importorskip("tokenizers")
    raw = bpe._tokenizer
    other = library.Tokenizer.from_str(raw.to_str())
    other.add_special_tokens(["<|endoftext|>"])
    other.enable_truncation(4)
    other.enable_padding(length=4)
    other.save(str(tmp_path / "tokenizer.json"))
    tokenizer = build_tokenizer(str(tmp_path / "tokenizer.json"), lambda: ())
    assert tokenizer.separator == other.token_to_id("<|endoftext|>")
    assert tokenizer.vocabulary == other.get_vocab_size()
    # Neither cut, nor filled up, nor does text that spells the separator become one.
    text = "the cat sat on the mat <|endoftext|> x"
    ids = tokenizer.encode(text)
    assert tokenizer.separator not in ids
    assert tokenizer.decode(ids) == text


def test_the_unknown_token_of_others_is_counted_as_such(tmp_path):
    library = pytest.importorskip("tokenizers")
    words = library.Tokenizer(library.models.WordLevel({"[UNK]": 0, "cat": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = library.pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "t.json"))
    tokenizer = load_tokenizer(tmp_path / "t.json")
    assert tokenizer.unknown == 0
    assert tokenizer.encode("cat dog").tolist() == [1, 0]
    assert tokenizer.separator == 2 and tokenizer.vocabulary == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{\n oops", r"bad\.json is not JSON: .*line 2"),
        (b"[]", r"bad\.json is not a tokenizer"),
        (b'{"danlu": 1, "kind": "runes"}', r"bad\.json is not a tokenizer"),
        (b'{"model": {"type": "Nonsense"}}', r"bad\.json is not a tokenizer\.json"),
        (b'{"a": "\xff"}', r"bad\.json, line 1: not text in UTF-8"),
        (b"[" * 1000, r"bad\.json is not JSON: nested deeper than 100"),
        (b'{"danlu": 1, "kind": "characters", "characters": "a\\ud800"}', r"half a surrogate pair"),
        (b'{"danlu": 1, "kind": "characters", "characters": null}', r"bad\.json is not a tokenizer"),
        (
            b'{"danlu": 1, "kind": "tokenizers", "name": "x", "tokenizer": {}}',
            r"bad\.json is not a tokenizer",
        ),
        (
            b'{"model": {"type": "WordLevel", "vocab": {"a": 4000000000}, "unk_token": "a"}}',
            r"has the id 4,000,000,000; allowed: ids below 16,777,216",
        ),
    ],
)
def test_what_is_no_tokenizer_is_named(tmp_path, content, message):
    pytest.importorskip("tokenizers")
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(DanluError, match=message):
        load_tokenizer(tmp_path / "bad.json")


def test_a_missing_file_or_package_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileError, match=r"none\.json is missing"):
        load_tokenizer(tmp_path / "none.json")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(
        DataError, match=r"'bpe:300' needs the package tokenizers: pip install 'danlu\[bpe\]'"
    ):
        build_tokenizer("bpe:300", lambda: TEXT)


def test_saved_json_is_readable(tmp_path):
    Characters("ba").save(tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["characters"] == "ab"


def test_dropout_of_merges_is_off_and_said_once(tmp_path):
    """A text has the same ids every time; what is saved no longer has it."""
    pytest.importorskip("tokenizers")
    content = json.loads(trained()._tokenizer.to_str())
    content["model"]["dropout"] = 0.5
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    random = load_tokenizer(path)
    assert random.notes == (f"{path}: dropout = 0.5 is turned off, so that a text always has the same ids",)
    assert all((random.encode(TEXT[0]) == trained().encode(TEXT[0])).all() for _ in range(20))
    random.save(tmp_path / "saved.json")
    assert load_tokenizer(tmp_path / "saved.json").notes == trained().notes == ()


def test_ids_at_which_a_text_ends_are_kept(tmp_path):
    tokenizer = trained()
    assert tokenizer.ends == frozenset()
    tokenizer.ends = frozenset({5, 3})
    tokenizer.save(tmp_path / "saved.json")
    assert load_tokenizer(tmp_path / "saved.json").ends == {3, 5}
    saved = json.loads((tmp_path / "saved.json").read_text())
    (tmp_path / "saved.json").write_text(json.dumps(saved | {"ends": "all"}))
    with pytest.raises(DataError, match="ends = 'all' is not a list of ids"):
        load_tokenizer(tmp_path / "saved.json")
