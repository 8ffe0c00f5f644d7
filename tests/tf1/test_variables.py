"""Variables, and the scopes that make and share them: graphs, values and errors as TensorFlow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tf1_programs import Program, oracle, run_both, same_error, tf1


def _run(tf: Any, *fetches: Any, init: bool = True, feeds: Any = None) -> list[Any]:
    """Return the values of fetches, one run for each, after initialization."""
    with tf.Session() as sess:
        if init:
            sess.run([v.initializer for v in [*tf.global_variables(), *tf.local_variables()]])
        return [sess.run(f, feeds) for f in fetches]


def _plain(tf: Any) -> Any:
    v = tf.Variable([[1.0, 2.0]], name="v")
    w = tf.Variable(3)
    b = tf.Variable(tf.zeros([2, 3]), name="b", trainable=False, dtype=tf.float32)
    c = tf.Variable(lambda: tf.ones([2]), name="called")
    d = tf.Variable(1, dtype=tf.float32, collections=["mine"])
    y = tf.matmul(b, tf.ones([3, 2])) + v
    lists = [tf.global_variables(), tf.trainable_variables(), tf.get_collection("mine"), tf.local_variables()]
    return [v, w, b, c, v.op.name, v.shape, v.get_shape(), w.initial_value, v.initializer, v.value(), lists, y, v.op.type,  # noqa: E501
            d.op.name, v.graph is tf.get_default_graph(), v.trainable, v.device, v.eval is not None,
            *_run(tf, v, w, c, y, [v, w], {"a": b})]  # fmt: skip


def _resource(tf: Any) -> Any:
    v = tf.Variable([[1.0, 2.0]], name="v", use_resource=True)
    c = tf.Variable(lambda: tf.ones([2]), name="called", use_resource=True)
    w = tf.get_variable("w", [2], use_resource=True, initializer=tf.zeros_initializer())
    y = v + 1.0
    z = tf.matmul(v, tf.transpose(v))
    return [v, v.op.name, v.op.type, v.shape, y, v.handle.name, v.initializer, v.initial_value, v.is_initialized(),
            *_run(tf, v, c, w, y, z)]  # fmt: skip


def _assigns(resource: bool) -> Program:
    def program(tf: Any) -> Any:
        v = tf.Variable([1.0, 2.0], name="v", use_resource=resource)
        ops = [v.assign([3.0, 4.0]), v.assign_add([1.0, 1.0], name="more"), v.assign_sub([0.5, 0.5]),
               tf.assign(v, [5.0, 6.0]), tf.assign_add(v, [1.0, 1.0]), tf.assign_sub(v, [1.0, 2.0]),
               v.assign([7.0, 8.0], read_value=False), tf.assign(v, [0.0, 1.0], name="named"),
               tf.assign(v, [0.0, 1.0], use_locking=False)]  # fmt: skip
        i = tf.Variable(0, name="i", use_resource=resource)
        ops += [i.assign_add(1), tf.assign_add(i, 2)]
        return _run(tf, *[o for op in ops for o in (op, v, i)])

    return program


def _scatters(resource: bool) -> Program:
    def program(tf: Any) -> Any:
        v = tf.Variable(np.arange(8, dtype=np.float32).reshape(4, 2), name="v", use_resource=resource)
        rows, updates = [0, 2], [[1.0, 2.0], [3.0, 4.0]]
        names = [
            "scatter_update",
            "scatter_add",
            "scatter_sub",
            "scatter_mul",
            "scatter_div",
            "scatter_min",
            "scatter_max",
        ]
        ops = [getattr(tf, n)(v, rows, updates) for n in names]
        ops += [tf.scatter_nd_update(v, [[1], [3]], updates), tf.scatter_nd_add(v, [[1, 0]], [5.0]),
                tf.scatter_nd_sub(v, [[1, 0]], [5.0])]  # fmt: skip
        slices = tf.IndexedSlices(tf.constant(updates), tf.constant([1, 1]))
        ops += [v.scatter_add(slices), v.scatter_sub(slices), v.scatter_update(slices)]
        ops += [tf.gather(v, rows), v[1]]
        return _run(tf, *[o for op in ops for o in (op, v)])

    return program


def _scopes(tf: Any) -> Any:
    out = []
    with tf.variable_scope("a") as a:
        v = tf.get_variable("v", [2])
        out += [v, a.name, a.original_name_scope, a.reuse]
        with tf.variable_scope("b", reuse=tf.AUTO_REUSE) as b:
            out += [tf.get_variable("v", [3]), tf.get_variable("v", [3]), b.name, b.original_name_scope]
            out.append(tf.constant(1))
        with tf.name_scope("n"):
            out += [tf.get_variable("in_n", [1]), tf.constant(1), tf.Variable(1.0)]
    with tf.variable_scope("a", reuse=True) as again:
        out += [tf.get_variable("v"), tf.get_variable("v", [2]) is v, again.original_name_scope, tf.constant(1)]
    with tf.variable_scope(a, reuse=True) as third:
        out += [tf.get_variable("v") is v, third.original_name_scope, third.name, tf.constant(2)]
        with tf.variable_scope("b"):
            out.append(tf.get_variable("v"))
    with tf.variable_scope(a, auxiliary_name_scope=False):
        out.append(tf.constant(3))
    with tf.variable_scope("c", auxiliary_name_scope=False) as c:
        out += [tf.constant(3), c.original_name_scope]
    with tf.variable_scope("reusing") as scope:
        x = tf.get_variable("x", [1])
        scope.reuse_variables()
        out += [tf.get_variable("x", [1]) is x, scope.reuse]
        tf.get_variable_scope().reuse_variables()
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        out.append(tf.get_variable("root", [1]))
    out += [tf.get_variable_scope().name, tf.get_variable_scope().reuse]
    return [*out, tf.global_variables(), tf.trainable_variables("a"), a.global_variables(), a.trainable_variables()]


def _defaults(tf: Any) -> Any:
    out = []
    for _ in range(3):
        with tf.variable_scope(None, default_name="layer") as s:
            out += [s.name, tf.get_variable("w", [1]), tf.constant(1)]
    with tf.variable_scope("outer"):
        for _ in range(2):
            with tf.variable_scope(None, "layer", [tf.constant(1)]) as s:
                out += [s.name, tf.get_variable("w", [1]), tf.identity(1)]
    with tf.variable_scope("outer") as s, tf.variable_scope(None, "layer") as t:
        out += [t.name, t.original_name_scope]
    with tf.variable_op_scope([], None, "op_scope") as s:
        out.append(s.name)
    with tf.variable_scope("layer_5"), tf.variable_scope("deep/er") as s:
        out += [s.name, tf.get_variable("w", [1])]
    return out


def _inherited(tf: Any) -> Any:
    def double(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return getter(f"{name}_got", *args, **kwargs) * 2.0

    def logged(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        seen.append(f"{name} {kwargs['dtype']!s} {kwargs['shape']} {kwargs['trainable']} {kwargs['reuse']}")
        return getter(name, *args, **kwargs)

    seen: list[str] = []
    out = []
    with tf.variable_scope(
        "a",
        initializer=tf.constant_initializer(3.0),
        regularizer=lambda v: tf.reduce_sum(v, name="reg"),
        dtype=tf.float64,
    ):
        v = tf.get_variable("v", [2])
        with tf.variable_scope("b", custom_getter=double):
            out.append(tf.get_variable("w", [2]))
            with tf.variable_scope("c", custom_getter=logged):
                out.append(tf.get_variable("x", [2], tf.float32, regularizer=None))
        u = tf.get_variable("u", [1], initializer=tf.zeros_initializer(), trainable=False)
        out += [v, u, v.dtype.base_dtype.name]
    with tf.variable_scope("r", use_resource=True):
        out.append(tf.get_variable("v", [1]).op.type)
        out.append(tf.Variable(1.0).op.type)
        with tf.variable_scope("s"):
            out.append(tf.get_variable("v", [1]).op.type)
    losses = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    return [
        *out,
        losses,
        len(seen),
        *_run(tf, v, u, *losses),
    ]


def _given_values(tf: Any) -> Any:
    a = tf.get_variable("a", initializer=tf.constant([1.0, 2.0]))
    b = tf.get_variable("b", initializer=np.array([1.0, 2.0, 3.0], np.float32))
    c = tf.get_variable("c", initializer=3.0)
    d = tf.get_variable("d", initializer=np.ones((2, 2), np.float32))
    e = tf.get_variable("e", [2], tf.int64)
    f = tf.get_variable("f", [2], tf.bool)
    g = tf.get_variable("g", [2, 3], initializer=tf.zeros_initializer)
    h = tf.get_variable("h", initializer=lambda: tf.ones([2]))
    i = tf.get_variable("i", [], tf.string)
    j = tf.get_variable("j", [2], initializer=lambda shape, dtype=None, partition_info=None: tf.ones(shape, dtype))
    return [*_run(tf, a, b, c, d, e, f, g, h, i, j), [v.shape for v in (a, b, c, d)]]


def _local(tf: Any) -> Any:
    a = tf.get_local_variable("a", [2], initializer=tf.ones_initializer())
    b = tf.Variable(1.0, collections=[tf.GraphKeys.LOCAL_VARIABLES], trainable=False, name="b")
    with tf.variable_scope("s", reuse=tf.AUTO_REUSE):
        c = tf.get_local_variable("c", [1])
    return [a, b, c, tf.local_variables(), tf.global_variables(), tf.trainable_variables(), *_run(tf, a, b)]


def _initialized(tf: Any) -> Any:
    v = tf.Variable([1.0, 2.0], name="v")
    w = tf.Variable(v.initialized_value() * 2.0, name="w")
    r = tf.Variable(tf.ones([1]), name="r", use_resource=True)
    init = tf.global_variables_initializer()
    report = tf.report_uninitialized_variables()
    some = tf.variables_initializer([v], name="some")
    ready = tf.is_variable_initialized(v)
    with tf.Session() as sess:
        out = [sorted(sess.run(report).tolist()), sess.run(ready)]
        sess.run(some)
        out += [sorted(sess.run(report).tolist()), sess.run(ready)]
        sess.run(init)
        out += [sorted(sess.run(report).tolist()), *sess.run([w, v, r])]
    return [init, some, report, tf.local_variables_initializer(), *out]


def _loading(tf: Any) -> Any:
    v = tf.Variable([1.0, 2.0], name="v")
    r = tf.Variable([1.0, 2.0], use_resource=True)
    with tf.Session() as sess:
        v.load([5.0, 6.0], sess)
        r.load(np.array([7.0, 8.0], np.float32))
        return [sess.run(v), v.eval(), v.eval(sess), r.eval(), v.initialized_value().eval()]


def _counting(tf: Any) -> Any:
    v = tf.Variable(0, trainable=False)
    n = v.count_up_to(2)
    with tf.Session() as sess:
        sess.run(v.initializer)
        out = [sess.run(n), sess.run(n), sess.run(v)]
        try:
            sess.run(n)
        except tf.errors.OutOfRangeError:
            out.append("end")
    return out


def _templates(tf: Any) -> Any:
    def scaled(x: Any, name: str) -> Any:
        return x * tf.get_variable(name, [], initializer=tf.ones_initializer())

    t = tf.make_template("scale", scaled, name="factor")
    u = tf.make_template("scale", scaled, name="factor")
    n = tf.make_template("now", scaled, create_scope_now_=True, name="v")
    x = tf.constant(2.0)
    out = [t(x), t(x), u(x), n(x)]
    with tf.variable_scope("inside"):
        out += [t(x), tf.make_template("t", scaled, unique_name_="uniq", name="z")(x)]
    return [*out, tf.global_variables(), t.variables, t.trainable_variables, t.name]


def _partitioned(tf: Any) -> Any:
    fixed = tf.fixed_size_partitioner(3)
    p = tf.get_variable("p", [7, 2], partitioner=fixed, initializer=tf.constant_initializer(2.0))
    with tf.variable_scope("s", partitioner=tf.min_max_variable_partitioner(2, min_slice_size=8)):
        q = tf.get_variable("q", [4, 2], initializer=tf.ones_initializer())
        one = tf.get_variable("one", [1], initializer=tf.ones_initializer())
    with tf.variable_scope("s", partitioner=tf.min_max_variable_partitioner(2, min_slice_size=8), reuse=True):
        same = tf.get_variable("q", [4, 2]) is q
    w = tf.get_variable(
        "w", [3, 5], partitioner=tf.fixed_size_partitioner(2, axis=1), initializer=tf.zeros_initializer()
    )
    v = tf.get_variable("v", [8], partitioner=tf.variable_axis_size_partitioner(8), initializer=tf.zeros_initializer())
    value = tf.convert_to_tensor(p)
    y = value + 1.0
    z = tf.matmul(value, tf.ones([2, 1]))
    out = [p.name, p.shape, p.dtype.base_dtype, [x.name for x in p], [x.shape for x in p], len(list(q)), same, type(one).__name__ ==  # noqa: E501
           type(q).__name__, [x.shape for x in w], [x.shape for x in v], p.as_tensor(), y, z, tf.trainable_variables()]  # fmt: skip  # noqa: E501
    infos = [x._get_save_slice_info().spec for x in [*p, *w]]
    parts = [fixed(tf.TensorShape([2, 3])), tf.variable_axis_size_partitioner(16)(shape=tf.TensorShape([5, 3]), dtype=tf.  # noqa: E501
             float32), tf.min_max_variable_partitioner(5, 0, 16)(shape=tf.TensorShape([10, 3]), dtype=tf.float64)]  # fmt: skip  # noqa: E501
    return [*out, infos, parts, *_run(tf, y, z, q.as_tensor(), w.as_tensor())]


def _protos(tf: Any) -> Any:
    with tf.name_scope("scope"):
        v = tf.Variable([1.0], name="v")
        r = tf.Variable([1.0], name="r", use_resource=True)
    a, b = tf.Variable.from_proto(v.to_proto()), r
    part = v.to_proto(export_scope="scope")
    return [a, b, str(v.to_proto()).strip(), part.variable_name, v.to_proto("other"), a.initializer, a.value(), b.op.type,  # noqa: E501
            *_run(tf, a, b)]  # fmt: skip


def _constraint(tf: Any) -> Any:
    v = tf.get_variable("v", [2], constraint=lambda x: tf.clip_by_value(x, 0.0, 1.0), initializer=tf.ones_initializer())
    return [v.constraint is not None, v]


def _reading(tf: Any) -> Any:
    v = tf.Variable(1.0, name="v")
    r = tf.Variable(1.0, name="r", use_resource=True)
    with tf.control_dependencies([v.assign_add(1.0), r.assign_add(1.0)]):
        out = [v.read_value(), r.read_value(), tf.identity(r), v.value(), tf.identity(v), r.value()]
    out += [
        v + v,
        -v,
        v * 2.0,
        2.0 * v,
        v[None],
        r[None],
        abs(v),
        v > 0.5,
        r / 2.0,
        v**2,
        tf.stack([v, v]),
        tf.stack([r, 1.0]),
    ]
    return [*out, *_run(tf, *out[:3])]


def _unshaped(tf: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 2])
    v = tf.Variable(x, validate_shape=False, name="v")
    with tf.Session() as sess:
        sess.run(v.initializer, {x: np.ones((3, 2))})
        return [v.shape, sess.run(v), sess.run(tf.assign(v, np.zeros((1, 2), np.float32), validate_shape=False))]


PROGRAMS: dict[str, Program] = {
    "plain": _plain,
    "resource": _resource,
    "assigning": _assigns(False),
    "assigning, resource": _assigns(True),
    "scattering": _scatters(False),
    "scattering, resource": _scatters(True),
    "scopes": _scopes,
    "default names": _defaults,
    "given values": _given_values,
    "local": _local,
    "initialized": _initialized,
    "loading": _loading,
    "counting": _counting,
    "templates": _templates,
    "partitioned": _partitioned,
    "protos": _protos,
    "constraint": _constraint,
    "reading": _reading,
    "unshaped": _unshaped,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_builds_and_gives_what_it_does_in_tensorflow(name: str) -> None:
    run_both(PROGRAMS[name])


def test_settings_of_scopes_are_inherited() -> None:
    # TensorFlow 2 calls regularizers twice; 1.15 did not
    run_both(_inherited, graph=False)


INITIALIZERS: dict[str, Program] = {
    "default": lambda tf: None,
    "zeros": lambda tf: tf.zeros_initializer(),
    "ones": lambda tf: tf.ones_initializer(),
    "constant": lambda tf: tf.constant_initializer(2.5),
    "constant list": lambda tf: tf.constant_initializer(np.arange(24)),
    "uniform": lambda tf: tf.random_uniform_initializer(-0.1, 0.1, seed=1),
    "uniform, defaults": lambda tf: tf.random_uniform_initializer(seed=1),
    "normal": lambda tf: tf.random_normal_initializer(0.5, 0.1, seed=1),
    "truncated": lambda tf: tf.truncated_normal_initializer(stddev=0.1, seed=1),
    "unit scaling": lambda tf: tf.uniform_unit_scaling_initializer(1.5, seed=1),
    "variance": lambda tf: tf.variance_scaling_initializer(seed=1),
    "variance, fan_out": lambda tf: tf.variance_scaling_initializer(2.0, "fan_out", "uniform", seed=1),
    "variance, fan_avg": lambda tf: tf.variance_scaling_initializer(2.0, "fan_avg", "untruncated_normal", seed=1),
    "orthogonal": lambda tf: tf.orthogonal_initializer(0.5, seed=1),
    "glorot uniform": lambda tf: tf.glorot_uniform_initializer(seed=1),
    "glorot normal": lambda tf: tf.glorot_normal_initializer(seed=1),
    "he normal": lambda tf: tf.initializers.he_normal(seed=1),
    "he uniform": lambda tf: tf.initializers.he_uniform(seed=1),
    "lecun normal": lambda tf: tf.initializers.lecun_normal(seed=1),
    "lecun uniform": lambda tf: tf.initializers.lecun_uniform(seed=1),
    "a class": lambda tf: tf.truncated_normal_initializer,
}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializers_give_tensorflows_nodes_and_numbers(name: str) -> None:
    def program(tf: Any) -> Any:
        tf.set_random_seed(5)
        with tf.variable_scope("s"):
            v = tf.get_variable("v", [4, 6], initializer=INITIALIZERS[name](tf))
        return _run(tf, v)

    # the last digits of a QR decomposition are LAPACK's
    run_both(program, rtol=1e-5)


@pytest.mark.parametrize("shape", [[5], [3, 3, 2, 4], []])
def test_fans_of_other_ranks_are_tensorflows(shape: list[int]) -> None:
    def program(tf: Any) -> Any:
        v = tf.get_variable("v", shape, initializer=tf.glorot_uniform_initializer(seed=3))
        w = tf.get_variable("w", shape, initializer=tf.initializers.he_normal(seed=3), dtype=tf.float64)
        return _run(tf, v, w)

    run_both(program)


def _twice(tf: Any) -> Any:
    tf.get_variable("v", [1])
    return tf.get_variable("v", [1])


def _reused(**kwargs: Any) -> Program:
    def program(tf: Any) -> Any:
        with tf.variable_scope("s"):
            tf.get_variable("v", [1])
        with tf.variable_scope("s", reuse=True):
            return tf.get_variable(**kwargs)

    return program


WRONG: dict[str, tuple[Program, str]] = {
    "twice": (_twice, "Variable v already exists, disallowed. Did you mean to set reuse=True or reuse=tf.AUTO_REUSE"),
    "reuse of nothing": (_reused(name="w", shape=[1]), "Variable s/w does not exist, or was not created with tf.get_variable()"),  # noqa: E501
    "reuse, other shape": (_reused(name="v", shape=[2]), "Trying to share variable s/v, but specified shape (2,) and found shape (1,)"),  # noqa: E501
    "reuse, other dtype": (_reused(name="v", shape=[1], dtype="float64"), "Trying to share variable s/v, but specified dtype float64"),  # noqa: E501
    "no shape": (lambda tf: tf.get_variable("v"), "must be fully defined"),
    "open shape": (lambda tf: tf.get_variable("v", [None, 2]), "must be fully defined"),
    "value and shape": (lambda tf: tf.get_variable("v", [1], initializer=tf.constant([1.0])), "If initializer is a constant"),  # noqa: E501
    "value and dtype": (lambda tf: tf.get_variable("v", dtype="float32", initializer=0), "Initializer type '<dtype: 'int32'>' and explicit dtype '<dtype: 'float32'>' don't match."),  # noqa: E501
    "no first value": (lambda tf: tf.Variable(), "initial_value must be specified."),
    "unknown shape": (lambda tf: tf.Variable(tf.placeholder(tf.float32)), "must have a shape specified"),
    "collections": (lambda tf: tf.Variable(1.0, collections="a"), "must be a list"),
    "iterating": (lambda tf: list(tf.Variable([1.0, 2.0])), "not iterable"),
    "assigned another shape": (lambda tf: tf.Variable([1.0]).assign([1.0, 2.0]), ""),
    "assigned another dtype": (lambda tf: tf.Variable([1.0]).assign(tf.constant([1])), ""),
    "resource, another shape": (lambda tf: tf.Variable([1.0], use_resource=True).assign([1.0, 2.0]), ""),
    "no name": (lambda tf: tf.variable_scope(None).__enter__(), "If default_name is None then name_or_scope is required"),  # noqa: E501
    "scatter of a tensor": (lambda tf: tf.Variable([1.0]).scatter_add(3), "IndexedSlices"),
    "partitions": (lambda tf: tf.get_variable("v", [2, 2], partitioner=lambda **_: [2, 2]), ""),
    "not a scope": (lambda tf: tf.variable_scope(3).__enter__(), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_by_the_same_class_of_error(name: str) -> None:
    same_error(*WRONG[name])


def test_uninitialized_variables_fail_with_their_name() -> None:
    with tf1.Graph().as_default(), tf1.Session() as sess:
        v = tf1.Variable([1.0], name="weights")
        r = tf1.Variable([1.0], name="handled", use_resource=True)
        with pytest.raises(tf1.errors.FailedPreconditionError, match="variable `weights` has no value"):
            sess.run(v)
        with pytest.raises(tf1.errors.FailedPreconditionError, match="handled"):
            sess.run(r + 1.0)


def test_variables_of_exports_load_in_tensorflow() -> None:
    with tf1.Graph().as_default() as g:
        with tf1.variable_scope("s"):
            v = tf1.get_variable("v", [2], initializer=tf1.ones_initializer())
            r = tf1.get_variable("r", [2], initializer=tf1.ones_initializer(), use_resource=True)
        r.value()
        protos = [v.to_proto().SerializeToString()]
        tf1.global_variables_initializer()
    with oracle.Graph().as_default(), oracle.Session() as sess:
        oracle.import_graph_def(oracle.GraphDef.FromString(g.as_graph_def().SerializeToString()), name="")
        from tensorflow.core.framework.variable_pb2 import VariableDef

        for data in protos:
            variable = oracle.Variable.from_proto(VariableDef.FromString(data))
            sess.run(variable.initializer)
            np.testing.assert_array_equal(sess.run(variable), [1, 1])
        sess.run("init")
        np.testing.assert_array_equal(sess.run("ReadVariableOp:0"), [1, 1])


def test_a_value_decides_the_dtype() -> None:
    def program(tf: Any) -> Any:
        values = (0, 0.5, [1, 2], np.int64(3), np.zeros(2), True, "x")
        with tf.variable_scope("s", dtype=tf.float64):
            found = [tf.get_variable(f"v{i}", initializer=value) for i, value in enumerate(values)]
            found.append(tf.get_variable("same", dtype=tf.int32, initializer=1))
        return [[v.dtype.base_dtype.name for v in found], *_run(tf, *found)]

    run_both(program)
