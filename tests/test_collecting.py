"""The garbage collector rests while graphs are built, and is as it was before afterwards."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import coldframe as cf
from coldframe.collecting import RESTING, Resting
from fixtures_data import fixture


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    """The collector is on in each test, and nothing is frozen."""
    gc.enable()
    gc.unfreeze()
    gc.collect()  # what tests before left
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


def test_what_piled_up_is_looked_for_before_the_next_graph() -> None:
    """Python itself would not: it does not count what was made old."""
    resting = Resting()
    resting.look()
    with resting:
        for _ in range(20_000):
            Ring()
    gc.disable()
    resting.look()
    assert rings() == 20_000, "whoever turned the collector off wants none"
    gc.enable()
    resting.look()
    assert not rings()


def test_little_is_not_looked_for_nor_what_came_before_the_first_graph() -> None:
    resting = Resting()
    with resting:
        for _ in range(20_000):
            Ring()
    resting.look()
    with resting:
        for _ in range(100):
            Ring()
    resting.look()
    assert rings() == 20_100


def test_models_that_were_dropped_let_go_of_their_files() -> None:
    """A SavedModel's functions are a ring, which holds all that was made for them, and maps the values of variables."""
    path = fixture("saved_model_tf2").path

    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def use() -> None:
        model = cf.load(path, engine="reference")
        with contextlib.suppress(cf.ColdframeError):
            model.run({k: np.ones([d or 1 for d in v.shape.dims], v.dtype.numpy) for k, v in model.inputs.items()})

    use()
    before = files()
    for _ in range(150):
        use()
    assert files() < before + 60
