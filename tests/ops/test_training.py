"""Optimizers held against TensorFlow, three steps each in one session, and whole training graphs."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

import coldframe as cf
from coldframe.graph.signatures import signature
from coldframe.ops import table
from coldframe.runtime.session import Session
from graphs import Case, case, tf1
from op_harness import TOLERANCE

ROWS = np.array([2, 0, 2, 3, 2], np.int32)  # row 2 takes three steps, row 1 none
SHAPE = (5, 3)
SCALARS = {
    "lr": 0.1, "alpha": 0.2, "rho": 0.9, "momentum": 0.8, "epsilon": 1e-2, "beta1": 0.9, "beta2": 0.95, "beta": 0.9,
    "beta1_power": 0.81, "beta2_power": 0.9, "l1": 0.05, "l2": 0.1, "l2_shrinkage": 0.02, "lr_power": -0.5,
    "logbase": 0.5, "sign_decay": 0.7, "global_step": 3,
}  # fmt: skip
SLOTS = {"var", "m", "v", "vhat", "accum", "linear", "accum_update", "gradient_accumulator",
         "gradient_squared_accumulator", "ms", "mg", "mom"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Rule:
    """An update rule under test: its forms, attributes to try, scalars that differ."""

    name: str
    forms: str = "Apply ResourceApply SparseApply ResourceSparseApply"
    flags: tuple[dict[str, bool], ...] = ({},)
    scalars: tuple[dict[str, float], ...] = ({},)

    def variants(self, dtype: str) -> list[tuple[dict[str, bool], dict[str, float]]]:
        """All flags with all scalars for float32; each of them once for the other dtypes."""
        if dtype == "float32":
            return list(itertools.product(self.flags, self.scalars))
        return [(self.flags[-1], self.scalars[0]), (self.flags[0], self.scalars[-1])]


DENSE = "Apply ResourceApply"
NESTEROV = ({}, {"use_nesterov": True})
SLOTTED = ({}, {"update_slots": False})
PENALTIES: tuple[dict[str, float], ...] = ({}, {"l1": 0.0})
LEADER: tuple[dict[str, float], ...] = ({}, {"l1": 0.0, "l2": 0.0}, {"lr_power": -0.7})
BY_LR = ({}, {"multiply_linear_by_lr": True})
RULES = [
    Rule("GradientDescent", DENSE),
    Rule("Momentum", flags=NESTEROV),
    Rule("KerasMomentum", "ResourceApply ResourceSparseApply", NESTEROV),
    Rule("AddSign", DENSE),
    Rule("PowerSign", DENSE),
    Rule("Adam", DENSE, NESTEROV),
    Rule("AdamWithAmsgrad", "ResourceApply"),
    Rule("AdaMax", DENSE),
    Rule("RMSProp"),
    Rule("CenteredRMSProp"),
    Rule("Adagrad", flags=SLOTTED),
    Rule("AdagradV2", flags=SLOTTED),
    Rule("Adadelta"),
    Rule("ProximalGradientDescent", scalars=PENALTIES),
    Rule("ProximalAdagrad", scalars=PENALTIES),
    Rule("AdagradDA", scalars=PENALTIES),
    Rule("Ftrl", flags=BY_LR, scalars=LEADER),
    Rule("FtrlV2", flags=BY_LR, scalars=LEADER),
]


def kernel_dtypes(op: str) -> list[str]:
    """The dtypes that TensorFlow's CPU kernels of `op` take."""
    found = kernels.get_registered_kernels_for_op(op).kernel
    types = {
        c.allowed_values.list.type[0] for k in found if k.device_type == "CPU" for c in k.constraint if c.name == "T"
    }
    return sorted(tf.as_dtype(t).name for t in types)


def start(slot: str, dtype: str, shape: tuple[int, ...] = SHAPE) -> Any:
    """Where a slot starts: apart for each slot, positive except for the variable."""
    rng = np.random.default_rng(len(slot))
    low = -1.0 if slot in ("var", "linear", "gradient_accumulator") else 0.5
    return rng.uniform(low, 1.5, shape).astype(tf.as_dtype(dtype).as_numpy_dtype)


def steps(op: str, tag: str, dtype: str, flags: dict[str, bool], scalars: dict[str, float], fed: Any = ()) -> list[Any]:
    """The variable and its slots after one step of `op`, in the current graph; `fed` are tensors in place of inputs."""
    made: dict[str, Any] = {}
    args: dict[str, Any] = {}
    for a in signature(op).inputs:
        if a.name in SLOTS:
            name = f"{tag}_{a.name}"
            first = tf.constant(start(a.name, dtype))
            made[a.name] = tf1.get_variable(name, initializer=first, use_resource="Resource" in op)
            args[a.name] = made[a.name].handle if "Resource" in op else made[a.name]._variable
        elif a.name in dict(fed):
            args[a.name] = dict(fed)[a.name]
        elif a.name in ("grad", "delta"):
            shape = (len(ROWS), *SHAPE[1:]) if "Sparse" in op else SHAPE
            args[a.name] = tf.constant(start("var", dtype, shape) * start("the gradient", dtype, shape))
        elif a.name == "indices":
            args[a.name] = tf.constant(ROWS)
        else:
            value = {**SCALARS, **scalars}[a.name]
            args[a.name] = tf.constant(value, tf.int64 if a.name == "global_step" else dtype)
    done = getattr(tf.raw_ops, op)(**args, **flags)
    with tf.control_dependencies([done]):
        return [v.read_value() for v in made.values()]


def started(c: Case, values: dict[str, Any]) -> Session:
    session = Session(c.graph)
    session.set_variables(values)
    return session


def agree(got: list[Any], want: list[Any], names: list[str]) -> None:
    for g, w, name in zip(got, want, names, strict=True):
        assert g.dtype == w.dtype, name
        tol = TOLERANCE.get(w.dtype.name, 0) * 2
        wide = np.complex128 if w.dtype.kind == "c" else np.float64
        np.testing.assert_allclose(g.astype(wide), w.astype(wide), rtol=tol, atol=tol, err_msg=name)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_three_steps(rule: Rule) -> None:
    values: dict[str, Any] = {}
    names: list[str] = []

    def build() -> list[Any]:
        out: list[Any] = []
        for form in rule.forms.split():
            for dtype in kernel_dtypes(form + rule.name):
                for flags, scalars in rule.variants(dtype):
                    op, tag = form + rule.name, f"t{len(values)}"
                    out += steps(op, tag, dtype, flags, scalars)
                    slots = [a.name for a in signature(op).inputs if a.name in SLOTS]
                    values.update({f"{tag}_{s}": start(s, dtype) for s in slots})
                    names.extend(f"{op} {dtype} {flags} {scalars} {s}" for s in slots)
        return out

    c = case(build, {}, {}, {})
    session = started(c, values)
    for want in c.answers:
        agree(session.run(c.fetches), want, names)


def test_every_optimizer_is_exercised_here() -> None:
    ours = {n for n, o in table().items() if o.body.__module__ == "coldframe.ops.training"}
    assert ours == {form + r.name for r in RULES for form in r.forms.split()}
    known = [n for n in dir(tf.raw_ops) if re.match("(Resource)?(Sparse)?Apply", n)]
    assert ours == set(known)


REFUSED = {
    "a gradient of another shape": (
        "ResourceApplyMomentum", {"grad": np.ones((2, 3), np.float32)},
        r"the gradient does not fit variable `t_var` at node .*expected \[5, 3\], found \[2, 3\]",
    ),
    "a vector of rates": (
        "ApplyMomentum", {"lr": np.ones(2, np.float32)},
        r"a hyperparameter of `t_var` is a scalar .*found shape \[2\]",
    ),
    "no such row": (
        "SparseApplyMomentum", {"indices": np.array([0, 1, 7, 0, 0], np.int32)},
        r"index 2 of variable `t_var` is out of range .*expected 0 to 4, found 7",
    ),
    "a negative row": ("ResourceSparseApplyFtrl", {"indices": np.array([0, -1, 0, 0, 0], np.int32)}, "found -1"),
    "fewer rows than gradients": (
        "ResourceSparseApplyAdagrad", {"indices": np.array([0], np.int32)},
        r"does not fit variable `t_var`.*expected \[1, 3\], found \[5, 3\]",
    ),
    "indices of a matrix": (
        "ResourceSparseApplyAdagrad", {"indices": np.zeros((5, 1), np.int32)},
        r"indices are a vector.*found shape \[5, 1\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_refusals(why: str) -> None:
    """What is fed in place of an input is refused by both, and no slot has changed."""
    op, wrong, message = REFUSED[why]
    values = {f"t_{a.name}": start(a.name, "float32") for a in signature(op).inputs if a.name in SLOTS}

    def build() -> list[Any]:
        return steps(op, "t", "float32", {}, {}, {k: tf1.placeholder(v.dtype, name=k) for k, v in wrong.items()})

    feeds = {f"{k}:0": v for k, v in wrong.items()}
    with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError)):
        case(build, feeds)
    c = case(build)
    session = started(c, values)
    with pytest.raises(cf.ExecutionError, match=message):
        session.run(c.fetches, feeds)
    for name, value in values.items():
        np.testing.assert_array_equal(session.state.variables[name], value)


def test_a_slot_of_another_shape_is_refused() -> None:
    c = case(lambda: steps("ResourceApplyAdam", "t", "float32", {}, {}))
    session = started(c, {f"t_{s}": start(s, "float32") for s in ("var", "v")})
    session.state.set("t_m", np.ones((3, 5), np.float32))
    message = r"variable `t_var` and its slot `t_m` differ.*expected \[5, 3\], found \[3, 5\]"
    with pytest.raises(cf.ExecutionError, match=message):
        session.run(c.fetches)


def test_a_variable_without_a_value_takes_no_step() -> None:
    c = case(lambda: steps("ResourceApplyAdam", "t", "float32", {}, {}))
    with pytest.raises(cf.ExecutionError, match="variable `t_var` has no value"):
        Session(c.graph).run(c.fetches)


# --- training graphs as TensorFlow's optimizers build them ------------------------------------------------------
def dense_model() -> Any:
    """Two layers and a softmax loss."""
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(16, 6)).astype(np.float32), rng.integers(0, 4, 16)
    w1 = tf1.get_variable("w1", initializer=rng.normal(size=(6, 8)).astype(np.float32) * 0.4)
    b1 = tf1.get_variable("b1", initializer=np.zeros(8, np.float32))
    w2 = tf1.get_variable("w2", initializer=rng.normal(size=(8, 4)).astype(np.float32) * 0.4)
    logits = tf.nn.relu(tf.constant(x) @ w1 + b1) @ w2
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def conv_model() -> Any:
    """A convolution, batch normalization, pooling, a dense layer."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(4, 8, 8, 2)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    k = tf1.get_variable("k", initializer=rng.normal(size=(3, 3, 2, 4)).astype(np.float32) * 0.3)
    gamma = tf1.get_variable("gamma", initializer=np.ones(4, np.float32))
    beta = tf1.get_variable("beta", initializer=np.zeros(4, np.float32))
    w = tf1.get_variable("w", initializer=rng.normal(size=(64, 3)).astype(np.float32) * 0.2)
    h, _, _ = tf1.nn.fused_batch_norm(tf.nn.conv2d(x, k, 1, "SAME"), gamma, beta)
    h = tf.nn.max_pool2d(tf.nn.elu(h), 2, 2, "VALID")
    return tf.reduce_mean(tf.square(tf.reshape(h, [4, 64]) @ w - y))


def embedding_model() -> Any:
    """Rows of a table, some of them twice: sparse gradients."""
    rng = np.random.default_rng(3)
    rows = tf1.get_variable("rows", initializer=rng.normal(size=(10, 4)).astype(np.float32))
    w = tf1.get_variable("w", initializer=rng.normal(size=(4, 1)).astype(np.float32))
    picked = tf.nn.embedding_lookup(rows, np.array([[1, 2], [2, 2], [7, 1]]))
    return tf.reduce_sum(tf.square(tf.reduce_mean(picked, 1) @ w - 1.0))


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "Adam": lambda: tf1.train.AdamOptimizer(0.05),
    "Momentum": lambda: tf1.train.MomentumOptimizer(0.05, 0.9),
    "Nesterov": lambda: tf1.train.MomentumOptimizer(0.05, 0.9, use_nesterov=True),
    "Adagrad": lambda: tf1.train.AdagradOptimizer(0.1),
    "RMSProp": lambda: tf1.train.RMSPropOptimizer(0.01),
    "Ftrl": lambda: tf1.train.FtrlOptimizer(0.1),
    "Descent": lambda: tf1.train.GradientDescentOptimizer(0.1),
}
TRAINED = [
    *[(dense_model, o, r) for o in OPTIMIZERS for r in (False, True)],
    (conv_model, "Adam", True), (conv_model, "Momentum", False),
    *[(embedding_model, o, r) for o in OPTIMIZERS for r in (False, True)],
]  # fmt: skip


@pytest.mark.parametrize(("model", "optimizer", "resources"), TRAINED)
def test_training_goes_as_in_tensorflow(model: Callable[[], Any], optimizer: str, resources: bool) -> None:
    """Five steps of a graph as it was when it was trained: losses and all variables, slots too, agree at each step."""
    names: list[str] = []

    def build() -> list[Any]:
        with tf1.variable_scope("", use_resource=resources):
            step = tf1.train.create_global_step()
            loss = model()
            train = OPTIMIZERS[optimizer]().minimize(loss, global_step=step)
            with tf.control_dependencies([train]):
                after = [v.read_value() for v in tf1.global_variables()]
            names.extend(["loss", *(v.op.name for v in tf1.global_variables())])
            return [loss, *after]

    graph_variables: dict[str, Any] = {}

    def build_and_start() -> list[Any]:
        out = build()
        with tf1.Session() as session:
            session.run(tf1.global_variables_initializer())
            graph_variables.update({v.op.name: session.run(v) for v in tf1.global_variables()})
        return out

    c = case(build_and_start, *[{}] * 5)
    session = started(c, graph_variables)
    for want in c.answers:
        agree(session.run(c.fetches), want, names)
    assert c.answers[-1][0] != c.answers[0][0]
