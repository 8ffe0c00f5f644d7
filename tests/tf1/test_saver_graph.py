"""The nodes that a Saver makes: TensorFlow's own, name by name, input by input, attribute by attribute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tensorflow

import coldframe.tf1 as cf
from coldframe.formats import messages

v1 = tensorflow.compat.v1

# Marks of newer TensorFlows that change nothing, and a node that older ones do not know.
_NEWER = "_has_manual_control_dependencies"
_NOT_MADE = "DisableCopyOnRead"


@pytest.fixture(autouse=True, scope="module")
def reference_variables() -> Iterator[None]:
    before = v1.resource_variables_enabled()
    v1.disable_resource_variables()
    yield
    if before:
        v1.enable_resource_variables()


def two(tf: Any) -> Any:
    return [
        tf.get_variable("s/b", initializer=tf.constant([[1, 2]])),
        tf.get_variable("a", initializer=tf.constant([1.0, 2.0])),
    ]


def resource(tf: Any) -> Any:
    return [tf.get_variable("r", initializer=tf.constant([1.0, 2.0]), use_resource=True), *two(tf)]


def parts(tf: Any, name: str = "p", use_resource: bool = False) -> Any:
    return tf.get_variable(
        name, shape=[7, 4], partitioner=tf.fixed_size_partitioner(3), use_resource=use_resource,
        initializer=tf.zeros_initializer(),
    )  # fmt: skip


def placed(tf: Any, *places: str) -> None:
    for i, place in enumerate(places):
        with tf.device(place):
            tf.get_variable(f"v{i}", initializer=tf.constant([1.0, 2.0]))


def by_name(tf: Any) -> Any:
    a, b = two(tf)
    return {"x": a, "whole": parts(tf), "list": list(parts(tf, "z")), "b": b}


CASES: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "plain": (two, {}),
    "resource": (resource, {}),
    "reshape": (resource, {"reshape": True}),
    "sharded": (two, {"sharded": True}),
    "sharded over devices": (lambda tf: placed(tf, "/job:ps/task:0", "/job:ps/task:1"), {"sharded": True}),
    "sharded, resources": (resource, {"sharded": True}),
    "partitioned": (lambda tf: (parts(tf), two(tf)), {}),
    "partitioned resource": (lambda tf: parts(tf, use_resource=True), {}),
    "restore_sequentially": (two, {"restore_sequentially": True}),
    "V1": (two, {"write_version": 1}),
    "named": (two, {"name": "mine", "filename": "elsewhere"}),
    "on a device": (lambda tf: placed(tf, "/gpu:0"), {}),
    "many": (lambda tf: [tf.get_variable(f"v{i}", shape=[1]) for i in range(12)], {}),
}


def nodes(graph_def: Any) -> dict[str, Any]:
    found = {}
    for node in messages.parse("GraphDef", graph_def.SerializeToString(), where="").node:
        if node.op == _NOT_MADE:
            continue
        node.attr.pop(_NEWER, None)
        data = [i for i in node.input if not i.startswith("^")]
        controls = sorted(i for i in node.input if i.startswith("^"))
        attrs = {k: str(v) for k, v in node.attr.items() if k != "value"}
        values = (tensorflow.make_ndarray(tensor(node)).tolist(),) if "value" in node.attr else ()
        found[node.name] = (node.op, data, controls, node.device, attrs, values)
    return found


def tensor(node: Any) -> Any:
    proto = tensorflow.make_tensor_proto(0)
    proto.ParseFromString(node.attr["value"].tensor.SerializeToString())
    return proto


@pytest.mark.parametrize("case", CASES)
def test_nodes_are_tensorflows(case: str) -> None:
    build, arguments = CASES[case]
    made = []
    for tf in (v1, cf):
        with tf.Graph().as_default() as graph:
            build(tf)
            before = {o.name for o in graph.get_operations()}
            saver = tf.train.Saver(**arguments)
            new = {k: v for k, v in nodes(graph.as_graph_def()).items() if k not in before}
        made.append((new, saver.as_saver_def().SerializeToString()))
    assert made[1] == made[0]
    assert made[0][0]


def test_names_of_the_programs_choice() -> None:
    made = []
    for tf in (v1, cf):
        with tf.Graph().as_default() as graph:
            tf.train.Saver(by_name(tf))
            made.append({k: v for k, v in nodes(graph.as_graph_def()).items() if k.startswith("save/")})
    assert made[1] == made[0]


def test_a_second_saver() -> None:
    made = []
    for tf in (v1, cf):
        with tf.Graph().as_default():
            two(tf)
            tf.train.Saver()
            made.append(tf.train.Saver().as_saver_def().SerializeToString())
    assert made[1] == made[0]


def refused(tf: Any, build: Callable[[Any], Any]) -> tuple[str, str]:
    with tf.Graph().as_default():
        try:
            build(tf)
        except (ValueError, TypeError) as e:
            return type(e).__name__, str(e).split("<")[0].split("Tensor(")[0].strip()
    raise AssertionError("not refused")


REFUSED: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda tf: tf.train.Saver(),
    "an empty list": lambda tf: tf.train.Saver([]),
    "a variable twice": lambda tf: tf.train.Saver(two(tf)[:1] * 2),
    "a tensor": lambda tf: tf.train.Saver([tf.constant(1.0)]),
    "deferred, with a list": lambda tf: tf.train.Saver(two(tf), defer_build=True),
    "wholes as parts": lambda tf: tf.train.Saver({"a": two(tf)}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_as_tensorflow_does(case: str) -> None:
    theirs, ours = refused(v1, REFUSED[case]), refused(cf, REFUSED[case])
    assert ours[0] == theirs[0] or case == "wholes as parts"
    assert ours[1].startswith(theirs[1])


def test_a_saver_of_nothing_does_nothing(tmp_path: Any) -> None:
    with cf.Graph().as_default():
        cf.constant(1.0)
        saver = cf.train.Saver(allow_empty=True)
        with cf.Session() as sess:
            assert saver.save(sess, str(tmp_path / "m")) is None
            saver.restore(sess, str(tmp_path / "m"))
    assert [p.name for p in tmp_path.iterdir()] == ["m.meta"]


def test_a_deferred_saver_takes_what_is_there_when_it_is_built(tmp_path: Any) -> None:
    with cf.Graph().as_default():
        saver = cf.train.Saver(defer_build=True)
        two(cf)
        with cf.Session() as sess:
            sess.run(cf.global_variables_initializer())
            with pytest.raises(RuntimeError, match=r"`build\(\)` should be called before save if defer_build==True"):
                saver.save(sess, str(tmp_path / "m"))
            saver.build()
            saver.save(sess, str(tmp_path / "m"))
    assert cf.train.list_variables(str(tmp_path / "m")) == [("a", [2]), ("s/b", [1, 2])]
