"""Optimizers, clipping and moving averages: TensorFlow's nodes, slots and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tf1_graphs import differences
from tf1_programs import Program, oracle, run_both, same_error, same_values, seen, tf1

OPTIMIZERS: dict[str, Program] = {
    "GradientDescent": lambda tf: tf.train.GradientDescentOptimizer(0.1),
    "Momentum": lambda tf: tf.train.MomentumOptimizer(0.1, 0.9),
    "Nesterov": lambda tf: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "Adagrad": lambda tf: tf.train.AdagradOptimizer(0.1),
    "Adadelta": lambda tf: tf.train.AdadeltaOptimizer(0.5),
    "RMSProp": lambda tf: tf.train.RMSPropOptimizer(0.1, momentum=0.5),
    "RMSProp centered": lambda tf: tf.train.RMSPropOptimizer(0.1, centered=True),
    "Adam": lambda tf: tf.train.AdamOptimizer(0.1),
    "Adam, named": lambda tf: tf.train.AdamOptimizer(0.1, 0.8, 0.9, 1e-5, use_locking=True, name="Mine"),
    "Ftrl": lambda tf: tf.train.FtrlOptimizer(0.1, l1_regularization_strength=0.01, l2_regularization_strength=0.02),
    "ProximalAdagrad": lambda tf: tf.train.ProximalAdagradOptimizer(0.1, l1_regularization_strength=0.01),
    "ProximalGradientDescent": lambda tf: tf.train.ProximalGradientDescentOptimizer(0.1, 0.01, 0.02),
    "AdagradDA": lambda tf: tf.train.AdagradDAOptimizer(0.1, tf.train.get_or_create_global_step()),
}
ON_PURPOSE = ("grad_a", "grad_b")  # attributes of MatMul that TensorFlow 2 added; no version of 1 knows them
HINTS = (
    "ReadVariableOp",
    "ExponentialMovingAverage",
    "AssignMovingAvg",
)  # where to place nodes; nothing runs differently
NEWER = ("Ftrl", "AdagradDA")  # TensorFlow 2 added inputs that change no number


def _same_but_for_gradients(ours: Any, theirs: Any) -> None:
    """Gradients wait for nothing here: TensorFlow delays them by control inputs, for the sake of memory."""
    lines = [line for line in differences(ours, theirs) if not any(f"attr {a} " in line for a in ON_PURPOSE)]
    lines = [line for line in lines if not ("gradients" in line and (": controls " in line or "attr _class" in line))]
    lines = [line for line in lines if not ("attr _class" in line and any(h in line for h in HINTS))]
    assert not lines, "\n".join(lines)


def _trained(name: str, sparse: bool, resource: bool) -> Program:
    def program(tf: Any) -> Any:
        with tf.variable_scope("model", use_resource=resource):
            w = tf.get_variable("w", [4, 2], initializer=tf.constant_initializer(np.linspace(-1, 1, 8)))
        x = tf.gather(w, [1, 3, 1]) if sparse else tf.multiply(w, 2.0)
        loss = tf.reduce_sum(tf.square(x - 0.3), name="loss")
        optimizer = OPTIMIZERS[name](tf)
        step = tf.train.get_or_create_global_step()
        train = optimizer.minimize(loss, global_step=step)
        slots = {n: optimizer.get_slot(w, n) for n in optimizer.get_slot_names()}
        out: list[Any] = [train.name, train.type, slots, [v.name for v in optimizer.variables()], optimizer.get_name(),
               tf.global_variables(), tf.trainable_variables(), tf.get_collection(tf.GraphKeys.TRAIN_OP)]  # fmt: skip
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            for _ in range(3):
                sess.run(train)
                out += [sess.run(w), sess.run(loss), sess.run(step), [sess.run(v) for v in optimizer.variables()]]
        out.append(tf.get_default_graph().as_graph_def().SerializeToString())
        return out

    return program


@pytest.mark.parametrize("resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_builds_and_gives_what_it_does_in_tensorflow(name: str, sparse: bool, resource: bool) -> None:
    program = _trained(name, sparse, resource)
    with tf1.Graph().as_default():
        *ours, our_graph = program(tf1)
    with oracle.Graph().as_default():
        *theirs, their_graph = program(oracle)
    same_values("result", seen(ours), seen(theirs), 2e-5)
    if name in NEWER:
        return
    _same_but_for_gradients(our_graph, their_graph)


def _session(tf: Any, fetches: Any, steps: Any = (), feeds: Any = None) -> Any:
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for s in steps:
            sess.run(s, feeds)
        return sess.run(fetches, feeds)


def _clipped(tf: Any) -> Any:
    v, w = tf.Variable([1.0, -2.0], name="v"), tf.Variable([[3.0]], name="w")
    loss = tf.reduce_sum(v * v * 10.0) + tf.reduce_sum(w * w)
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    pairs = optimizer.compute_gradients(loss)
    clipped = [(tf.clip_by_norm(g, 1.0), x) for g, x in pairs]
    train = optimizer.apply_gradients(clipped, name="apply")
    grads, norm = tf.clip_by_global_norm([g for g, _ in pairs], 2.0)
    other = tf.train.AdamOptimizer().apply_gradients(zip(grads, [v, w]))  # noqa: B905
    return [train, other, [x for _, x in pairs], _session(tf, [v, w, norm], [train, other])]


def _lists(tf: Any) -> Any:
    v, w, u = (tf.Variable([1.0], name=n) for n in "vwu")
    loss = tf.reduce_sum(v * w)
    optimizer = tf.train.GradientDescentOptimizer(tf.constant(0.5))
    pairs = optimizer.compute_gradients(loss, [v, u])
    train = optimizer.minimize(loss, var_list=[w], name="train")
    return [[(None if g is None else g.name, x) for g, x in pairs], train, _session(tf, [v, w], [train])]


def _learning_rates(tf: Any) -> Any:
    v = tf.Variable([1.0])
    rate = tf.placeholder_with_default(0.5, [])
    step = tf.Variable(0, trainable=False, name="step")
    decayed = tf.train.exponential_decay(0.5, step, 2, 0.9)
    loss = tf.reduce_sum(v * v)
    a = tf.train.GradientDescentOptimizer(rate).minimize(loss, step)
    b = tf.train.MomentumOptimizer(decayed, 0.5).minimize(loss, global_step=step)
    c = tf.train.GradientDescentOptimizer(lambda: 0.25).minimize(loss)
    return [a, b, c, _session(tf, [v, step], [a, b, c], {rate: 0.1})]


def _constrained(resource: bool) -> Program:
    def program(tf: Any) -> Any:
        v = tf.get_variable("v", initializer=tf.constant([1.0, -1.0]), constraint=lambda x: tf.clip_by_value(x, 0.0, 0.5),  # noqa: E501
                            use_resource=resource)  # fmt: skip
        train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(v))
        return [train, _session(tf, v, [train])]

    return program


def _gated(tf: Any) -> Any:
    v, w = tf.Variable([1.0], name="v"), tf.Variable([1.0], name="w")
    y = tf.reduce_sum(v * w)
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    out = [optimizer.compute_gradients(y, gate_gradients=g) for g in (0, 1, 2)]
    out.append(optimizer.compute_gradients(y, colocate_gradients_with_ops=True))
    out.append(optimizer.compute_gradients(y, grad_loss=tf.constant(2.0)))
    return [[x for _, x in pairs] for pairs in out]


def _averages(tf: Any) -> Any:
    v, w = tf.Variable([1.0], name="v"), tf.Variable([2.0], name="w", trainable=False)
    step = tf.train.get_or_create_global_step()
    ema = tf.train.ExponentialMovingAverage(0.9)
    counted = tf.train.ExponentialMovingAverage(0.99, step, name="Counted")
    update = ema.apply([v, w])
    second = counted.apply()
    more = [v.assign_add([1.0]), step.assign_add(1)]
    names = {k: x.name for k, x in ema.variables_to_restore().items()}
    return [
        update,
        second,
        ema.average(v),
        ema.average_name(v),
        ema.average_name(w),
        counted.average(v),
        names,
        sorted(counted.variables_to_restore([v])),
        tf.moving_average_variables(),
        tf.global_variables(),
        _session(
            tf, [ema.average(v), ema.average(w), counted.average(v)], [*more, update, second, *more, update, second]
        ),
    ]


def _tensor_averages(debias: bool) -> Program:
    def program(tf: Any) -> Any:
        x = tf.placeholder_with_default([3.0, 1.0], [2])
        y = tf.identity(x * 2.0, name="loss")
        ema = tf.train.ExponentialMovingAverage(0.9, zero_debias=debias)
        update = ema.apply([y])
        return [update, ema.average(y), ema.average_name(y), tf.global_variables(),
                _session(tf, ema.average(y), [update, update])]  # fmt: skip

    return program


def _steps(tf: Any) -> Any:
    first = tf.train.get_global_step()
    step = tf.train.create_global_step()
    again = tf.train.get_or_create_global_step()
    add = tf.assign_add(step, 5)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(add)
        value = tf.train.global_step(sess, step)
    return [first, step, again is step, tf.train.get_global_step() is step, step.dtype.base_dtype.name, value,
            tf.get_collection(tf.GraphKeys.GLOBAL_STEP), tf.trainable_variables()]  # fmt: skip


def _shared_slots(tf: Any) -> Any:
    with tf.variable_scope("deep"):
        v = tf.get_variable("v", [2], initializer=tf.ones_initializer())
    with tf.name_scope("towers"):
        optimizer = tf.train.AdamOptimizer(name="adam")
        a = optimizer.minimize(tf.reduce_sum(v * v))
        b = optimizer.minimize(tf.reduce_sum(v * 3.0))
    return [a, b, [x.name for x in optimizer.variables()], optimizer.get_slot(v, "m"), optimizer.get_slot(v, "nothing"),
            optimizer.get_slot_names(), _session(tf, v, [a, b])]  # fmt: skip


PROGRAMS: dict[str, Program] = {
    "clipping": _clipped,
    "lists of variables": _lists,
    "learning rates": _learning_rates,
    "constraint": _constrained(False),
    "constraint, resource": _constrained(True),
    "gates": _gated,
    "moving averages": _averages,
    "moving averages of tensors": _tensor_averages(False),
    "moving averages of tensors, debiased": _tensor_averages(True),
    "global step": _steps,
    "optimizer used twice": _shared_slots,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_builds_and_gives_what_it_does_in_tensorflow(name: str) -> None:
    graphs = []

    def program(tf: Any) -> Any:
        result = PROGRAMS[name](tf)
        graphs.append(tf.get_default_graph().as_graph_def())
        return result

    run_both(program, graph=False)
    if name not in OTHER_NODES:
        _same_but_for_gradients(*graphs)


OTHER_NODES = ("learning rates", "moving averages of tensors, debiased")  # as TensorFlow 1 builds them; 2 is different


def _partitioned_program(tf: Any) -> Any:
    table = tf.get_variable(
        "table", [6, 2], partitioner=tf.fixed_size_partitioner(2), initializer=tf.ones_initializer()
    )
    loss = tf.reduce_sum(tf.nn.embedding_lookup(table, [0, 5, 0], partition_strategy="div"))
    optimizer = tf.train.AdagradOptimizer(0.1)
    train = optimizer.minimize(loss)
    slot = [optimizer.get_slot(part, "accumulator") for part in table]
    return [[v.name for v in slot], tf.global_variables(), _session(tf, [table.as_tensor(), *slot], [train, train])]


def test_partitioned_tables_train_with_sparse_updates() -> None:
    run_both(_partitioned_program, graph=False)


def _no_gradients(tf: Any) -> Any:
    v = tf.Variable(1.0)
    return tf.train.GradientDescentOptimizer(0.1).minimize(tf.constant(1.0), var_list=[v])


WRONG: dict[str, tuple[Program, str]] = {
    "no gradients": (_no_gradients, "No gradients provided for any variable"),
    "no variables": (lambda tf: tf.train.AdamOptimizer().minimize(tf.constant(1.0)), "No variables to optimize"),
    "nothing to apply": (lambda tf: tf.train.AdamOptimizer().apply_gradients([]), "No variables provided"),
    "only None": (
        lambda tf: tf.train.AdamOptimizer().apply_gradients([(None, tf.Variable(1.0))]),
        "No gradients provided",
    ),
    "gate": (
        lambda tf: tf.train.AdamOptimizer().compute_gradients(tf.Variable(1.0) * 2, gate_gradients=5),
        "gate_gradients",
    ),
    "no name": (lambda tf: tf.train.Optimizer(False, ""), "name"),
    "integers": (lambda tf: tf.train.AdamOptimizer().minimize(tf.Variable(1) * 2), ""),
    "two global steps": (lambda tf: [tf.train.create_global_step(), tf.train.create_global_step()], "already exists"),
    "averages of integers": (lambda tf: tf.train.ExponentialMovingAverage(0.9).apply([tf.Variable(1)]), ""),
    "string loss": (lambda tf: tf.train.AdamOptimizer().minimize(tf.constant("a"), var_list=[tf.Variable(1.0)]), ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_by_the_same_class_of_error(name: str) -> None:
    same_error(*WRONG[name])


SCHEDULES: dict[str, Program] = {
    "exponential": lambda tf: tf.train.exponential_decay(0.1, _step(tf), 10, 0.5),
    "exponential, staircase": lambda tf: tf.train.exponential_decay(0.1, _step(tf), 10, 0.5, staircase=True, name="lr"),
    "piecewise": lambda tf: tf.train.piecewise_constant(_step(tf), [5, 15], [1.0, 0.5, 0.1]),
    "piecewise, floats": lambda tf: tf.train.piecewise_constant(tf.cast(_step(tf), tf.float32), [5.0, 15.0], [1.0, 0.5, 0.1]),  # noqa: E501
    "polynomial": lambda tf: tf.train.polynomial_decay(0.1, _step(tf), 20, 0.01, power=2.0),
    "polynomial, cycle": lambda tf: tf.train.polynomial_decay(0.1, _step(tf), 7, 0.01, cycle=True),
    "natural_exp": lambda tf: tf.train.natural_exp_decay(0.1, _step(tf), 10, 0.5),
    "natural_exp, staircase": lambda tf: tf.train.natural_exp_decay(0.1, _step(tf), 10, 0.5, staircase=True),
    "inverse_time": lambda tf: tf.train.inverse_time_decay(0.1, _step(tf), 10, 0.5),
    "inverse_time, staircase": lambda tf: tf.train.inverse_time_decay(0.1, _step(tf), 10, 0.5, staircase=True),
    "cosine": lambda tf: tf.train.cosine_decay(0.1, _step(tf), 20, alpha=0.1),
    "cosine, restarts": lambda tf: tf.train.cosine_decay_restarts(0.1, _step(tf), 5),
    "linear cosine": lambda tf: tf.train.linear_cosine_decay(0.1, _step(tf), 20),
    "a tensor": lambda tf: tf.train.exponential_decay(tf.constant(0.1), _step(tf), 10.0, 0.5),
}  # fmt: skip


def _step(tf: Any) -> Any:
    return tf.placeholder(tf.int64, [], name="step")


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_have_tensorflows_numbers(name: str) -> None:
    def program(tf: Any) -> Any:
        rate = SCHEDULES[name](tf)
        with tf.Session() as sess:
            return [rate.dtype.name, rate.shape, [sess.run(rate, {"step:0": s}) for s in (0, 1, 5, 7, 10, 15, 16, 25)]]

    # the nodes of schedules are those of no particular version
    run_both(program, graph=False, rtol=2e-6)
