"""Graphs, names, scopes and constants: as TensorFlow builds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tf1_programs import Program, oracle, raised, run_both, same_error, tf1


def _x(tf: Any, *dims: int | None, dtype: str = "float32", name: str | None = None) -> Any:
    return tf.placeholder(getattr(tf, dtype), dims, name)


def _scopes_again(tf: Any) -> Any:
    with tf.name_scope("a") as a:
        tf.constant(1, name="c")
        with tf.name_scope("b") as b:
            tf.constant(1, name="c")
            with tf.name_scope(a):
                tf.constant(1, name="c")
            with tf.name_scope(None):
                tf.constant(1, name="c")
        with tf.name_scope("b") as b2:
            tf.constant(1)
    with tf.name_scope("A") as upper:
        tf.constant(1)
    with tf.name_scope("a/") as slash:
        tf.constant(2)
    with tf.name_scope("") as root:
        tf.constant(3)
    with tf.name_scope("x/y/z") as deep:
        tf.constant(3)
    with tf.name_scope("x") as after:
        tf.constant(3)
    return [a, b, b2, upper, slash, root, deep, after]


def _unique(tf: Any) -> Any:
    g = tf.get_default_graph()
    names = [g.unique_name(n) for n in ("foo", "Foo", "FOO", "foo_1", "foo", "foo_2", "bar_1", "bar", "bar", "bar")]
    with tf.name_scope("foo"):
        names += [g.unique_name("foo"), g.unique_name("foo"), g.unique_name("x", mark_as_used=False)]
    return [*names, g.get_name_scope(), g.unique_name("x", mark_as_used=False), g.unique_name("x")]


def _scope_forms(tf: Any) -> Any:
    x = _x(tf, 2)
    with tf.name_scope(None, "dense", [x]) as first:
        y = tf.identity(x, name="out")
    with tf.name_scope("given", "dense", [x]) as second:
        z = tf.identity(y)
    with tf.name_scope(name="n", default_name="d", values=[x]) as third:
        pass
    with tf.get_default_graph().name_scope("g") as fourth:
        pass
    return [first, second, third, fourth, y, z]


def _controls(tf: Any) -> Any:
    a, b, c = (tf.constant(i, name=n) for i, n in enumerate("abc"))
    with tf.control_dependencies([a]):
        d = tf.identity(b, name="d")
        e = tf.identity(d, name="e")  # d waits already
        with tf.control_dependencies([c.op, "b"]):
            tf.constant(5, name="f")
            tf.add(d, c, name="g")
        with tf.control_dependencies(None):
            tf.constant(6, name="h")
            with tf.control_dependencies([e]):
                tf.constant(7, name="i")
        tf.identity(a, name="j")
        with tf.control_dependencies([]):
            tf.no_op(name="k")
    with tf.control_dependencies([tf.IndexedSlices(a, b), tf.group(a, b, name="both")]):
        tf.no_op()
    return [o.name for o in d.op.control_inputs]


def _groups(tf: Any) -> Any:
    a, b = tf.constant(1), tf.constant(2)
    with tf.device("/cpu:0"):
        c = tf.constant(3)
    with tf.device("/device:GPU:1"):
        d = tf.constant(3)
    tf.group(a, b)
    tf.group(a, c, d, name="mixed")
    tf.group([a, [b]], name="nested")
    tf.group(name="none")
    tf.tuple([a, None, b], name="t")
    tf.tuple([a, b], control_inputs=[c])
    return tf.identity(a).device


def _devices(tf: Any) -> Any:
    made = [tf.constant(1)]
    with tf.device("/job:ps/task:1"):
        made.append(tf.constant(1))
        with tf.device("/gpu:0"):
            made.append(tf.constant(1))
            with tf.device("/cpu:0"):
                made.append(tf.constant(1))
            with tf.device(None):
                made.append(tf.constant(1))
        with tf.device(lambda op: "/device:CPU:7" if op.type == "Const" else op.device):
            made += [tf.constant(1), tf.no_op()]
    with tf.device(tf.DeviceSpec(job="worker", device_type="GPU", device_index=3)):
        made.append(tf.constant(1))
        with tf.colocate_with(made[1]):
            made.append(tf.constant(4))
    return [m.device for m in made]


def _colocation(tf: Any) -> Any:
    a = tf.constant(1, name="a")
    with tf.colocate_with(a):
        b = tf.constant(1, name="b")
        with tf.colocate_with(b):
            tf.constant(1, name="c")
        with tf.colocate_with(b, ignore_existing=True):
            tf.constant(1, name="d")
        other = tf.constant(2, name="e")
        with tf.get_default_graph().colocate_with(None, True):
            tf.constant(1, name="f")
    with tf.colocate_with(other.op):
        g = tf.constant(1, name="g")
    return [g.op.colocation_groups(), a.op.colocation_groups()]


def _operators(tf: Any) -> Any:
    x, y = _x(tf, 2, 2, name="x"), _x(tf, 2, 2, name="y")
    i, b = _x(tf, 2, dtype="int32", name="i"), _x(tf, 2, dtype="bool", name="b")
    out = [x + y, x - y, x * y, x / y, x // y, x % y, x**y, x @ y, -x, abs(x), x < y, x <= y, x > y, x >= y]
    out += [x + 1, 1 + x, x - 1, 1 - x, x * 2.0, 2.0 * x, x / 2, 2 / x, x // 2, 2 // x, x % 2, 2 % x, x**2, 2**x]
    out += [i + 1, i / 2, 2 / i, i // 2, i % 2, -i, i**2, i > 1, i < 1, abs(i), i == i]
    out += [b & b, b | b, b ^ b, ~b, b & True, True | b, i & 3, i | 1]
    out += [x + [[1, 2], [3, 4]], np.ones((2, 2), np.float32) * x, x * np.float32(3), x @ np.ones((2, 2), np.float32)]  # noqa: RUF005
    return [o for o in out if not isinstance(o, bool)]


def _slices(tf: Any) -> Any:
    x, i = _x(tf, 4, 5, 6, name="x"), _x(tf, dtype="int32", name="i")
    j = _x(tf, dtype="int64", name="j")
    out = [x[0], x[-1], x[1:], x[:2], x[1:3], x[::2], x[::-1], x[:, 1], x[..., 0], x[0, ..., 1:2], x[None], x[:, None]]
    out += [x[tf.newaxis, 1, ..., tf.newaxis, 2:], x[i], x[i:], x[: i + 1, 2], x[j], x[i:j], x[0][1], x[1, 2, 3]]
    out += [x[np.int64(2)], x[1:-1, :-2, ::3], x[:], x[...], x[x.shape[0].value - 1]]
    return [*out, *(o.shape for o in out)]


def _collections(tf: Any) -> Any:
    g = tf.get_default_graph()
    with tf.name_scope("s"):
        a = tf.constant(1, name="a")
    b = tf.constant(2, name="s_b")
    for item in (a, b, "plain", 3):
        tf.add_to_collection("things", item)
    tf.add_to_collections(["things", "others"], b)
    ref = tf.get_collection_ref("refs")
    ref.append(7)
    g.clear_collection("others")
    return [tf.get_collection("things"), tf.get_collection("things", "s"), tf.get_collection("things", scope="s/"),
            tf.get_collection("refs"), tf.get_collection("nothing"), tf.get_collection("others"),
            sorted(g.get_all_collection_keys())]  # fmt: skip


def _looking_up(tf: Any) -> Any:
    x = _x(tf, 2, name="in/x")
    g = tf.get_default_graph()
    y = tf.split(tf.identity(x), 2)[1]
    return [g.get_tensor_by_name("in/x:0"), g.get_operation_by_name("in/x"), g.as_graph_element("in/x"),
            g.as_graph_element("in/x:0"), g.as_graph_element(x), y, y.op.name, y.value_index, y.op.type,
            [i.name for i in y.op.inputs], [c.name for c in x.consumers()], y.op.get_attr("num_split"),
            y.op.node_def.op, len(g.get_operations()), g.version, x.op.get_attr("shape"), y.op.get_attr("T"),
            g.is_feedable(x), g.is_fetchable(x), x.op.values()[0].name]  # fmt: skip


def _no_graph_stack(tf: Any) -> Any:
    base = tf.get_default_graph()
    inner = tf.Graph()
    seen = [tf.get_default_graph() is base]
    with inner.as_default() as g:
        seen += [g is inner, tf.get_default_graph() is inner]
        tf.constant(1)
        with base.as_default():
            tf.constant(2, name="outside")
            seen.append(tf.get_default_graph() is base)
        seen.append(tf.get_default_graph() is inner)
    return [*seen, tf.get_default_graph() is base, [o.name for o in inner.get_operations()]]


def _seeds(tf: Any) -> Any:
    a = tf.random_uniform([2])
    b = tf.random_uniform([2], seed=3)
    tf.set_random_seed(7)
    c = tf.random_uniform([2])
    d = tf.random_uniform([2], seed=0)
    tf.set_random_seed(0)
    e = tf.random_normal([2], seed=0)
    out = [tf.get_seed(None)[0], tf.get_seed(5), a, b, c, d, e]
    with tf.Graph().as_default():
        out.append(tf.get_seed(None))
    return out


def _map_gradient(tf: Any) -> Any:
    with tf.get_default_graph().gradient_override_map({"Tanh": "Other"}):
        tf.tanh(_x(tf, 2))
    return tf.tanh(_x(tf, 2))


PROGRAMS: dict[str, Program] = {
    "scopes again": _scopes_again,
    "unique names": _unique,
    "forms of scopes": _scope_forms,
    "control dependencies": _controls,
    "groups": _groups,
    "devices": _devices,
    "colocation": _colocation,
    "operators": _operators,
    "slices": _slices,
    "collections": _collections,
    "looking up": _looking_up,
    "default graphs": _no_graph_stack,
    "seeds": _seeds,
    "gradient_override_map": _map_gradient,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_builds_what_tensorflow_builds(name: str) -> None:
    run_both(PROGRAMS[name])


VALUES: dict[str, Any] = {
    "int": 3, "float": 1.5, "bool": True, "text": "abc", "bytes": b"\xff", "complex": 1 + 2j, "large int": 2**40,
    "list": [1, 2], "mixed": [1, 2.5], "nested": [[1, 2], [3, 4]], "empty": [], "empty rows": [[], []],
    "tuple": (1.0, 2.0), "bools": [True, False], "texts": ["a", "bc"], "int8": np.int8(3), "float64": np.float64(3),
    "array": np.arange(6.0).reshape(2, 3), "int array": np.arange(3), "half": np.float16(1), "list of arrays":
    [np.float32(1), np.float32(2)], "objects": np.array(["a", "b"], object), "unicode": np.array(["a", "b"]),
    "uint8": np.zeros(2, np.uint8), "scalar array": np.array(3.0), "list with numpy": [1, np.int64(2)],
    "float32 in list": [np.float32(1.5), 2.0], "negative": -7, "minus zero": -0.0, "nan": float("nan"),
    "inf": float("inf"), "ints then float": [[1], [2.5]], "no rows": np.zeros((0, 3)), "uint64": np.uint64(2**63),
    "range": range(3), "dims": None,
}  # fmt: skip


@pytest.mark.parametrize("name", [k for k in VALUES if k != "dims"])
@pytest.mark.parametrize("dtype", [None, "float32", "int32", "float64", "int64"])
def test_python_values_become_the_tensors_they_become_in_tensorflow(name: str, dtype: str | None) -> None:
    value = VALUES[name]
    if (dtype, name) in (("int32", "large int"), ("int32", "uint64")):
        return  # refused: see below

    def program(tf: Any) -> Any:
        try:
            t = tf.convert_to_tensor(value, None if dtype is None else getattr(tf, dtype))
        except (TypeError, ValueError) as error:
            return f"refused: {isinstance(error, (TypeError, ValueError))}"
        with tf.Session() as sess:
            return [t.dtype, t.shape, t.name, sess.run(t)]

    run_both(program)


CONSTANTS: dict[str, Program] = {
    "shape": lambda tf: tf.constant(3, shape=[2, 3]),
    "shape of a list": lambda tf: tf.constant([1, 2, 3, 4], shape=[2, 2]),
    "last is repeated": lambda tf: tf.constant([1, 2], shape=[2, 3]),
    "dtype and name": lambda tf: tf.constant([1, 2], tf.float32, name="c"),
    "empty shape": lambda tf: tf.constant(5.0, shape=[]),
    "verify": lambda tf: tf.constant([1, 2, 3], shape=[3], verify_shape=True),
    "strings": lambda tf: tf.constant(["a"], shape=[2]),
    "tensor shapes": lambda tf: tf.convert_to_tensor(tf.TensorShape([2, 3])),
    "dimension": lambda tf: tf.convert_to_tensor(tf.Dimension(3)),
    "list of tensors": lambda tf: tf.convert_to_tensor([tf.constant(1.0), 2, [3][0]]),
    "nested tensors": lambda tf: tf.convert_to_tensor([[tf.constant(1.0), 2.0], [3.0, 4.0]]),
    "preferred": lambda tf: tf.convert_to_tensor(3, preferred_dtype=tf.float32),
    "preferred but not": lambda tf: tf.convert_to_tensor(3.5, preferred_dtype=tf.int32),
    "variable": lambda tf: tf.convert_to_tensor(tf.Variable(1.0)),
    "variable, resource": lambda tf: tf.convert_to_tensor(tf.Variable(1.0, use_resource=True)),
    "numpy dtype": lambda tf: tf.constant(1, np.float64),
    "dtype's name": lambda tf: tf.constant(1, "int64"),
    "a type": lambda tf: [tf.constant(1, float), tf.as_dtype(float)],
    "static value": lambda tf: [tf.get_static_value(tf.constant([1, 2])), tf.get_static_value(tf.placeholder("int32"))],
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_are_built_as_in_tensorflow(name: str) -> None:
    run_both(CONSTANTS[name])


def _foreign(tf: Any) -> Any:
    with tf.Graph().as_default():
        a = tf.constant(1)
    return tf.add(a, tf.constant(2))


def _finalized(tf: Any) -> Any:
    tf.constant(1)
    tf.get_default_graph().finalize()
    tf.constant(2)


def _ragged(tf: Any) -> Any:
    return tf.constant([[1], [2, 3]])


WRONG: dict[str, tuple[Program, str]] = {
    "no such tensor": (lambda tf: tf.get_default_graph().get_tensor_by_name("x:0"), "does not exist"),
    "an operation's name": (lambda tf: tf.get_default_graph().get_tensor_by_name("x"), "<op_name>:<output_index>"),
    "no such operation": (lambda tf: tf.get_default_graph().get_operation_by_name("x"), "not in the graph"),
    "a tensor's name": (lambda tf: tf.get_default_graph().get_operation_by_name("x:0"), ""),
    "no such output": (lambda tf: [tf.constant(1, name="x"), tf.get_default_graph().get_tensor_by_name("x:1")], "only"),
    "names are strings": (lambda tf: tf.get_default_graph().get_tensor_by_name(3), "strings"),
    "no graph element": (lambda tf: tf.get_default_graph().as_graph_element(3.5), "Can not convert a float"),
    "another graph": (_foreign, "graph"),
    "finalized": (_finalized, "Graph is finalized and cannot be modified."),
    "tensor as a bool": (lambda tf: bool(tf.constant(True)), "bool"),
    "iterating": (lambda tf: list(tf.placeholder(tf.float32)), ""),
    "length": (lambda tf: len(tf.constant([1])), ""),
    "ragged": (_ragged, ""),
    "shape too small": (lambda tf: tf.constant([1, 2, 3], shape=[2]), ""),
    "verified shape": (lambda tf: tf.constant(1, shape=[2], verify_shape=True), ""),
    "wrong dtype": (lambda tf: tf.convert_to_tensor(tf.constant(1), tf.float32), "dtype"),
    "dtypes that differ": (lambda tf: tf.add(tf.constant(1), tf.constant(1.0)), ""),
    "operator, dtypes that differ": (lambda tf: tf.constant(1) + tf.constant(1.0), ""),
    "float into int": (lambda tf: tf.constant(1.5, tf.int32), ""),
    "float added to int": (lambda tf: tf.constant(1) + 1.5, ""),
    "text added": (lambda tf: tf.constant(1) + "a", ""),
    "none": (lambda tf: tf.convert_to_tensor(None), ""),
    "object": (lambda tf: tf.convert_to_tensor(object()), ""),
    "slice by float": (lambda tf: tf.constant([1])[1.5], ""),
    "slice by text": (lambda tf: tf.constant([1])["a"], ""),
    "slice out of range": (lambda tf: tf.constant([1])[0, 0], ""),
    "bad scope": (lambda tf: tf.name_scope("a b").__enter__(), "not a valid"),
    "bad root scope": (lambda tf: tf.name_scope("_a").__enter__(), "not a valid"),
    "bad name": (lambda tf: tf.constant(1, name="a b"), ""),
    "shapes": (lambda tf: tf.matmul(_x(tf, 2, 3), _x(tf, 2, 3)), ""),
    "broadcast": (lambda tf: _x(tf, 2, 3) + _x(tf, 4), ""),
    "set_shape": (lambda tf: _x(tf, 2, 3).set_shape([2, 4]), ""),
    "no attribute": (lambda tf: tf.constant(1).op.get_attr("nothing"), "nothing"),
    "control dependency on a number": (lambda tf: tf.control_dependencies([3]).__enter__(), ""),
    "unknown dtype": (lambda tf: tf.as_dtype("flot32"), ""),
    "as_list": (lambda tf: tf.TensorShape(None).as_list(), "as_list() is not defined"),
    "merge": (lambda tf: tf.TensorShape([1, 2]).merge_with([1, 3]), "not compatible"),
    "with_rank": (lambda tf: tf.TensorShape([1, 2]).with_rank(3), ""),
    "negative dimension": (lambda tf: tf.Dimension(-1), ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_by_the_same_class_of_error(name: str) -> None:
    same_error(*WRONG[name])


def test_a_wrong_name_is_answered_with_near_names_and_likely_outputs() -> None:
    def program(tf: Any) -> Any:
        x = tf.placeholder(tf.float32, [None, 2], name="input")
        tf.sigmoid(x, name="prediction")
        return tf.get_default_graph().get_tensor_by_name("imput:0")

    text = str(raised(program))
    assert "input" in text
    assert "prediction:0" in text


def _shapes(tf: Any) -> Any:
    s, u, p = tf.TensorShape([2, 3]), tf.TensorShape(None), tf.TensorShape([None, 3])
    return [s, u, p, s[0], s[1:], u[1], p[0], s.ndims, u.ndims, s.num_elements(), p.num_elements(), s.is_fully_defined(),  # noqa: E501
            p.is_fully_defined(), p.merge_with([4, None]), s.concatenate([4]), u.concatenate([4]), s.is_compatible_with(p),  # noqa: E501
            s.is_compatible_with([3, 2]), s == p, s == [2, 3], s != [2, 3], u == u, str(s), str(u), str(p), repr(s), repr(p),  # noqa: E501
            repr(u), list(s), s.dims, len(s), bool(s), bool(u), u.with_rank(2), s.with_rank_at_least(1), p.as_list(),
            tf.TensorShape(3), tf.TensorShape([]), str(tf.TensorShape([])), str(tf.TensorShape([7])), u[1:], u[:2], u[1:3],  # noqa: E501
            s + [5], [5] + s, tf.TensorShape(np.array([1, 2])), hash(s) == hash(tf.TensorShape([2, 3])),  # noqa: RUF005
            p.assert_is_compatible_with([1, 3]), s[-1], s.rank,
            tf.TensorShape([tf.Dimension(2), None]), tf.dimension_value(s[0]), tf.dimension_value(3)]  # fmt: skip


def _dims(tf: Any) -> Any:
    a, b, n = tf.Dimension(7), tf.Dimension(2), tf.Dimension(None)
    return [a + b, a - b, a * b, a // b, a % b, a + 1, 1 + a, a * 3, 3 * a, 10 - a, 15 // a, a + n, n * 2, a == 7, a == b,  # noqa: E501
            a != b, n == 3, n == n, a != n, a < b, a > b, a <= 7, n < 3, n >= 3, int(a), str(a), str(n), repr(a), repr(n),  # noqa: E501
            a.is_compatible_with(n), a.is_compatible_with(3), a.merge_with(None), n.merge_with(4),
            [0, 1, 2][b], list(range(b)), np.zeros(b), a.value, 2 * [tf.Dimension(3)][0], 8 % a]  # fmt: skip


def _static(tf: Any) -> Any:
    x = _x(tf, None, 3)
    y = tf.placeholder(tf.float32)
    before = [x.get_shape(), y.get_shape(), str(x), repr(y), str(x.op.type)]
    y.set_shape([None, 4])
    x.set_shape([5, None])
    return [*before, x.shape, y.shape, x.shape[0], int(x.get_shape()[1]), x.get_shape().as_list(), x.dtype.name,
            x.dtype == tf.float32, x.dtype.is_floating, x.dtype.base_dtype, x.dtype.size, x.dtype.max, tf.int8.min,
            x.dtype.as_numpy_dtype is np.float32, tf.as_dtype("float"), tf.as_dtype(np.int32),
            tf.float32 == "float32", tf.float32 == np.float32, tf.int32 != tf.int64, tf.float32.as_datatype_enum,
            tf.string.is_integer, tf.uint8.is_unsigned, tf.complex64.real_dtype, tf.bool.is_bool,
            tf.float32.is_compatible_with(tf.float32), tf.float32.limits, {tf.float32: 1}[tf.float32], tf.quint8.is_quantized]  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("program", [_shapes, _dims, _static], ids=["shapes", "dimensions", "tensors"])
def test_shapes_dimensions_and_dtypes_answer_as_tensorflows(program: Program) -> None:
    run_both(program)


REFUSED = [("int32", 2**40), ("int32", np.uint64(2**63)), ("uint8", 300)]


@pytest.mark.parametrize(("dtype", "value"), REFUSED)
def test_numbers_that_do_not_fit_their_dtype_are_refused_where_tensorflow_wraps_them(dtype: str, value: Any) -> None:
    with pytest.raises(ValueError, match="out of range"):
        tf1.convert_to_tensor(value, dtype)


def test_exports_with_shapes_import_into_tensorflow() -> None:
    g = tf1.Graph()
    with g.as_default():
        for build in (_operators, _slices, _scope_forms):
            with tf1.name_scope("p"):
                build(tf1)
    graph_def = g.as_graph_def(add_shapes=True)
    with oracle.Graph().as_default() as there:
        oracle.import_graph_def(oracle.GraphDef.FromString(graph_def.SerializeToString()), name="")
        for op in there.get_operations():
            for t in op.outputs:
                ours = g.get_tensor_by_name(t.name)
                assert t.shape.is_compatible_with(ours.shape.as_list() if ours.shape.ndims is not None else None)
    shapes = {n.name: n.attr["_output_shapes"].list.shape for n in graph_def.node}
    assert [d.size for d in shapes["p/x"][0].dim] == [2, 2]


def test_a_graph_def_from_a_version_on_has_what_was_added_since() -> None:
    with tf1.Graph().as_default() as g:
        tf1.constant(1, name="a")
        before = g.version
        tf1.constant(2, name="b")
        assert [n.name for n in g.as_graph_def(from_version=before).node] == ["b"]


def test_constants_may_go_without_a_name() -> None:
    with tf1.Graph().as_default():
        assert tf1.constant(1, name=None).name == "Const:0"
