"""The garbage collector rests while graphs are built, and is as it was before afterwards."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from coldframe.collecting import RESTING, Resting


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    """The collector is on in each test, and nothing is frozen."""
    gc.enable()
    gc.unfreeze()
    yield
    gc.enable()
    gc.unfreeze()


class Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def rings() -> int:
    return sum(isinstance(o, Ring) for o in gc.get_objects())


def test_nothing_is_collected_inside_and_everything_later() -> None:
    with RESTING:
        assert not gc.isenabled()
        for _ in range(5000):
            Ring()
        assert rings() == 5000
    assert gc.isenabled()
    gc.collect()
    assert not rings()


def test_it_can_be_entered_again() -> None:
    with RESTING:
        with RESTING:
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with RESTING:
        pass
    assert not gc.isenabled()


def test_an_error_turns_it_on_again() -> None:
    with pytest.raises(KeyError), RESTING:
        raise KeyError
    assert gc.isenabled()


def test_what_others_froze_stays_frozen() -> None:
    mine = [Ring() for _ in range(100)]
    gc.freeze()
    assert gc.get_freeze_count() >= 100
    with RESTING:
        kept = [Ring()]
    followed = {id(o) for o in gc.get_objects()}
    assert gc.isenabled()
    assert not followed & {id(r) for r in mine}
    assert followed >= {id(r) for r in kept}


def test_what_was_made_inside_is_old_afterwards() -> None:
    with RESTING:
        kept = [Ring() for _ in range(100)]
    young = {id(o) for generation in (0, 1) for o in gc.get_objects(generation)}
    assert not young & {id(r) for r in kept}


def test_threads_that_overlap_turn_it_on_when_the_last_one_leaves() -> None:
    resting = Resting()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with resting:
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with resting:
        thread.start()
        assert inside.wait(10)
    assert not gc.isenabled()
    leave.set()
    thread.join(10)
    assert gc.isenabled()
