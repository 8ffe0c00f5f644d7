"""Binding nodes to ops: equal attributes are looked at once, and what differs is kept apart."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from coldframe import dtypes
from coldframe.errors import ColdframeError, GraphError
from coldframe.graph.values import FuncRef, TensorValue
from coldframe.ops import table
from coldframe.ops.call import bind

FLOAT = {"T": dtypes.float32}


def test_nodes_of_equal_attributes_share_what_is_made_of_them() -> None:
    one = bind(table()["Relu"], dict(FLOAT))
    assert bind(table()["Relu"], dict(FLOAT)) is one
    assert bind(table()["Relu"], FLOAT | {"_class": (b"loc:@x",)}) is one
    assert bind(table()["Relu"], {"T": dtypes.float64}) is not one
    assert bind(table()["Elu"], FLOAT) is not one


@pytest.mark.parametrize(
    ("op", "name", "values"),
    [
        ("LeakyRelu", "alpha", [0.0, -0.0, 0.25]),
        ("Squeeze", "squeeze_dims", [(), (0,), (1,)]),
        ("Sum", "keep_dims", [False, True]),
        ("MatMul", "transpose_a", [False, True]),
    ],
)
def test_attributes_that_differ_are_told_apart(op: str, name: str, values: list[object]) -> None:
    more = {"Tidx": dtypes.int32} if op == "Sum" else {}
    made = [bind(table()[op], FLOAT | more | {name: v}) for v in values]
    assert [repr(m.attrs[name]) for m in made] == [repr(v) for v in values]


def test_a_flag_is_no_number() -> None:
    bind(table()["MatMul"], FLOAT | {"transpose_a": True})
    with pytest.raises(GraphError, match="transpose_a"):
        bind(table()["MatMul"], FLOAT | {"transpose_a": 1})


def test_each_constant_keeps_its_own_tensor() -> None:
    values = [TensorValue.of(np.full(3, k, np.float32)) for k in range(3)]
    calls = [bind(table()["Const"], {"dtype": dtypes.float32, "value": v}) for v in values]
    assert [c.attrs["value"] for c in calls] == values
    assert calls[0].outputs is calls[1].outputs
    assert len({id(c) for c in calls}) == 3


def test_tensors_are_not_kept() -> None:
    array = np.arange(1000.0)
    gone = weakref.ref(array)
    bind(table()["Const"], {"dtype": dtypes.float64, "value": TensorValue.of(array)})
    del array
    gc.collect()
    assert gone() is None


def test_errors_are_the_same_each_time() -> None:
    def told() -> list[str]:
        found = []
        for attrs in ({}, {"T": dtypes.string}, {"T": 3}):
            with pytest.raises(ColdframeError) as e:
                bind(table()["Relu"], attrs)
            found.append(str(e.value))
        return found

    assert told() == told()


def test_functions_are_bound_for_each_node() -> None:
    attrs = {
        "cond": FuncRef("c", {}), "body": FuncRef("b", {}), "T": (dtypes.float32,), "output_shapes": (),
        "parallel_iterations": 10,
    }  # fmt: skip
    calls = [bind(table()["While"], attrs, functions=lambda f, k=k: (f.name, k)) for k in range(2)]  # type: ignore[misc]
    assert [c.kwargs["body"] for c in calls] == [("b", 0), ("b", 1)]
