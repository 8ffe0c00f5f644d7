"""Boosted trees against what TensorFlow 2.7, which has their kernels, answered: see tools/make_boosted_trees.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

import coldframe as cf
from coldframe.errors import ExecutionError, NotInitializedError
from coldframe.formats import messages
from coldframe.runtime.files import AnyFile
from coldframe.runtime.session import Session

r, v1 = tf.raw_ops, tf.compat.v1
HERE = Path(__file__).parent / "boosted_trees"
ANSWERS = np.load(HERE / "answers.npz")
CASES = sorted({name.split("/")[0] for name in ANSWERS.files})


def strings(name: str) -> list[bytes]:
    data, ends = ANSWERS[name].tobytes(), np.cumsum(ANSWERS[f"{name}/sizes"])
    return [data[end - size : end] for end, size in zip(ends, ANSWERS[f"{name}/sizes"], strict=True)]


def outcome(build: Callable[[Any], Any], ensemble: bytes | str = b"", stamp: int = 3, engine: str = "auto") -> Any:
    """Make an ensemble, of bytes or of text, then run what `build` makes of its handle."""
    if isinstance(ensemble, str):
        kind = messages.message_class("tensorflow.boosted_trees.TreeEnsemble")
        ensemble = text_format.Parse(ensemble, kind()).SerializeToString()
    with tf.Graph().as_default() as g:
        handle = r.BoostedTreesEnsembleResourceHandleOp(shared_name="e")
        create = r.BoostedTreesCreateEnsemble(
            tree_ensemble_handle=handle, stamp_token=np.int64(stamp), tree_ensemble_serialized=ensemble
        )
        made = build(handle)
        names = [m.name for m in made] if isinstance(made, list | tuple) else made.name
    session = Session(g.as_graph_def(), engine)
    session.run(create.name)
    return session.run(names)


def predict(handle: Any, features: list[Any], width: int = 1, op: str = "Predict") -> Any:
    given = [v1.placeholder_with_default(f, None) for f in features]
    return getattr(r, f"BoostedTrees{op}")(
        tree_ensemble_handle=handle, bucketized_features=given, logits_dimension=width
    )


@pytest.mark.parametrize("engine", ["auto", "reference"])
@pytest.mark.parametrize("case", CASES)
def test_random_ensembles(case: str, engine: str) -> None:
    def get(name: str) -> Any:
        return ANSWERS[f"{case}/{name}"]

    features = [get(f"feature{k}") for k in range(4) if f"{case}/feature{k}" in ANSWERS]
    logits, data = get("logits"), strings(f"{case}/ensemble")[0]
    found = outcome(lambda h: predict(h, features, logits.shape[1]), data, engine=engine)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, logits)
    flat = [f[:, 0] if f.shape[1] == 1 else f for f in features]
    np.testing.assert_array_equal(outcome(lambda h: predict(h, flat, logits.shape[1]), data), logits)

    states = outcome(
        lambda h: list(r.BoostedTreesGetEnsembleStates(tree_ensemble_handle=h)), data, int(get("states")[0])
    )
    assert np.concatenate([np.ravel(s) for s in states]).tolist() == get("states").tolist()
    assert [s.dtype for s in states] == [np.int64, *[np.int32] * 4]
    saved = outcome(lambda h: r.BoostedTreesSerializeEnsemble(tree_ensemble_handle=h)[1], data)
    assert saved == strings(f"{case}/serialized")[0]
    if f"{case}/debug" in ANSWERS:
        debug = outcome(lambda h: predict(h, features, op="ExampleDebugOutputs"), data)
        assert debug.tolist() == strings(f"{case}/debug")


def test_an_estimator() -> None:
    given = np.load(HERE / "estimator.npz")
    model = cf.load(HERE / "estimator")
    feeds = {k[3:]: given[k].astype(object) if given[k].dtype.kind == "S" else given[k] for k in given if "in_" in k}
    found = model.run(feeds, signature="predict")
    for name in ("logits", "probabilities", "class_ids"):
        np.testing.assert_allclose(found[name], given[f"out_{name}"], rtol=1e-6, err_msg=name)


ONE = """trees { nodes { %s } nodes { leaf { scalar: 1 } } nodes { leaf { scalar: 2 } } } tree_weights: 1"""
SPLIT = "bucketized_split { threshold: 2 left_id: 1 right_id: 2 }"


def test_saved_and_restored(tmp_path: Path) -> None:
    prefix, names, slices = str(tmp_path / "model"), ["stamp", "serialized"], ["", ""]
    kind = messages.message_class("tensorflow.boosted_trees.TreeEnsemble")
    data = text_format.Parse(ONE % SPLIT, kind()).SerializeToString()
    with tf.Graph().as_default() as g:
        handle = r.BoostedTreesEnsembleResourceHandleOp(shared_name="e")
        there = r.IsBoostedTreesEnsembleInitialized(tree_ensemble_handle=handle)
        full, empty = (
            r.BoostedTreesCreateEnsemble(
                tree_ensemble_handle=handle, stamp_token=np.int64(9), tree_ensemble_serialized=d
            )
            for d in (data, b"")
        )
        told = r.BoostedTreesSerializeEnsemble(tree_ensemble_handle=handle)
        save = r.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=slices, tensors=list(told))
        kinds = [tf.int64, tf.string]
        values = r.RestoreV2(prefix=prefix, tensor_names=names, shape_and_slices=slices, dtypes=kinds)
        restore = r.BoostedTreesDeserializeEnsemble(
            tree_ensemble_handle=handle, stamp_token=values[0], tree_ensemble_serialized=values[1]
        )
        logits = predict(handle, [np.array([1, 2, 3], "i")])
    first, second = (Session(g.as_graph_def(), files=AnyFile()) for _ in "ab")
    with pytest.raises(NotInitializedError, match="tree ensemble `e` is not initialized"):
        first.run(logits.name)
    assert not first.run(there.name)
    for step in (full, empty, save):  # there is one already when one of no trees is made
        first.run(step.name)
    assert first.run(there.name)
    with pytest.raises(NotInitializedError, match="tree ensemble `e` is not initialized"):
        second.run(restore.name)
    second.run(empty.name)
    assert second.run(logits.name).tolist() == [[0]] * 3
    second.run(restore.name)
    assert second.run(logits.name).tolist() == [[1], [1], [2]]
    stamp, serialized = second.run([t.name for t in told])
    assert (stamp, serialized) == (9, data)


FEATURE = [np.array([1, 3], "i")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            ONE % "bucketized_split { left_id: 1 right_id: 7 }",
            "a child of node 0 of tree 0 .* expected 0 to 2, found 7",
        ),
        (ONE % "bucketized_split { left_id: -1 right_id: 2 }", "expected 0 to 2, found -1"),
        (ONE % "bucketized_split { left_id: 0 right_id: 1 }", "child 0 of node 0 is the root"),
        (ONE % "categorical_split { left_id: 1 right_id: 1 }", "child 1 of node 0 is a child of node 0 already"),
        (ONE % "dense_split { left_id: 1 right_id: 2 }", "a categorical split, found dense_split"),
        (ONE % "", "the kind of node 0 of tree 0 .* found nothing"),
        (ONE % "bucketized_split { feature_id: 4 left_id: 1 right_id: 2 }", "splits by a feature that there is not"),
        (ONE % "bucketized_split { dimension_id: 1 left_id: 1 right_id: 2 }", "a dimension .* below 1, found 1"),
        (ONE % "bucketized_split { feature_id: -4 left_id: 1 right_id: 2 }", "expected 0 or more, found -4 and 0"),
        ("trees {} tree_weights: 1", "tree 0 has no nodes"),
        ((ONE % SPLIT).replace("tree_weights: 1", ""), "the number of tree weights .* expected 1, found 0"),
        ((ONE % SPLIT).replace("scalar: 1", "vector { value: [1, 2] }"), "the number of values of node 1 of tree 0"),
    ],
)
def test_malformed_ensembles(text: str, message: str) -> None:
    with pytest.raises(ExecutionError, match=message):
        outcome(lambda h: predict(h, FEATURE), text)


def test_refusals() -> None:
    with pytest.raises(ExecutionError, match="the bytes of a tree ensemble do not parse"):
        outcome(lambda h: predict(h, FEATURE), b"\xff\xff")
    for features in ([np.zeros((2, 1, 1), "i")], [FEATURE[0], FEATURE[0][:1]]):
        with pytest.raises(ExecutionError, match="the shape of feature"):
            outcome(lambda h, f=features: predict(h, f), ONE % SPLIT)
    with pytest.raises(ExecutionError, match="the number of trees"):
        outcome(lambda h: predict(h, FEATURE, op="ExampleDebugOutputs"))
    with pytest.raises(ExecutionError, match="the number of values of node 0"):  # no value from before the split
        outcome(lambda h: predict(h, FEATURE, op="ExampleDebugOutputs"), ONE % SPLIT)
    assert outcome(lambda h: predict(h, [FEATURE[0][:0]]), ONE % SPLIT).shape == (0, 1)


def streams(count: int, *given: list[Any], epsilon: float = 0.1, asked: int | None = None) -> Any:
    """Make streams, give them boundaries and return those of all."""
    with tf.Graph().as_default() as g:
        handle = r.BoostedTreesQuantileStreamResourceHandleOp(shared_name="q")
        todo = [
            r.BoostedTreesCreateQuantileStreamResource(
                quantile_stream_resource_handle=handle, epsilon=epsilon, num_streams=np.int64(count)
            )
        ]
        todo += [
            r.BoostedTreesQuantileStreamResourceDeserialize(
                quantile_stream_resource_handle=handle,
                bucket_boundaries=[v1.placeholder_with_default(np.array(b, "f"), None) for b in boundaries],
            )
            for boundaries in given
        ]
        found = r.BoostedTreesQuantileStreamResourceGetBucketBoundaries(
            quantile_stream_resource_handle=handle, num_features=asked or count
        )
        there = r.IsBoostedTreesQuantileStreamResourceInitialized(quantile_stream_resource_handle=handle)
    session = Session(g.as_graph_def())
    assert not session.run(there.name)
    with pytest.raises(NotInitializedError):
        session.run(found[0].name)
    for each in (*todo, todo[0]):
        session.run(each.name)
    assert session.run(there.name)
    return [b.tolist() for b in session.run([f.name for f in found])]


def test_boundaries() -> None:
    """The answers are TensorFlow 2.7's."""
    assert streams(2) == [[], []]
    assert streams(2, [[1, 2, 3], [1]]) == [[1, 2, 3], [1]]
    assert streams(2, [[1, 2, 3], [1]], [[1, 2], [1]]) == [[1, 2], [1]]
    assert streams(2, [[1, 2, 3]]) == [[1, 2, 3], []]


def test_boundaries_that_are_refused() -> None:
    with pytest.raises(ExecutionError, match=r"the number of streams .* expected at most 1, found 2"):
        streams(1, [[1], [2]])
    with pytest.raises(ExecutionError, match=r"the number of streams .* expected 3, found 1"):
        streams(1, asked=3)
    with pytest.raises(ExecutionError, match="vectors"):
        streams(1, [[[1]]])
    for epsilon in (0.0, 1.0, float("nan")):
        with pytest.raises(ExecutionError, match="`epsilon`"):
            streams(1, epsilon=epsilon)
