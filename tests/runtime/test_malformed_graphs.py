"""Graphs that parse and make no sense: refused at the node that is wrong, by either engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import coldframe as cf
from coldframe import dtypes
from coldframe.graph.ir import Function, FunctionArg, Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.values import AttrPlaceholder, FuncRef, TensorValue
from coldframe.shapes import Shape

ENGINES = ("reference", "onnxruntime", "auto")


def const(name: str, value: Any) -> Node:
    array = np.asarray(value)
    held = TensorValue.of(array)
    return Node(name, "Const", attrs={"dtype": held.dtype, "value": held})


def run(engine: str, *nodes: Node, fetch: str = "y:0") -> Any:
    return cf.Session(Graph(nodes), engine).run(fetch)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_input_reads_an_output_that_does_not_exist(engine: str) -> None:
    y = Node("y", "Neg", [TensorRef("x", 1)], attrs={"T": dtypes.float32})
    with pytest.raises(cf.GraphError, match=r"input 0 of node `y` \(Neg\) reads `x:1`, which does not exist"):
        run(engine, const("x", np.ones(2, np.float32)), y)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_input_of_the_wrong_dtype(engine: str) -> None:
    y = Node("y", "Neg", [TensorRef("x")], attrs={"T": dtypes.float32})
    with pytest.raises(cf.GraphError, match=r"node `y` \(Neg\) has the wrong dtype from `x`?.*float32, found int64"):
        run(engine, const("x", [1, 2]), y)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_tensor_of_a_branch_that_was_not_taken_has_no_value(engine: str) -> None:
    switch = Node("s", "Switch", [TensorRef("x"), TensorRef("p")], attrs={"T": dtypes.float32})
    y = Node("y", "Neg", [TensorRef("s", 1)], attrs={"T": dtypes.float32})
    with pytest.raises(cf.ExecutionError, match="branch that was not taken"):
        run(engine, const("x", np.float32(1)), const("p", np.False_), switch, y)


@pytest.mark.parametrize("engine", ENGINES)
def test_axes_that_are_no_axes_are_refused_where_they_are_used(engine: str) -> None:
    x = Node("x", "Placeholder", attrs={"dtype": dtypes.float32, "shape": Shape.unknown()})
    attrs: dict[str, Any] = {"T": dtypes.float32, "Tidx": dtypes.int32}
    y = Node("y", "Sum", [TensorRef("x"), TensorRef("axes")], attrs=attrs)
    session = cf.Session(Graph([x, const("axes", np.full((2, 2), 7, np.int32)), y]), engine)
    with pytest.raises(cf.ExecutionError, match="`y`"):
        session.run("y:0", {"x": np.ones((2, 3), np.float32)})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_node_of_very_many_outputs(engine: str) -> None:
    attrs: dict[str, Any] = {"T": dtypes.float32, "num_partitions": 5000}
    y = Node("y", "DynamicPartition", [TensorRef("x"), TensorRef("p")], attrs=attrs)
    x = Node("x", "Placeholder", attrs={"dtype": dtypes.float32, "shape": Shape.unknown()})
    session = cf.Session(Graph([x, const("p", np.array([4999, 0], np.int32)), y]), engine)
    assert session.run("y:4999", {"x": np.array([1, 2], np.float32)}).tolist() == [1]


def test_a_shape_attribute_that_is_no_shape() -> None:
    x = Node("x", "PlaceholderWithDefault", [TensorRef("d")], attrs={"dtype": dtypes.float32, "shape": 3})
    with pytest.raises(cf.GraphError, match=r"attribute `shape`.*expected shape, found 3"):
        run("reference", const("d", np.float32(1)), x, fetch="x:0")
    x.attrs["shape"] = AttrPlaceholder("no value")
    with pytest.raises(cf.GraphError, match="attribute `shape`"):
        run("reference", const("d", np.float32(1)), x, fetch="x:0")


def test_leaving_a_loop_that_nothing_enters() -> None:
    y = Node("y", "Exit", [TensorRef("x")], attrs={"T": dtypes.float32})
    with pytest.raises(cf.GraphError, match=r"node `y` \(Exit\) leaves a loop that nothing enters"):
        run("reference", const("x", np.float32(1)), y)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loop_without_a_switch_never_ends(engine: str) -> None:
    attrs: dict[str, Any] = {"T": dtypes.int32}
    enter = Node("enter", "Enter", [TensorRef("x")], attrs=attrs | {"frame_name": b"loop"})
    merge = Node("merge", "Merge", [TensorRef("enter"), TensorRef("next")], attrs=attrs | {"N": 2})
    add = Node("add", "Add", [TensorRef("merge"), TensorRef("x")], attrs=attrs)
    nodes = [enter, merge, add, Node("next", "NextIteration", [TensorRef("add")], attrs=attrs)]
    y = Node("y", "Exit", [TensorRef("merge")], attrs=attrs)
    with pytest.raises(cf.GraphError, match=r"a loop never ends, since no Switch leaves it, through `merge` <- `next`"):
        run(engine, const("x", np.int32(1)), *nodes, y)


def test_a_function_that_returns_less_than_its_call_promises() -> None:
    f = (FunctionArg("a", dtypes.float32),), (FunctionArg("r", dtypes.float32),), (TensorRef("a"),)
    attrs: dict[str, Any] = {
        "Tcond": dtypes.bool_, "Tin": (dtypes.float32,), "Tout": (dtypes.float32,) * 2, "then_branch": FuncRef("f", {}),
        "else_branch": FuncRef("f", {}), "output_shapes": (),
    }  # fmt: skip
    y = Node("y", "If", [TensorRef("p"), TensorRef("x")], attrs=attrs)
    graph = Graph([const("p", np.True_), const("x", np.float32(1)), y], {"f": Function("f", *f, Graph())})
    with pytest.raises(cf.ExecutionError, match=r"wrong number of outputs at node `y`.*expected 2, found 1"):
        cf.Session(graph, "reference").run("y:0")


@pytest.mark.parametrize("value", [5, 2.5, [b"a", 10**12], None])
def test_what_is_no_string_is_not_fed_as_one(value: Any) -> None:
    x = Node("x", "Placeholder", attrs={"dtype": dtypes.string, "shape": Shape.unknown()})
    y = Node("y", "Identity", [TensorRef("x")], attrs={"T": dtypes.string})
    with pytest.raises(cf.FeedError, match=r"fed to `x.*wrong dtype: expected string, found (int|float|NoneType)"):
        cf.Session(Graph([x, y])).run("y:0", {"x": value})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_function_that_returns_an_output_that_does_not_exist(engine: str) -> None:
    body = Graph([Node("n", "Neg", [TensorRef("a")], attrs={"T": dtypes.float32})])
    f = Function(
        "f", (FunctionArg("a", dtypes.float32),), (FunctionArg("r", dtypes.float32),), (TensorRef("n", 4),), body
    )
    types: dict[str, Any] = {"Tin": (dtypes.float32,), "Tout": (dtypes.float32,), "f": FuncRef("f", {})}
    graph = Graph([const("x", np.float32(1)), Node("y", "PartitionedCall", [TensorRef("x")], attrs=types)], {"f": f})
    with pytest.raises(
        cf.GraphError, match=r"tensor `.*n:4` does not exist: expected an output of Neg below 1, found 4"
    ):
        cf.Session(graph, engine).run("y:0")


@pytest.mark.parametrize("engine", ENGINES)
def test_an_array_where_a_branch_reads_a_variable(engine: str) -> None:
    """What is left where a tool made constants of the variables, but not of what reads them in functions."""
    read = Graph([Node("read", "ReadVariableOp", [TensorRef("v")], attrs={"dtype": dtypes.float32})])
    args, results = (FunctionArg("v", dtypes.resource),), (FunctionArg("r", dtypes.float32),)
    f = Function("f", args, results, (TensorRef("read"),), read)
    attrs: dict[str, Any] = {"Tcond": dtypes.bool_, "Tin": (dtypes.float32,), "Tout": (dtypes.float32,),
                             "then_branch": FuncRef("f", {}), "else_branch": FuncRef("f", {})}  # fmt: skip
    y = Node("y", "If", [TensorRef("p"), TensorRef("x")], attrs=attrs)
    p = Node("p", "Placeholder", attrs={"dtype": dtypes.bool_, "shape": Shape(())})
    graph = Graph([p, const("x", np.float32(1)), y], {"f": f})
    with pytest.raises(cf.GraphError, match=r"is no resource .*ReadVariableOp.*found a tensor of float32"):
        cf.Session(graph, engine).run("y:0", {"p": True})
