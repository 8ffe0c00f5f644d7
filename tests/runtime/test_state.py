"""A run's view of variables: what it writes, what others see meanwhile, what is left when it fails."""

from __future__ import annotations

import numpy as np
import pytest

from coldframe.dtypes import float32
from coldframe.ops.state import Handle
from coldframe.runtime.state import SessionState
from coldframe.shapes import Shape

TABLE = Handle("table", "ref", float32, Shape((4, 2)))
ROWS = np.array([2, 0])
NEW = np.array([[5, 5], [6, 6]], "f")


@pytest.fixture
def state() -> SessionState:
    made = SessionState()
    made.set("table", np.zeros((4, 2), "f"))
    return made


def changed() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    out = np.zeros((4, 2), "f")
    out[ROWS] = NEW
    return out


def test_rows_change_in_place(state: SessionState) -> None:
    where = state.value("table").ctypes.data
    with state.begin() as run:
        run.assign_rows(TABLE, ROWS, NEW)
        np.testing.assert_array_equal(run.read(TABLE), changed())
    np.testing.assert_array_equal(state.value("table"), changed())
    assert state.value("table").ctypes.data == where
    assert not state.value("table").flags.writeable


@pytest.mark.parametrize(
    "view", [lambda a: a, lambda a: a[1:], lambda a: memoryview(a)], ids=["array", "view", "buffer"]
)
def test_what_somebody_holds_does_not_change(state: SessionState, view: object) -> None:
    held = view(state.value("table"))  # type: ignore[operator]
    with state.begin() as run:
        run.assign_rows(TABLE, ROWS, NEW)
    assert not np.asarray(held).any()
    np.testing.assert_array_equal(state.value("table"), changed())


def test_a_failure_brings_all_rows_back(state: SessionState) -> None:
    def fail() -> None:
        with state.begin() as run:
            run.assign_rows(TABLE, ROWS, NEW)
            run.assign_rows(TABLE, np.array([0, 1]), NEW * 2)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not state.value("table").any()
    with state.begin() as run:
        run.assign_rows(TABLE, ROWS, NEW)  # it may be changed again
    np.testing.assert_array_equal(state.value("table"), changed())


def test_other_runs_see_the_rows_before(state: SessionState) -> None:
    with state.begin() as run, state.begin() as other:
        run.assign_rows(TABLE, ROWS, NEW)
        assert not other.read(TABLE).any()
        assert not state.value("table").any()
        other.assign_rows(TABLE, np.array([3]), np.ones((1, 2), "f"))
        np.testing.assert_array_equal(run.read(TABLE), changed())


def test_a_run_that_nobody_ends_changes_nothing(state: SessionState) -> None:
    run = state.begin()
    run.assign_rows(TABLE, ROWS, NEW)
    np.testing.assert_array_equal(run.read(TABLE), changed())
    assert not state.value("table").any()


def test_a_table_that_was_replaced_is_changed_too(state: SessionState) -> None:
    with state.begin() as run:
        run.adopt(TABLE, np.ones((4, 2), "f"))
        run.assign_rows(TABLE, ROWS, NEW)
        before = run.read(TABLE)
        run.assign_rows(TABLE, np.array([1]), np.full((1, 2), 7, "f"))
        assert before[1, 0] == 1
    np.testing.assert_array_equal(state.value("table"), [[6, 6], [7, 7], [5, 5], [1, 1]])
