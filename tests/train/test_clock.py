from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.spec import resolve
from danlu.train.callbacks import Callback
from danlu.train.clock import PARTS, Clock
from danlu.train.run import train
from tests.train import small


class Timer:
    now = 100.0

    def __call__(self):
        return self.now


def test_inner_time_is_not_counted_for_the_outer():
    timer = Timer()
    clock = Clock(timer=timer)
    timer.now += 50  # outside all parts
    with clock("train"):
        timer.now += 1
        with clock("data"):
            timer.now += 2
            with clock("data"):
                timer.now += 4
        timer.now += 8
        assert clock.seconds["train"] == 9  # while it runs
    timer.now += 50
    with clock("evaluation"):
        timer.now += 16
    assert {part: s for part, s in clock.seconds.items() if s} == {"train": 9, "data": 6, "evaluation": 16}
    assert clock.active == 31


def test_a_part_that_raises_is_left():
    timer = Timer()
    clock = Clock(timer=timer)
    with pytest.raises(RuntimeError), clock("train"):
        timer.now += 1
        raise RuntimeError
    timer.now += 1
    assert clock.active == 1


def test_a_later_process_goes_on():
    timer = Timer()
    first = Clock(timer=timer)
    with first("train"):
        timer.now += 3
    second = Clock(first.state(), timer=timer)
    with second("train"):
        timer.now += 4
    assert second.seconds["train"] == 7 and second.active == 7
    assert set(second.state()) == set(PARTS)


def test_callbacks_are_no_part_of_start_up_nor_of_updates(tmp_path: Path) -> None:
    """Each of their moments, but what they measure by a part of its own."""
    seen = {}

    class Asks(Callback):
        pass

    moments = ["before_update", "after_gradients", "after_update", "after_step", "between_updates"]
    for moment in moments:
        setattr(Asks, moment, lambda self, run, moment=moment: seen.update({moment: run.clock._running[-1]}))
    with small.quick():
        train(
            resolve(small.words(small.corpus(tmp_path), "train.steps=1", "train.evaluate_tokens=100")),
            tmp_path / "run", small.Told(), callbacks=[Asks()], sample=False,
        )  # fmt: skip
    assert seen == dict.fromkeys(moments, "other")


def test_seconds_from_elsewhere():
    clock = Clock()
    clock.add("startup", 2.5)
    assert clock.seconds["startup"] == clock.active == 2.5


def test_unknown_parts():
    with pytest.raises(ValueError, match="'lunch'"):
        Clock({"lunch": 1.0})
    with pytest.raises(KeyError):
        Clock()("lunch")


@given(st.lists(st.tuples(st.sampled_from([*PARTS, "end"]), st.integers(0, 9))))
def test_every_second_inside_counts_once(events):
    timer = Timer()
    clock, open_parts, inside = Clock(timer=timer), [], 0
    for part, wait in events:
        if part != "end":
            open_parts.append(clock(part))
            open_parts[-1].__enter__()
        elif open_parts:
            open_parts.pop().__exit__(None, None, None)
        timer.now += wait
        inside += wait * bool(open_parts)
    assert clock.active == inside
