"""Make tests/ops/boosted_trees with TensorFlow 2.7, which has kernels of boosted trees: an estimator, and answers.

Run it with a Python that has that TensorFlow (``tensorflow-cpu==2.7.4``, ``protobuf<3.20``):
``python tools/make_boosted_trees.py``.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.kernels.boosted_trees import boosted_trees_pb2 as trees_pb2

TARGET = Path(__file__).resolve().parents[1] / "tests" / "ops" / "boosted_trees"
BUCKETS, EXAMPLES, SHOWN = 5, 9, 12
v1, r, fc = tf.compat.v1, tf.raw_ops, tf.feature_column


def _leaf(leaf: Any, rng: np.random.Generator, width: int) -> None:
    values = rng.normal(size=width).astype("f").tolist()
    if width == 1:
        leaf.scalar = values[0]
    else:
        leaf.vector.value.extend(values)


def _grow(tree: Any, rng: np.random.Generator, dimensions: list[int], width: int, depth: int) -> None:
    """Give a tree nodes, layer by layer; each splits as likely as not."""
    layer = [tree.nodes.add()]
    for level in range(depth + 1):
        below = []
        for node in layer:
            if level == depth or (level and rng.random() < 0.4):
                _leaf(node.leaf, rng, width)
                continue
            feature = int(rng.integers(len(dimensions)))
            split = node.categorical_split if rng.random() < 0.4 else node.bucketized_split
            split.feature_id, split.dimension_id = feature, int(rng.integers(dimensions[feature]))
            split.left_id, split.right_id = len(tree.nodes), len(tree.nodes) + 1
            setattr(split, "value" if node.HasField("categorical_split") else "threshold", int(rng.integers(BUCKETS)))
            node.metadata.gain = rng.random()
            _leaf(node.metadata.original_leaf, rng, width)
            below += [tree.nodes.add(), tree.nodes.add()]
        layer = below


def _ensemble(rng: np.random.Generator, dimensions: list[int], width: int, trees: int) -> Any:
    made = trees_pb2.TreeEnsemble()
    for k in range(trees):
        _grow(made.trees.add(), rng, dimensions, width, int(rng.integers(0, 5)))
        made.tree_weights.append(rng.random())
        made.tree_metadata.add(num_layers_grown=2, is_finalized=bool(k < trees - 1 or rng.random() < 0.5))
    grown = made.growing_metadata
    grown.num_trees_attempted, grown.num_layers_attempted = trees, 2 * trees + 1
    grown.last_layer_node_start, grown.last_layer_node_end = int(rng.integers(3)), int(rng.integers(9))
    return made


def _answers(rng: np.random.Generator, dimensions: list[int], width: int, trees: int) -> dict[str, Any]:
    data = _ensemble(rng, dimensions, width, trees).SerializeToString()
    features = [rng.integers(0, BUCKETS, [EXAMPLES, d]).astype("i") for d in dimensions]
    with tf.Graph().as_default(), v1.Session() as session:
        handle = r.BoostedTreesEnsembleResourceHandleOp(shared_name="e")
        stamp = np.int64(trees)
        session.run(r.BoostedTreesCreateEnsemble(
            tree_ensemble_handle=handle, stamp_token=stamp, tree_ensemble_serialized=data
        ))  # fmt: skip
        given = {"tree_ensemble_handle": handle, "bucketized_features": features, "logits_dimension": width}
        found = {
            "logits": r.BoostedTreesPredict(**given),
            "serialized": r.BoostedTreesSerializeEnsemble(tree_ensemble_handle=handle)[1],
        }
        states = r.BoostedTreesGetEnsembleStates(tree_ensemble_handle=handle)
        found["states"] = tf.concat([tf.cast(tf.reshape(s, [-1]), tf.int64) for s in states], 0)
        if width == 1 and trees:  # TensorFlow ends the process where there are none
            found["debug"] = r.BoostedTreesExampleDebugOutputs(**given)
        made = dict(session.run(found))
    made.update(ensemble=data, **{f"feature{k}": f for k, f in enumerate(features)})
    return made


def make_answers() -> None:
    """Write what the ops answer for random ensembles; strings as bytes, one after the other, with their lengths."""
    rng = np.random.default_rng(7)
    flat = {}
    kinds = [([1, 1, 3], 1, 6), ([2], 1, 1), ([1, 2], 3, 4), ([1], 1, 0), ([1, 1], 2, 0), ([4, 1, 1, 2], 1, 12)]
    for k, (dimensions, width, trees) in enumerate(kinds):
        for name, value in _answers(rng, dimensions, width, trees).items():
            if isinstance(value, bytes) or np.asarray(value).dtype == object:
                items = [value] if isinstance(value, bytes) else list(value)
                flat[f"{k}/{name}/sizes"] = np.array([len(i) for i in items])
                value = np.frombuffer(b"".join(items), np.uint8)
            flat[f"{k}/{name}"] = value
    np.savez_compressed(TARGET / "answers.npz", **flat)


def make_estimator() -> None:
    """Train a classifier, write it as its exporter does, and what it says of some of the examples."""
    rng = np.random.default_rng(3)
    n = 64
    data = {
        "age": rng.uniform(0, 80, (n, 1)).astype("f"),
        "fare": rng.normal(30, 20, (n, 1)).astype("f"),
        "deck": np.array([[b"ABCD"[i : i + 1]] for i in rng.integers(0, 4, n)]),
    }
    old, dear = data["age"][:, 0] > 30, data["fare"][:, 0] > 35
    label = ((old ^ dear) | (data["deck"][:, 0] == b"C")).astype("i")
    columns = [
        fc.bucketized_column(fc.numeric_column("age"), [10.0, 20.0, 30.0, 40.0, 60.0]),
        fc.bucketized_column(fc.numeric_column("fare"), [10.0, 25.0, 35.0, 50.0]),
        fc.indicator_column(fc.categorical_column_with_vocabulary_list("deck", ["A", "B", "C"])),
    ]

    def receiver() -> Any:
        kinds = {"age": tf.float32, "fare": tf.float32, "deck": tf.string}
        given = {name: v1.placeholder(kind, [None, 1], name) for name, kind in kinds.items()}
        return tf.estimator.export.ServingInputReceiver(given, given)

    with tempfile.TemporaryDirectory() as folder:
        model = tf.estimator.BoostedTreesClassifier(columns, 1, folder, n_trees=4, max_depth=3, center_bias=True)
        model.train(lambda: tf.data.Dataset.from_tensors((data, label)).repeat(), max_steps=40)
        made = Path(model.export_saved_model(folder, receiver).decode())
        shutil.copytree(made, TARGET / "estimator")
    with tf.Graph().as_default(), v1.Session() as session:
        signature = v1.saved_model.load(session, ["serve"], str(TARGET / "estimator")).signature_def["predict"]
        feeds = {signature.inputs[k].name: data[k][:SHOWN] for k in data}
        answers = {k: session.run(signature.outputs[k].name, feeds) for k in ("logits", "probabilities", "class_ids")}
    inputs = {f"in_{k}": v[:SHOWN] for k, v in data.items()}
    np.savez_compressed(TARGET / "estimator.npz", **inputs, **{f"out_{k}": v for k, v in answers.items()})


if __name__ == "__main__":
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    make_answers()
    make_estimator()
