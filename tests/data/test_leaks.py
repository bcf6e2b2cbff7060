from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.data.leaks import LONG, HeldOutLines, normalised_lines

LICENCE = "Permission is hereby granted, free of charge, in 2024, to any person"
lines = st.sampled_from(
    [
        LICENCE,
        LICENCE.upper(),
        "\t" + LICENCE.replace(" ", "  ").replace("2024", "1999"),
        "short",
        "",
        "x" * LONG,
        "X" * LONG + " ",
        "x" * (LONG - 1),
        "STRASSE " * 5,
        "straße " * 5,
        "٣ Arabic digits are digits too, are they not",
        "3 arabic digits are digits too, are they not",
    ]
)
texts = st.lists(st.tuples(lines, st.sampled_from(["\n", "\r\n", "\r", "\u2028", "\x0c"])), max_size=12).map(
    lambda pairs: "".join(line + end for line, end in pairs)
)


def long_lines(text):
    return {line for line in normalised_lines(text) if len(line) >= LONG}


@settings(max_examples=300, deadline=None)
@given(held_out=st.lists(texts, max_size=3), train=texts)
def test_no_long_line_is_on_both_sides(held_out, train):
    leaks = HeldOutLines([text] for text in held_out)
    kept = "".join(leaks.remove_from([train]))
    known = set().union(*map(long_lines, held_out))
    assert not known & long_lines(kept)
    # And nothing else is gone: what is left is the lines that are not known, in their order.
    expected = [
        line
        for line, key in zip(train.splitlines(keepends=True), normalised_lines(train), strict=True)
        if key not in known
    ]
    assert kept == "".join(expected)
    assert leaks.removed_lines == len(train.splitlines()) - len(expected)
    assert leaks.removed_bytes == len(train.encode()) - len(kept.encode())


def test_lines_that_differ_in_case_spacing_or_digits_are_the_same():
    (one,) = normalised_lines(LICENCE)
    assert normalised_lines("  " + LICENCE.upper().replace(" ", "\t ").replace("2024", "1999") + " ") == [one]
    assert normalised_lines(LICENCE.replace("person", "body")) != [one]


@given(text=st.text(st.characters(codec="ascii")))
def test_ascii_and_other_text_are_normalised_alike(text):
    # A letter beyond ASCII on a line of its own sends the text the other way.
    assert normalised_lines(text + "\né")[: len(normalised_lines(text))] == normalised_lines(text)


def test_a_document_of_known_lines_leaves_nothing():
    leaks = HeldOutLines([[LICENCE]])
    assert list(leaks.remove_from([LICENCE + "\n", LICENCE])) == []
    assert leaks.removed_lines == 2
