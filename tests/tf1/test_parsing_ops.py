"""Example messages parsed by TF1 programs: the same tensors and static shapes as TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow

import coldframe.tf1 as OURS  # noqa: N812 - beside TensorFlow's

v1 = tensorflow.compat.v1


def feature(values: list[Any]) -> Any:
    f = tensorflow.train.Feature()
    if isinstance(values[0], bytes):
        f.bytes_list.value.extend(values)
    elif isinstance(values[0], float):
        f.float_list.value.extend(values)
    else:
        f.int64_list.value.extend(values)
    return f


def example(**features: list[Any]) -> bytes:
    message = tensorflow.train.Example()
    for k, v in features.items():
        message.features.feature[k].CopyFrom(feature(v))
    return bytes(message.SerializeToString())


EXAMPLES = [
    example(a=[5], b=[1.0, 2.0], v=[b"x", b"y"], s=[1, 2, 3], i=[3, 1], j=[0, 2], w=[0.5, 1.5]),
    example(b=[3.0, 4.0], s=[4], i=[2], j=[1], w=[2.5]),
]


def sequence() -> bytes:
    message = tensorflow.train.SequenceExample()
    message.context.feature["a"].CopyFrom(feature([7]))
    message.context.feature["v"].CopyFrom(feature([b"x", b"y"]))
    for row in ([1.0, 2.0], [3.0, 4.0], [5.0, 6.0]):
        message.feature_lists.feature_list["q"].feature.add().CopyFrom(feature(row))
    for count in (1, 3):
        message.feature_lists.feature_list["w"].feature.add().CopyFrom(feature(list(range(count))))
    return bytes(message.SerializeToString())


def wanted(tf: Any) -> dict[str, Any]:
    return {
        "b": tf.FixedLenFeature([2], tf.float32), "a": tf.FixedLenFeature([], tf.int64, default_value=3),
        "v": tf.VarLenFeature(tf.string), "s": tf.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
        "n": tf.FixedLenFeature((1, 2), tf.string, default_value=[["p", "q"]]),
        "t": tf.FixedLenSequenceFeature([2], tf.float32, allow_missing=True, default_value=9.0),
    }  # fmt: skip


def sparse(tf: Any) -> dict[str, Any]:
    return {
        "one": tf.SparseFeature("i", "w", tf.float32, 10),
        "two": tf.SparseFeature(["i", "j"], "w", tf.float32, [10, 4]),
        "sorted": tf.SparseFeature("i", "w", tf.float32, 10, already_sorted=True),
    }  # fmt: skip


CASES: dict[str, tuple[list[Any], Any, Callable[[Any, Any], Any]]] = {
    "a batch": ([None], EXAMPLES, lambda tf, x: tf.parse_example(x, wanted(tf))),
    "a batch with names": ([2], EXAMPLES, lambda tf, x: tf.parse_example(x, wanted(tf), example_names=["e", "f"])),
    "one": ([], EXAMPLES[0], lambda tf, x: tf.parse_single_example(x, wanted(tf), name="mine")),
    "another one": ([], EXAMPLES[1], lambda tf, x: tf.parse_single_example(x, wanted(tf))),
    "sparse": ([None], EXAMPLES, lambda tf, x: tf.parse_example(x, sparse(tf))),
    "one sparse": ([], EXAMPLES[0], lambda tf, x: tf.parse_single_example(x, sparse(tf))),
    "a sequence": ([], sequence(), lambda tf, x: tf.parse_single_sequence_example(
        x, {k: wanted(tf)[k] for k in "avn"},
        {"q": tf.FixedLenSequenceFeature([2], tf.float32), "w": tf.VarLenFeature(tf.int64),
         "z": tf.FixedLenSequenceFeature([], tf.int64, allow_missing=True)},
    )),
}  # fmt: skip


def flat(x: Any) -> list[Any]:
    """Return tensors (or arrays) of a structure in order, with the names of dicts."""
    if isinstance(x, dict):
        return [v for k in sorted(x) for v in (k, *flat(x[k]))]
    if hasattr(x, "indices"):
        return [x.indices, x.values, x.dense_shape]
    return [v for p in x for v in flat(p)] if isinstance(x, tuple) else [x]


def parsed(tf: Any, name: str) -> tuple[list[Any], list[Any], list[str]]:
    shape, value, make = CASES[name]
    with tf.Graph().as_default() as g:
        x = tf.placeholder(tf.string, shape)
        made = make(tf, x)
        shapes = [t if isinstance(t, str) else t.get_shape().as_list() for t in flat(made)]
        with tf.Session() as sess:
            found = sess.run(made, {x: value})
        return shapes, flat(found), [n.name for n in g.as_graph_def().node if n.op.startswith("Parse")]


@pytest.mark.parametrize("name", CASES)
def test_examples(name: str) -> None:
    (shapes, found, nodes), (their_shapes, want, their_nodes) = parsed(OURS, name), parsed(v1, name)
    assert nodes == their_nodes
    assert len(found) == len(want)
    for a, b in zip(found, want, strict=True):
        np.testing.assert_array_equal(a, b)
    if "sparse" not in name:
        assert shapes == their_shapes


def test_a_pipeline_of_examples(tmp_path: Any) -> None:
    with tensorflow.io.TFRecordWriter(str(tmp_path / "r")) as w:
        for e in EXAMPLES * 2:
            w.write(e)
    found = []
    for tf in (OURS, v1):
        with tf.Graph().as_default():
            features = {k: wanted(tf)[k] for k in "abv"}
            dataset = tf.data.TFRecordDataset(str(tmp_path / "r"))
            dataset = dataset.map(lambda x, tf=tf, f=features: tf.parse_single_example(x, f)).batch(3)
            element = tf.data.make_one_shot_iterator(dataset).get_next()
            with tf.Session() as sess:
                found.append([flat(sess.run(element)) for _ in range(2)])
    for a, b in zip(*found, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_a_pipeline_of_batches_of_examples() -> None:
    found = []
    for tf in (OURS, v1):
        with tf.Graph().as_default():
            features = {k: wanted(tf)[k] for k in "abv"}
            dataset = tf.data.Dataset.from_tensor_slices(EXAMPLES * 3).batch(4)
            dataset = dataset.apply(tf.data.experimental.parse_example_dataset(features))
            element = tf.data.make_one_shot_iterator(dataset).get_next()
            with tf.Session() as sess:
                found.append([flat(sess.run(element)) for _ in range(2)])
    for a, b in zip(*found, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_what_features_may_not_be() -> None:
    with OURS.Graph().as_default():
        for features, message in (
            ({}, "Missing features"),
            ({"x": OURS.FixedLenFeature([None], OURS.int64)}, "All dimensions of shape for feature x need to be known"),
            ({"x": OURS.FixedLenSequenceFeature([], OURS.int64)}, "requires allow_missing to be True"),
            ({"x": 3}, "Unsupported int"),
        ):
            with pytest.raises(ValueError, match=message):
                OURS.parse_example(["x"], features)
