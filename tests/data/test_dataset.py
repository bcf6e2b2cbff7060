import hashlib
import json
import os
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import danlu.data.cache
import danlu.data.dataset
from danlu.code import UNSURE, Code, Recording, loaded
from danlu.data import Batches, DataError, held_out_windows, load_tokenizer, prepare
from danlu.data.leaks import LONG, normalised_lines
from danlu.files.errors import FileError
from danlu.spec import Text

LICENCE = "Licensed under the terms that everybody copies, 2024.\n"


@pytest.fixture
def folder(tmp_path):
    """Twenty documents, one line of which is in all of them."""
    root = tmp_path / "texts"
    root.mkdir()
    for i in range(20):
        words = random.Random(i).choices(["cat", "dog", "sits", "on", "the", "mat", "丹", "\n"], k=200)
        (root / f"{i:02}.txt").write_text(
            f"document {i}\n{LICENCE.replace('2024', str(i))}{' '.join(words)}\n"
        )
    return root


@pytest.fixture
def ready(tmp_path, folder):
    def prepare_it(progress=None, **fields):
        spec = Text(**{"corpus": str(folder), "context": 8, **fields})
        return prepare(spec, cache=tmp_path / "cache", progress=progress)

    return prepare_it


def documents(tokens, tokenizer):
    parts = np.split(tokens.ids, np.flatnonzero(tokens.ids == tokenizer.separator))
    assert len(parts[0]) == 0  # a separator begins the stream
    return [tokenizer.decode(part) for part in parts[1:]]


@pytest.mark.parametrize("tokenizer", ["bytes", "characters", "bpe:300"])
def test_text_comes_back_whole_on_either_side(ready, folder, tokenizer):
    if tokenizer.startswith("bpe"):
        pytest.importorskip("tokenizers")
    data = ready(tokenizer=tokenizer)
    texts = [path.read_text() for path in sorted(folder.iterdir())]
    held_out, train = documents(data.held_out, data.tokenizer), documents(data.train, data.tokenizer)
    assert held_out == [text for text in texts if text in held_out]
    # The licence line, on both sides but for its digits, is gone from the training side only.
    expected = ["".join(line for line in text.splitlines(True) if "Licensed" not in line) for text in texts]
    assert train == [short for text, short in zip(texts, expected, strict=True) if text not in held_out]
    assert data.record["removed_lines"] == len(train)
    assert data.train.vocabulary == data.held_out.vocabulary == data.tokenizer.vocabulary


def test_the_record_says_what_was_read(ready, folder):
    (folder / "empty.md").touch()
    (folder / "table.csv").write_text("1,2")
    lines = []
    data = ready(progress=lines.append)
    record = data.record
    assert json.loads(json.dumps(record)) == record
    assert (record["path"], record["version"]) == (str(folder.resolve()), None)
    assert (record["files"], record["ignored_files"], record["empty_documents"]) == (21, 1, 1)
    for name, tokens in (("train", data.train), ("held_out", data.held_out)):
        split = record["splits"][name]
        texts = documents(tokens, data.tokenizer)
        joined = b"".join(b"\xff" + text.encode() for text in texts)
        assert split["text_sha256"] == hashlib.sha256(joined).hexdigest()
        assert split["documents"] == len(texts)
        assert split["bytes"] == split["token_bytes"] == len(joined) - len(texts)
        assert split["tokens"] == len(tokens)
        assert split["tokens_sha256"] == tokens.hash
        assert split["unknown"] == 0
    said = "\n".join(lines)
    assert "1 of 21 documents are empty" in said and "1 files of other kinds" in said
    assert f"{record['removed_lines']} training lines also occur" in said


def test_a_second_time_nothing_is_read(ready, monkeypatch):
    first = ready()
    monkeypatch.setattr(danlu.data.dataset, "split_documents", lambda *_: pytest.fail("read again"))
    again = ready(context=16, documents="separate")  # neither changes the tokens
    assert again.folder == first.folder and again.record == first.record
    np.testing.assert_array_equal(again.train.ids, first.train.ids)


def test_what_changes_the_tokens_changes_the_entry(ready, folder, tmp_path):
    pytest.importorskip("tokenizers")
    tokenizer = tmp_path / "tokenizer.json"
    load_tokenizer(ready().folder / "tokenizer.json").save(tokenizer)
    entries = [ready(), ready(tokenizer="characters"), ready(held_out=0.2), ready(tokenizer="bpe:300")]
    entries += [ready(tokenizer=str(tokenizer)), ready(text="body")]
    os.utime(folder / "03.txt", ns=(0, 0))
    entries.append(ready())
    (folder / "20.txt").write_text("one more")
    entries.append(ready())
    assert len({data.folder for data in entries}) == len(entries)


def test_other_code_makes_another_entry(ready, monkeypatch):
    first, files = ready(), loaded().files
    for name, again in (("data/batches.py", True), ("data/leaks.py", False)):
        monkeypatch.setattr(danlu.data.cache, "loaded", lambda name=name: Code({**files, name: "another"}))
        assert (ready().folder == first.folder) is again
    unsure = Code({**files, "data/leaks.py": UNSURE})  # it may have been edited since it was imported
    monkeypatch.setattr(danlu.data.cache, "loaded", lambda: unsure)
    assert ready().folder != ready().folder


@pytest.mark.parametrize("words", ["bytes", "characters", "bpe:300", "synthetic:reverse-4"])
def test_the_files_that_make_tokens_are_named(ready, words):
    if words.startswith("bpe"):
        pytest.importorskip("tokenizers")
    recording = Recording()
    with recording.during("make"):
        ready(**({"corpus": words} if ":" in words and "bpe" not in words else {"tokenizer": words}))
    ran = {name for name in recording.files if name.startswith("data/")}
    around = {"data/cache.py", "data/prepare.py", "data/errors.py"}
    assert ran - around <= {f"data/{name}.py" for name in danlu.data.dataset.MAKERS}


@pytest.mark.slow
def test_the_same_text_gives_the_same_tokens_everywhere(ready, tmp_path):
    first = ready()
    program = """
import sys
from danlu.data import prepare
from danlu.spec import Text
data = prepare(Text(corpus=sys.argv[1], context=8))
print(data.train.hash, data.held_out.hash)
assert "torch" not in sys.modules
"""
    for seed in ("1", "2"):  # of Python's own hashes
        environment = os.environ | {"PYTHONHASHSEED": seed, "DANLU_CACHE": str(tmp_path / seed)}
        command = [sys.executable, "-c", program, first.record["path"]]
        printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        assert printed.split() == [first.train.hash, first.held_out.hash]


def test_no_long_line_of_the_library_is_on_both_sides(tmp_path):
    data = prepare(Text(corpus="python-stdlib"), cache=tmp_path)
    assert data.record["version"] and data.record["splits"]["train"]["bytes"] > 5e6
    sides = []
    for tokens in (data.train, data.held_out):
        lines = normalised_lines(data.tokenizer.decode(tokens.ids))
        sides.append({line for line in lines if len(line) >= LONG})
    assert sides[0] and sides[1] and not sides[0] & sides[1]


def test_characters_unseen_in_training_are_counted(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("abcdefgh\n" * 100 + "ZZ丹\n" * 12)
    lines = []
    data = prepare(
        Text(corpus=str(text), tokenizer="characters", context=8), cache=tmp_path, progress=lines.append
    )
    assert data.tokenizer.vocabulary == len("abcdefgh\n") + 2
    assert data.record["splits"]["train"]["unknown"] == 0
    ids = data.held_out.ids
    unknown = data.record["splits"]["held_out"]["unknown"]
    assert unknown == (ids == data.tokenizer.unknown).sum() > 0
    assert any(f"{unknown} tokens of the held_out text are unknown" in line for line in lines)


def test_batches_and_windows_read_what_was_prepared(ready):
    data = ready()
    inputs, _ = Batches(data.train, context=8, seed=0, separator=data.tokenizer.separator).rows(12, 4)
    assert inputs.shape == (4, 8)
    predicted = sum(int(mask.sum()) for _, _, mask in held_out_windows(data.held_out, 8))
    assert predicted == len(data.held_out) - 1


def test_fewer_tokens_are_a_prefix_of_the_same_samples(ready):
    """A run of one epoch of them reads what it would read of all; the cache is the same."""
    whole, few = ready(), ready(tokens=40)
    assert few.folder == whole.folder and few.record == whole.record
    samples = [Batches(data.train, context=8, seed=3).starts(0, 15).tolist() for data in (whole, few)]
    assert samples[1][:5] == samples[0][:5] and set(samples[1]) == set(samples[0][:5])


def test_one_document_is_cut_and_says_where(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("".join(f"line {i}\n" for i in range(100)))
    data = prepare(Text(corpus=str(text), context=8), cache=tmp_path)
    train, held_out = (documents(t, data.tokenizer)[0] for t in (data.train, data.held_out))
    assert train + held_out == text.read_text()
    assert data.record["cut_at_byte"] == len(train)


@pytest.mark.parametrize("name", ["train.tokens", "held_out.tokens", "tokenizer.json", "record.json"])
def test_a_damaged_cache_names_the_file_and_what_to_do(ready, name):
    folder = ready().folder
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(
        DataError, match=rf"{folder.name}/{name}.*; delete .*{folder.name}, and it is prepared again"
    ):
        ready()


def test_errors_name_file_and_place(ready, tmp_path, folder):
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match=r"/empty\.txt is empty$"):
        ready(corpus=str(tmp_path / "empty.txt"))
    with pytest.raises(
        DataError, match=r"texts makes \d+ tokens, too few for a context of 100000, which takes 100001: lower"
    ):
        ready(context=100_000)
    with pytest.raises(DataError, match=r"data\.tokens = 7 does not fill one window of data\.context = 8"):
        ready(tokens=7)
    with pytest.raises(FileError, match=r"none\.json is missing"):
        ready(tokenizer="none.json")
    with pytest.raises(DataError, match=r"no corpus 'nothing'"):
        ready(corpus="nothing")
    (folder / "07.txt").write_bytes(b"good\nbad \xff\n")
    with pytest.raises(DataError, match=r"texts/07\.txt is not UTF-8 at byte 9"):
        ready()
    assert not list((tmp_path / "cache" / "data").glob(".*"))  # nothing half done is left


def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write the cache .*/file/data: .*DANLU_CACHE"):
        prepare(Text(corpus=str(folder), context=8), cache=tmp_path / "file")


def test_a_file_that_changes_while_it_is_read_is_named(ready, folder):
    def meddle(line):
        if "encoding" in line:
            (folder / "05.txt").write_text("other text")

    with pytest.raises(DataError, match=r"05\.txt changed while it was read"):
        ready(progress=meddle)
    ready()


def test_tokenizers_that_lose_text_say_so(ready, tmp_path):
    library = pytest.importorskip("tokenizers")
    words = library.Tokenizer(library.models.WordLevel({"[UNK]": 0, "cat": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = library.pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "t.json"))
    lines = []
    ready(tokenizer=str(tmp_path / "t.json"), progress=lines.append)
    assert any("bits per byte are approximate" in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_text_larger_than_memory_streams(tmp_path, suffix):
    """24 MB of text take less than 12 MB, whether it is one document or many."""
    path = tmp_path / f"large{suffix}"
    block = "".join(f"{i} {random.Random(i).random()}\n" for i in range(2000))
    with open(path, "w") as file:
        while file.tell() < 24e6:
            text = f"{file.tell()}\n{block}"
            file.write(json.dumps({"text": text}) + "\n" if suffix == ".jsonl" else text)
    tracemalloc.start()
    try:
        prepare(Text(corpus=str(path)), cache=tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 12e6
    finally:
        tracemalloc.stop()


def test_nothing_depends_on_the_folder_one_is_in(folder, tmp_path, monkeypatch):
    first = prepare(Text(corpus=str(folder), context=8), cache=tmp_path / "cache")
    monkeypatch.chdir(folder)
    second = prepare(Text(corpus="../texts", context=8), cache=Path("../cache"))
    assert second.train.hash == first.train.hash
