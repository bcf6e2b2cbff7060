"""Made corpora: what they say is so, they are the same every time, and they survive the split."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.data import DataError, prepare, synthetic
from danlu.data.corpora import find_corpus
from danlu.data.leaks import HeldOutLines

LINES = ["synthetic:copy-16", "synthetic:copy-3-0", "synthetic:reverse-8", "synthetic:addition-2",
         "synthetic:addition-9"]  # fmt: skip
EVERY = [*LINES, "synthetic:markov-5", "synthetic:rare"]


@pytest.fixture(autouse=True)
def small_text(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tenth of the text: enough for statistics."""
    monkeypatch.setattr(synthetic, "BYTES", 300_000)
    synthetic._texts.cache_clear()
    yield
    synthetic._texts.cache_clear()


def texts(name: str) -> list[str]:
    return ["".join(document.pieces) for document in find_corpus(name).documents("text")]


@pytest.mark.parametrize("name", EVERY)
def test_the_same_name_is_the_same_text(name: str) -> None:
    found = texts(name)
    synthetic._texts.cache_clear()
    assert texts(name) == found
    assert 300_000 <= sum(map(len, found)) < 500_000 and len(found) >= 20


@pytest.mark.parametrize("name", LINES)
def test_answers_are_right(name: str) -> None:
    for line in "".join(texts(name)).splitlines():
        shown, answer = line.split(synthetic.ANSWER)
        if "addition" in name:
            a, b = shown.split("+")
            assert len(a) == len(b) == int(name[-1]) and int(a) + int(b) == int(answer)
        elif "reverse" in name:
            assert shown == answer[::-1] and re.fullmatch("[a-z]{8}", answer)
        else:
            length, dots = (16, 4) if "16" in name else (3, 0)
            assert re.fullmatch("[a-z]+", answer) and len(answer) == length and shown == answer + "." * dots


@pytest.mark.parametrize("name", EVERY)
def test_no_example_is_on_both_sides_and_none_is_removed(name: str) -> None:
    """A document keeps its lines whichever the others are that are held out."""
    documents = texts(name)
    seen: dict[str, int] = {}
    for number, text in enumerate(documents):
        assert all(seen.setdefault(line, number) == number for line in set(text.splitlines()))
    leaks = HeldOutLines([[text] for text in documents[::3]])
    for number, text in enumerate(documents):
        if number % 3:
            assert "".join(leaks.remove_from([text])) == text
    assert leaks.removed_lines == 0


@pytest.mark.parametrize("name", ["synthetic:reverse-4", "synthetic:rare"])
def test_prepared_as_any_corpus(name: str, tmp_path: Path) -> None:
    dataset = prepare(spec.Text(corpus=name, context=64), cache=tmp_path)
    record = dataset.record
    assert record["removed_lines"] == 0 and 0.1 <= record["held_out_share"] <= 0.2
    assert record["version"] is None and record["corpus"] == name
    written = sum(record["splits"][side]["bytes"] for side in ("train", "held_out"))
    assert written == sum(map(len, texts(name)))


# ------------------------------------------------------------ entropies


@pytest.mark.parametrize("name", LINES)
def test_the_entropy_of_lines_is_that_of_what_is_drawn(name: str) -> None:
    """Uniform draws: log2 of how many there are, over the mean length of a line, which the text shows; five
    standard errors of that mean."""
    lines = "".join(texts(name)).splitlines(keepends=True)
    numbers = [int(n) for n in re.findall(r"\d+", name)]
    ways = 2 * math.log2(9 * 10 ** (numbers[0] - 1)) if "addition" in name else numbers[0] * math.log2(26)
    lengths = np.array([len(line) for line in lines])
    error = lengths.std() / math.sqrt(len(lines)) / lengths.mean()
    entropy = synthetic.find(name).entropy
    assert abs(entropy * lengths.mean() / ways - 1) <= 5 * error + 1e-12


@settings(max_examples=5, deadline=None)
@given(st.integers(2, 26))
def test_a_markov_text_follows_its_chain(states: int) -> None:
    """The mean of −log2 p over the text, in which each letter follows its matrix, is the entropy, within
    five standard errors, those of documents, which are independent."""
    synthetic._texts.cache_clear()
    name = f"synthetic:markov-{states}"
    matrix, documents = synthetic.chain(states), texts(name)
    assert np.allclose(matrix.sum(axis=1), 1)
    bits = []
    for text in documents:
        ids = np.frombuffer(text.encode(), np.uint8) - ord("a")
        assert ids.max() < states
        bits.append(-np.log2(matrix[ids[:-1], ids[1:]]).mean())
    bound = 5 * np.std(bits) / math.sqrt(len(bits))
    assert abs(np.mean(bits) - synthetic.find(name).entropy) < bound


def test_two_states_have_the_entropy_of_the_textbook() -> None:
    """π = (b, a)/(a + b), H = Σ π h(row) (Cover & Thomas 2006, example 4.2.1)."""
    matrix = synthetic.chain(2)
    a, b = matrix[0, 1], matrix[1, 0]

    def h(p: float) -> float:
        return -p * math.log2(p) - (1 - p) * math.log2(1 - p)

    expected = (b * h(a) + a * h(b)) / (a + b)
    assert synthetic.find("synthetic:markov-2").entropy == pytest.approx(expected, rel=1e-12)


def test_rare_letters_are_rare() -> None:
    """Twenty, each once in ten thousand: their number within five standard errors; the entropy."""
    text = "".join(texts("synthetic:rare"))
    counts = Counter(text)
    rare = {letter: counts[letter] for letter in synthetic.RARE}
    assert len(rare) == 20 and set(counts) == set(rare) | set("abcdefghijklmnop")
    expected = 1e-4 * len(text)
    assert all(abs(count - expected) < 5 * math.sqrt(expected) for count in rare.values())
    # Without them it is the chain's own text.
    usual = np.frombuffer(text.translate({ord(c): None for c in rare}).encode(), np.uint8) - ord("a")
    bits = -np.log2(synthetic.chain(16)[usual[:-1], usual[1:]])
    chains = synthetic._markov_entropy(16)
    assert abs(bits.mean() - chains) < 5 * bits.std() / math.sqrt(len(bits)) + 0.005
    share = 2e-3
    which = share * math.log2(20 / share) - (1 - share) * math.log2(1 - share)
    assert synthetic.find("synthetic:rare").entropy == pytest.approx(which + (1 - share) * chains)


# ------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("synthetic:copi-3", "did you mean synthetic:copy?"),
        ("synthetic:", "synthetic:copy-LENGTH[-DELAY]"),
        ("synthetic:copy", "write synthetic:copy-LENGTH[-DELAY]"),
        ("synthetic:copy-2", "LENGTH is 2; allowed: 3 to 256"),
        ("synthetic:copy-8-many", "whole numbers"),
        ("synthetic:copy-8-2-2", "write"),
        ("synthetic:addition-10", "DIGITS is 10; allowed: 2 to 9"),
        ("synthetic:rare-3", "write synthetic:rare"),
        ("synthetic", "synthetic:markov-STATES"),
        ("package:no_such_package", "there is no package 'no_such_package'"),
        ("package:../etc", "there is no package"),
        ("package:math", "there is no package 'math'"),
    ],
)
def test_names_that_are_none(name: str, says: str) -> None:
    with pytest.raises(DataError) as caught:
        find_corpus(name)
    assert says in str(caught.value)


def test_a_package_is_its_sources() -> None:
    import numpy

    corpus = find_corpus("package:numpy")
    assert corpus.root == Path(numpy.__file__).parent
    names = {file.name for file in corpus.files}
    assert "__init__.py" in names and all(name.endswith(".py") for name in names)
    assert not any("tests" in Path(name).parts for name in names)
