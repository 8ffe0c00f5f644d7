"""Inlining keeps values, names, order of side effects, and what V1 control flow makes of calls."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from coldframe import dtypes
from coldframe.errors import ExecutionError, GraphError, NotFoundError
from coldframe.formats import messages
from coldframe.formats.graph_def import read_graph_def
from coldframe.graph.convert import from_graph_def
from coldframe.graph.ir import FunctionArg, Graph
from coldframe.graph.names import TensorRef
from coldframe.graph.traverse import needed
from coldframe.graph.values import AttrPlaceholder, FuncRef
from coldframe.passes.base import Context
from coldframe.passes.inline import InlineCalls, inline_calls
from coldframe.runtime.session import Session
from coldframe.shapes import Shape
from fixtures_data import fixture
from graph_builder import F32, call, const, function, graph, node, placeholder, run_tf

DOUBLE = function("Double", "a", [node("y = AddV2(a, a)", T=F32)], "y")


def test_a_call_becomes_its_body() -> None:
    g = graph([placeholder("x"), call("c = PartitionedCall(x)", "Double"), node("z = Neg(c)", T=F32)], DOUBLE)
    done = inline_calls(g, [TensorRef("z")])
    assert [repr(n) for n in done.graph] == [
        "x = Placeholder()",
        "c/y = AddV2(x:0, x:0)",
        "z = Neg(c/y:0)",
    ]
    assert done.alias(TensorRef("c")) == TensorRef("c/y")
    assert done.alias(TensorRef("z")) == TensorRef("z")
    assert done.nodes("c") == ("c/y",)
    assert repr(g["z"]) == "z = Neg(c:0)", "the graph that was given stays"
    assert done.graph["x"] is g["x"], "untouched nodes are shared"


def test_a_graph_without_calls_is_only_pruned() -> None:
    g = graph([placeholder("x"), node("z = Neg(x)", T=F32), node("other = Exp(x)", T=F32)], DOUBLE)
    assert list(inline_calls(g, ["z"]).graph.nodes) == ["x", "z"]


def test_legacy_calls_and_their_attributes() -> None:
    f = function("Legacy", "a", [node("y = Cast(a)", SrcT=F32, DstT=AttrPlaceholder("To"), Truncate=False)], "y")
    g = graph([placeholder("x"), node("c = Legacy(x)", To=dtypes.int32)], f)
    assert inline_calls(g, ["c"]).graph["c/y"].attrs["DstT"] is dtypes.int32


def test_an_attribute_that_the_caller_does_not_give() -> None:
    f = function("Legacy", "a", [node("y = Cast(a)", SrcT=F32, DstT=AttrPlaceholder("To"))], "y")
    with pytest.raises(GraphError, match="uses the attribute `To`"):
        inline_calls(graph([placeholder("x"), node("c = Legacy(x)")], f), ["c"])


def test_calls_inside_calls_take_the_outer_name() -> None:
    outer = function("Outer", "a", [call("in = PartitionedCall(a)", "Double"), node("y = Neg(in)", T=F32)], "y")
    g = graph([placeholder("x"), call("c = PartitionedCall(x)", "Outer")], DOUBLE, outer)
    assert list(inline_calls(g, ["c"]).graph.nodes) == ["x", "c/in/y", "c/y"]


def test_a_result_that_is_an_argument() -> None:
    swap = function("Swap", "a b", [], "b a")
    g = graph([placeholder("x"), placeholder("y"), call("c = PartitionedCall(x, y)", "Swap", 2, 2)], swap)
    done = inline_calls(g, [TensorRef("c", 0), TensorRef("c", 1)])
    assert [done.alias(TensorRef("c", i)) for i in (0, 1)] == [TensorRef("y"), TensorRef("x")]


def test_only_what_the_results_in_use_need_is_copied() -> None:
    f = function("Two", "a", [node("n = Neg(a)", T=F32), node("e = Exp(a)", T=F32)], "n e")
    g = graph([placeholder("x"), call("c = PartitionedCall(x)", "Two", 1, 2)], f)
    assert list(inline_calls(g, [TensorRef("c", 1)]).graph.nodes) == ["x", "c/e"]


def test_names_that_are_taken() -> None:
    g = graph([placeholder("x"), placeholder("c/y"), call("c = PartitionedCall(x)", "Double")], DOUBLE)
    done = inline_calls(g, [TensorRef("c")])
    assert done.alias(TensorRef("c")) == TensorRef("c/y_1")


def test_fed_tensors_are_not_looked_behind() -> None:
    g = graph([placeholder("x"), call("c = PartitionedCall(x)", "Double"), node("z = Neg(c)", T=F32)], DOUBLE)
    done = inline_calls(g, [TensorRef("z")], {TensorRef("c")})
    assert list(done.graph.nodes) == ["z"]
    assert done.graph["z"].inputs == [TensorRef("c")]


def test_list_arguments() -> None:
    f = function("SumAll", "a", [node("y = AddN(a, a:1, a:2)", N=3, T=F32)], "y")
    f.extra = messages.OpDef(name="SumAll")
    f.extra.input_arg.add(name="a", type=1, number_attr="N")
    g = graph([placeholder("x"), placeholder("y"), node("c = SumAll(x, y, x)", N=3)], f)
    assert repr(inline_calls(g, ["c"]).graph["c/y"]) == "c/y = AddN(x:0, y:0, x:0)"


# --- order of side effects --------------------------------------------------------------------------------------
def _counter() -> Graph:
    """``read`` is a function that reads, ``bump`` one that changes the variable."""
    resource = {"dtype": F32, "shape": Shape(())}
    read = function("Read", "v", [node("r = ReadVariableOp(v)", dtype=F32)], "r")
    bump = function(
        "Bump",
        "v",
        [const("one", np.float32(1)), node("add = AssignAddVariableOp(v, one)", dtype=F32)],
        "one",
        control_returns="add",
    )
    for f in (read, bump):
        f.args = (FunctionArg("v", dtypes.resource),)
    nodes = [
        node("v = VarHandleOp()", **resource, shared_name=b"v", container=b""),
        const("zero", np.float32(0)),
        node("init = AssignVariableOp(v, zero)", dtype=F32),
        node("before = PartitionedCall(v)", f=FuncRef("Read", {}), Tin=(dtypes.resource,), Tout=(F32,)),
        node("bump = StatefulPartitionedCall(v, ^before)", f=FuncRef("Bump", {}), Tin=(dtypes.resource,), Tout=(F32,)),
        node("after = PartitionedCall(v, ^bump)", f=FuncRef("Read", {}), Tin=(dtypes.resource,), Tout=(F32,)),
    ]
    return graph(nodes, read, bump)


def test_what_waits_for_a_call_waits_for_its_side_effects() -> None:
    done = inline_calls(_counter(), [TensorRef("before"), TensorRef("after"), "init"])
    assert "bump/add" in needed(done.graph, ["after/r"])
    assert "before/r" in needed(done.graph, ["bump/add"])
    fetches = [str(done.alias(TensorRef(n))) for n in ("before", "after")]
    assert run_tf(done.graph, {}, fetches, ["init"]) == [0, 1]


def test_reading_a_result_runs_the_side_effects_too() -> None:
    done = inline_calls(_counter(), [TensorRef("bump"), TensorRef("after"), "init"])
    one, after = (str(done.alias(TensorRef(n))) for n in ("bump", "after"))
    assert "bump/add" in needed(done.graph, [done.alias(TensorRef("bump")).node])
    assert run_tf(done.graph, {}, [one, after], ["init"]) == [1, 1]


def test_running_a_call_runs_its_side_effects() -> None:
    assert "bump/add" in inline_calls(_counter(), ["bump"]).nodes("bump")


def test_pure_nodes_of_a_body_stay_free_of_control_dependencies() -> None:
    done = inline_calls(_counter(), ["after"])
    assert done.graph["bump/one"].controls == []


def test_a_switched_call_is_dead_where_it_was() -> None:
    """A body's constant must not be alive on the side of the branch that is not taken."""
    three = function("Three", "a", [const("k", np.float32(3))], "k")
    g = graph(
        [
            placeholder("x"),
            placeholder("p", dtypes.bool_),
            node("s = Switch(x, p)", T=F32),
            call("t = PartitionedCall(s:1)", "Three"),
            node("f = Neg(s:0)", T=F32),
            node("m = Merge(f, t)", T=F32, N=2),
        ],
        three,
    )
    done = inline_calls(g, [TensorRef("m")])
    for taken, expected in ((True, 3.0), (False, -2.0)):
        assert run_tf(done.graph, {"x:0": 2.0, "p:0": taken}, ["m:0"]) == [expected]


def test_what_waits_for_a_call_does_not_die_with_a_side_effect_on_a_branch() -> None:
    """Neither call fails its check, so that it stands on a branch that is not taken."""
    switched = [
        const("zero", np.float32(0)),
        node("good = Greater(x, zero)", T=F32),
        node("sides = Switch(good, good)", T=dtypes.bool_),
        node("no = Identity(sides:0)", T=dtypes.bool_),
        node("yes = Identity(sides:1)", T=dtypes.bool_),
        node("bad = Switch(x, good)", T=F32),
        node("check = Assert(no, bad:0)", T=(F32,)),
        node("failed = Identity(no, ^check)", T=dtypes.bool_),
        node("checked = Merge(failed, yes)", T=dtypes.bool_, N=2),
        node("y = Identity(x, ^checked)", T=F32),
    ]
    f = function("Checked", "x", switched, "y")
    g = graph(
        [placeholder("x"), call("a = PartitionedCall(x)", "Checked"), call("b = PartitionedCall(a)", "Checked")], f
    )
    done = inline_calls(g, [TensorRef("b")])
    assert run_tf(done.graph, {"x:0": 2.0}, [str(done.alias(TensorRef("b")))]) == [2.0]
    session = Session(g, "reference")
    assert session.run("b:0", {"x:0": 2.0}) == 2.0
    with pytest.raises(ExecutionError, match="assertion failed"):
        session.run("b:0", {"x:0": -2.0})


# --- bad graphs -------------------------------------------------------------------------------------------------
def test_endless_recursion() -> None:
    f = function("F", "a", [call("c = PartitionedCall(a)", "G")], "c")
    h = function("G", "a", [call("c = PartitionedCall(a)", "F")], "c")
    with pytest.raises(GraphError, match="calls itself without end in `F` > `G` > `F`"):
        inline_calls(graph([placeholder("x"), call("c = PartitionedCall(x)", "F")], f, h), ["c"])


def test_a_hundred_levels_and_more() -> None:
    chain = [function(f"F{i}", "a", [call("c = PartitionedCall(a)", f"F{i + 1}")], "c") for i in range(120)]
    chain.append(function("F120", "a", [node("c = Neg(a)", T=F32)], "c"))
    g = graph([placeholder("x"), call("c = PartitionedCall(x)", "F21"), call("d = PartitionedCall(x)", "F0")], *chain)
    assert len(inline_calls(g, ["c"]).graph) == 2
    with pytest.raises(GraphError, match="nested deeper than 100"):
        inline_calls(g, ["d"])


def test_functions_that_double_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coldframe.passes.inline.MAX_NODES", 1000)
    doubles = [
        function(
            f"F{i}",
            "a",
            [call("c = PartitionedCall(a)", f"F{i + 1}"), call("d = PartitionedCall(c)", f"F{i + 1}")],
            "d",
        )
        for i in range(30)
    ]
    doubles.append(function("F30", "a", [node("c = Neg(a)", T=F32)], "c"))
    with pytest.raises(GraphError, match="grow without bound: expected at most 1000 nodes"):
        inline_calls(graph([placeholder("x"), call("c = PartitionedCall(x)", "F0")], *doubles), ["c"])


def test_a_missing_function() -> None:
    with pytest.raises(NotFoundError, match="no function called `Dubble`\nhint: did you mean `Double`"):
        inline_calls(graph([placeholder("x"), call("c = PartitionedCall(x)", "Dubble")], DOUBLE), ["c"])


def test_too_many_inputs_and_outputs() -> None:
    g = graph([placeholder("x"), call("c = PartitionedCall(x, x)", "Double", 2)], DOUBLE)
    with pytest.raises(GraphError, match="does not fit function `Double`: expected 1 inputs, found 2"):
        inline_calls(g, ["c"])
    g = graph([placeholder("x"), call("c = PartitionedCall(x)", "Double")], DOUBLE)
    with pytest.raises(GraphError, match="call `c` has no output 1"):
        inline_calls(g, [TensorRef("c", 1)])


# --- in whole ---------------------------------------------------------------------------------------------------
def test_functions_frozen_by_tensorflow() -> None:
    case = fixture("frozen_functions")
    g = from_graph_def(read_graph_def(case.path))
    for run in case.runs():
        names = list(run.expected)
        done = inline_calls(g, [TensorRef(n.partition(":")[0]) for n in names])
        fetches = [str(done.alias(TensorRef(n.partition(":")[0]))) for n in names]
        found = run_tf(done.graph, dict(run.feeds), fetches)
        for name, value in zip(names, found, strict=True):
            np.testing.assert_allclose(value, run.expected[name], rtol=1e-6, err_msg=name)


def test_the_pass_keeps_calls_that_are_targets() -> None:
    f = function("Two", "a", [node("n = Neg(a)", T=F32), node("e = Exp(a)", T=F32)], "n e")
    g = graph([placeholder("x"), call("c = PartitionedCall(x)", "Two", 1, 2)], f)
    out = InlineCalls().run(g, Context((TensorRef("c", 1),)))
    assert repr(out["c"]) == "c = IdentityN(c/e:0, c/e:0)"
    np.testing.assert_allclose(run_tf(out, {"x:0": 1.0}, ["c:1"]), [np.e], rtol=1e-6)


def _steps(count: int) -> int:
    """How many functions Python calls to inline a chain of `count` calls."""
    nodes = [placeholder("x"), call("c0 = PartitionedCall(x)", "Double")]
    nodes += [call(f"c{i} = PartitionedCall(c{i - 1})", "Double") for i in range(1, count)]
    g, seen = graph(nodes, DOUBLE), 0

    def count_one(frame: object, event: str, arg: object) -> None:
        nonlocal seen
        seen += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count_one)
    try:
        done = inline_calls(g, [f"c{count - 1}"])
    finally:
        sys.setprofile(before)
    assert len(done.graph) == count + 1
    return seen


def test_the_work_grows_with_the_calls_and_no_faster() -> None:
    assert _steps(4_000) < 4.2 * _steps(1_000)
