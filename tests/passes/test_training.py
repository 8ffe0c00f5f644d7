"""From training form to inference form: switches, branches, batch norms, references, checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from coldframe import dtypes
from coldframe.errors import ExecutionError, GraphError, NotFoundError
from coldframe.graph.ir import Graph
from coldframe.graph.names import TensorRef
from coldframe.graph.verify import verify
from coldframe.passes.base import Context, loop_edge
from coldframe.passes.fold_constants import FoldConstants
from coldframe.passes.pipelines import optimizing
from coldframe.passes.prune import Prune
from coldframe.passes.repair_refs import RepairRefs, needs_repair
from coldframe.passes.set_training import SetTraining
from coldframe.passes.strip_training import StripChecks
from coldframe.runtime.freezing import freeze
from coldframe.runtime.source import open_source
from fixtures_data import fixture
from frozen_oracle import assert_same, run_in_tensorflow
from graph_builder import F32, FuncRef, const, function, graph, node, placeholder, run_tf

v1 = tf.compat.v1


def _cond() -> Graph:
    return graph(
        [
            placeholder("x"),
            placeholder("is_training", dtypes.bool_),
            node("id = Identity(is_training)", T=dtypes.bool_),
            node("s = Switch(x, id)", T=F32),
            node("infer = Neg(s:0)", T=F32),
            const("k", np.float32(2), controls=["infer"]),
            node("scaled = Mul(infer, k)", T=F32),
            node("train = Exp(s:1)", T=F32),
            node("m = Merge(scaled, train)", T=F32, N=2),
            node("which = Identity(m:1)", T=dtypes.int32),
        ]
    )


@pytest.mark.parametrize(("value", "expected", "which"), [(False, -6.0, 0), (True, np.exp(3.0), 1)])
def test_a_branch_is_chosen(value: bool, expected: float, which: int) -> None:
    context = Context((TensorRef("m"), TensorRef("which")))
    out = Prune().run(SetTraining(value).run(_cond(), context), context)
    assert not {"Switch", "Merge", "Placeholder"} & {n.op for n in out if n.name != "x"}
    np.testing.assert_allclose(run_tf(out, {"x:0": 3.0}, ["m:0", "which:0"]), [expected, which], rtol=1e-6)
    assert context.notes == [f"`is_training` is {value}: what it switches off is gone"]


def test_an_output_on_the_wrong_side() -> None:
    with pytest.raises(GraphError, match="output `train:0` is on the side that is switched off"):
        SetTraining(False).run(_cond(), Context((TensorRef("train"),)))


def test_a_branch_of_the_second_generation() -> None:
    then = function("T", "a", [node("y = Exp(a)", T=F32)], "y")
    other = function("E", "a", [node("y = Neg(a)", T=F32)], "y")
    branches = {"then_branch": FuncRef("T", {}), "else_branch": FuncRef("E", {})}
    types = {"Tcond": dtypes.bool_, "Tin": (F32,), "Tout": (F32,)}
    nodes = [
        placeholder("x"),
        placeholder("keras_learning_phase", dtypes.bool_),
        node("i = StatelessIf(keras_learning_phase, x)", **branches, **types),
        node("y = Identity(i)", T=F32),
    ]
    context = Context((TensorRef("y"),))
    out = Prune().run(SetTraining().run(graph(nodes, then, other), context), context)
    assert [repr(n) for n in out] == ["x = Placeholder()", "i/y = Neg(x:0)", "y = Identity(i/y:0)"]
    assert not out.functions


def test_loops_are_left_alone() -> None:
    case = fixture("frozen_control_flow_v1")
    source = open_source(case.path)
    refs = tuple(TensorRef(n) for n in case.outputs)
    context = Context(refs)
    out = SetTraining(False).run(source.graph, context)
    assert {n.op for n in out} == {n.op for n in source.graph}
    assert context.notes == ["no input that switches between training and inference was found"]


@pytest.mark.parametrize("is_training", [None, False, True])
def test_the_classic_broken_batch_norm(is_training: bool | None, tmp_path: Path) -> None:
    case = fixture("frozen_broken_batch_norm")
    assert needs_repair(open_source(case.path).graph)
    frozen = freeze(case.path, outputs="y", training=is_training)
    assert not needs_repair(frozen.graph)
    frozen.save(tmp_path / "y.pb")
    checked = 0
    for run in case.runs():
        value = bool(run.feeds["is_training:0"])
        feeds = {k: v for k, v in run.feeds.items() if k.partition(":")[0] in frozen.graph}
        if is_training in (None, value):
            assert_same(run_in_tensorflow(tmp_path / "y.pb", feeds, ["y:0"]), run.expected)
            checked += 1
    assert checked or is_training is not bool(case.runs()[0].feeds["is_training:0"])


def test_updates_that_are_read_compute_what_they_would_have_written() -> None:
    nodes = [
        const("w", np.float32(5)),
        placeholder("x"),
        node("r = RefIdentity(w)", T=F32),
        node("u = AssignSub(r, x)", T=F32, use_locking=True, _class=(b"loc:@w", b"loc:@gone")),
        node("a = Assign(w, u)", T=F32, use_locking=True, validate_shape=True),
    ]
    context = Context((TensorRef("a"),))
    out = RepairRefs().run(graph(nodes), context)
    assert [n.op for n in out] == ["Const", "Placeholder", "Identity", "Sub", "Identity"]
    assert out["u"].attrs["_class"] == (b"loc:@w",)
    assert run_tf(out, {"x:0": 2.0}, ["a:0"]) == [3.0]


def test_real_references_stay() -> None:
    from coldframe.shapes import Shape

    variable = node("w = VariableV2()", dtype=F32, shape=Shape(()), shared_name=b"", container=b"")
    g = graph([variable, placeholder("x"), node("a = Assign(w, x)", T=F32)])
    assert not needs_repair(g)
    assert RepairRefs().run(g, Context(("a",)))["a"].op == "Assign"


def test_checks_go_and_what_passes_stays() -> None:
    nodes = [
        placeholder("x"),
        const("p", np.bool_(False)),
        node("assert = Assert(p, x)", T=(F32,), summarize=3),
        node("c = CheckNumerics(x, ^assert)", T=F32, message=b"?"),
        node("y = Neg(c, ^assert)", T=F32),
    ]
    context = Context((TensorRef("y"),))
    out = Prune().run(StripChecks().run(graph(nodes), context), context)
    assert [repr(n) for n in out] == ["x = Placeholder()", "c = Identity(x:0)", "y = Neg(c:0)"]
    short = Prune().run(StripChecks(identities=True).run(graph(nodes), context), context)
    assert [repr(n) for n in short] == ["x = Placeholder()", "y = Neg(x:0)"]
    assert context.notes == ["dropped 1 nodes that only check or print, such as `assert`"]


def test_batch_norms_find_their_moving_averages(tmp_path: Path) -> None:
    """A graph exported in training form: the fused batch norm has no averages as inputs, only its updates know them."""
    x = np.random.default_rng(0).normal(size=(4, 3, 3, 2)).astype(np.float32)
    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(tf.float32, [None, 3, 3, 2], "image")
        mean = v1.get_variable("mean", initializer=[0.5, -1.0], use_resource=False, trainable=False)
        variance = v1.get_variable("variance", initializer=[2.0, 3.0], use_resource=True, trainable=False)
        y, batch_mean, batch_variance = v1.nn.fused_batch_norm(image, [1.0, 2.0], [0.0, 1.0], is_training=True)
        train = tf.group(
            v1.assign_sub(mean, (mean - batch_mean) * 0.1), v1.assign_sub(variance, (variance - batch_variance) * 0.1)
        )
        tf.identity(y, "y")
        session.run(v1.global_variables_initializer())
        assert train is not None
        v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
        wanted, _, _ = v1.nn.fused_batch_norm(
            image, [1.0, 2.0], [0.0, 1.0], mean=mean, variance=variance, is_training=False
        )
        expected = session.run(wanted, {image: x})
    frozen = freeze(tmp_path / "model.ckpt.meta", outputs="y", training=False)
    frozen.save(tmp_path / "y.pb")
    assert_same(run_in_tensorflow(tmp_path / "y.pb", {"image:0": x}, ["y:0"]), {"y:0": expected})
    assert "`FusedBatchNormV3` uses the moving averages `mean` and `variance`" in frozen.notes


# --- folding ----------------------------------------------------------------------------------------------------
def test_constants_are_folded_and_large_ones_are_not() -> None:
    nodes = [
        const("a", np.float32(2)),
        const("b", np.float32(3)),
        node("c = Mul(a, b)", T=F32),
        node("d = Neg(c)", T=F32),
        const("shape", np.array([4096, 4096], np.int32)),
        node("big = Fill(shape, c)", T=F32, index_type=dtypes.int32),
        node("r = RandomUniform(shape)", T=dtypes.int32, dtype=F32, seed=0, seed2=0),
        node("odd = NotAnOp(a)"),
        node("waits = Neg(a, ^r)", T=F32),
        placeholder("x"),
        node("y = Mul(x, d)", T=F32),
    ]
    context = Context((TensorRef("y"),))
    out = FoldConstants().run(graph(nodes), context)
    assert out["d"].op == "Const"
    assert out["d"].attrs["value"].array == -6.0  # type: ignore[union-attr]
    assert [out[n].op for n in ("big", "r", "odd", "waits", "y")] == [
        "Fill", "RandomUniform", "NotAnOp", "Neg", "Mul",
    ]  # fmt: skip
    assert context.notes == ["computed 2 nodes that are always the same"]


def test_a_refusal_while_folding_is_told() -> None:
    nodes = [const("a", np.ones((2, 3), np.float32)), node("m = MatMul(a, a)", T=F32)]
    folded = FoldConstants().run(graph(nodes), Context(("m",)))
    assert folded["m"].op == "MatMul", "dense work stays for the engine"


# --- the contract -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("y = Neg(x)", T=F32)], "input `x:0` of node `y` .Neg. names no node"),
        ([node("y = NoOp(^x)")], r"input `\^x` of node `y`"),
        ([placeholder("x"), node("y = Neg(x:1)", T=F32)], "reads `x:1`: expected an output below 1, found 1"),
        ([placeholder("x"), node("y = Neg(x, x)", T=F32)], "wrong number of inputs: expected 1, found 2"),
        ([placeholder("x", dtypes.int32), node("y = Neg(x)", T=F32)], "as `x`: expected float32, found int32"),
        ([node("y = Neg(z)", T=F32), node("z = Neg(y)", T=F32)], "the graph has a cycle through"),
        ([placeholder("x"), node("y = Assign(x, x)", T=F32)], "expected a reference to a float32 variable"),
        ([placeholder("x"), node("y = Neg(x)")], "attribute `T`"),
        ([placeholder("x")], "target `y:0` is no longer in the graph"),
    ],
)
def test_unsound_graphs(nodes: list, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(GraphError, match=message):
        verify(graph(nodes), targets=[TensorRef("y")])


@pytest.mark.parametrize(
    "name", ["frozen_control_flow_v1", "frozen_control_flow_v2", "frozen_functions", "frozen_digits"]
)
def test_sound_graphs(name: str) -> None:
    g = open_source(fixture(name).path).graph
    verify(g, back_edge=loop_edge(g))


def test_a_failure_names_the_pass_and_what_ran_before() -> None:
    meta = fixture("v2_adam").meta
    assert meta is not None
    with pytest.raises(NotFoundError, match=r"2 variables have no value .*\nhint: pass the checkpoint") as caught:
        freeze(meta.read_bytes(), outputs="prediction")
    assert caught.value.__notes__ == ["in pass `find values` of pipeline `freeze`, after `inline`, `prune`"]


@pytest.mark.parametrize(
    "name",
    ["frozen_batch_norm", "frozen_control_flow_v1", "frozen_control_flow_v2", "frozen_digits", "frozen_functions"],
)
def test_optimized_graphs_give_the_same_answers(name: str) -> None:
    case = fixture(name)
    g = open_source(case.path).graph
    refs = tuple(TensorRef(n) for n in case.outputs)
    out = optimizing().run(g, Context(refs))
    for run in case.runs():
        feeds = {k: v for k, v in run.feeds.items() if k.partition(":")[0] in out}
        found = dict(zip(run.expected, run_tf(out, feeds, list(run.expected)), strict=True))
        assert_same(found, run.expected)


def test_constants_that_an_op_refuses() -> None:
    nodes = [const("a", np.ones(2, np.float32)), const("b", np.ones(3, np.float32)), node("m = Mul(a, b)", T=F32)]
    with pytest.raises(ExecutionError, match=r"at node `m` .Mul., whose inputs are constants"):
        FoldConstants().run(graph(nodes), Context(("m",)))
