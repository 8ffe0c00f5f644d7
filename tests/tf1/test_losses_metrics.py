"""tf.losses and tf.metrics: nodes, names, static shapes and values are TensorFlow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf1
from tf1_graphs import Call, check_call, flat, oracle


def f(tf: Any, *dims: int | None, name: str | None = None) -> Any:
    return tf.placeholder(tf.float32, dims, name)


def i(tf: Any, *dims: int | None, name: str | None = None) -> Any:
    return tf.placeholder(tf.int32, dims, name)


def long(tf: Any, *dims: int | None, name: str | None = None) -> Any:
    return tf.placeholder(tf.int64, dims, name)


def open_rank(tf: Any) -> Any:
    return tf.placeholder(tf.float32, None)


PAIRS = ["absolute_difference", "hinge_loss", "huber_loss", "log_loss", "mean_squared_error", "sigmoid_cross_entropy",
         "softmax_cross_entropy", "mean_pairwise_squared_error"]  # fmt: skip
REDUCTIONS = ["NONE", "SUM", "SUM_OVER_BATCH_SIZE", "MEAN", "SUM_BY_NONZERO_WEIGHTS"]

LOSSES: dict[str, Call] = {
    **{n: lambda tf, n=n: getattr(tf.losses, n)(f(tf, None, 3), f(tf, None, 3)) for n in PAIRS},
    **{f"{n}_static": lambda tf, n=n: getattr(tf.losses, n)(f(tf, 2, 3), f(tf, 2, 3), scope="loss") for n in PAIRS},
    **{
        f"reduction_{r}": lambda tf, r=r: tf.losses.mean_squared_error(
            f(tf, 2, 3), f(tf, 2, 3), f(tf, 2, 1), reduction=getattr(tf.losses.Reduction, r)
        )
        for r in REDUCTIONS
    },
    "weights_open": lambda tf: tf.losses.mean_squared_error(f(tf, None, 3), f(tf, None, 3), f(tf, None, 1)),
    "weights_constant": lambda tf: tf.losses.absolute_difference(f(tf, 2, 3), f(tf, 2, 3), [[1.0], [0.0]]),
    "weights_zero": lambda tf: tf.losses.absolute_difference(f(tf, 2, 3), f(tf, 2, 3), 0.0),
    "weights_open_rank": lambda tf: tf.losses.mean_squared_error(f(tf, 2), f(tf, 2), open_rank(tf)),
    "integers": lambda tf: tf.losses.mean_squared_error(i(tf, 2, 3), f(tf, 2, 3)),
    "cosine": lambda tf: tf.losses.cosine_distance(f(tf, 2, 3), f(tf, 2, 3), axis=1),
    "cosine_dim": lambda tf: tf.losses.cosine_distance(f(tf, None, 3), f(tf, None, 3), dim=1),
    "huber_delta": lambda tf: tf.losses.huber_loss(f(tf, 2, 3), 3 * f(tf, 2, 3), delta=0.5),
    "sigmoid_smooth": lambda tf: tf.losses.sigmoid_cross_entropy(f(tf, 2, 3), f(tf, 2, 3), label_smoothing=0.1),
    "softmax_smooth": lambda tf: tf.losses.softmax_cross_entropy(i(tf, 2, 3), f(tf, 2, 3), label_smoothing=0.1),
    "sparse": lambda tf: tf.losses.sparse_softmax_cross_entropy(
        tf.placeholder(tf.int32, [None], "labels"), f(tf, None, 5)
    ),
    "sparse_column": lambda tf: tf.losses.sparse_softmax_cross_entropy(i(tf, 2, 1), f(tf, 2, 5), f(tf, 2, 1)),
    "sparse_weights": lambda tf: tf.losses.sparse_softmax_cross_entropy(long(tf, 2), f(tf, 2, 5), f(tf, 2)),
    "weighted": lambda tf: tf.losses.compute_weighted_loss(f(tf, 2, 3), f(tf, 2, 3)),
    "total": lambda tf: (
        tf.losses.add_loss(f(tf)),
        tf.add_to_collection(tf.GraphKeys.REGULARIZATION_LOSSES, f(tf)),
        tf.losses.mean_squared_error(f(tf, 2), f(tf, 2)),
        tf.losses.get_total_loss(),
        tf.losses.get_regularization_loss(),
    )[3:],
    "no_regularization": lambda tf: tf.losses.get_regularization_loss(),
}


@pytest.mark.parametrize("call", [pytest.param(c, id=n) for n, c in LOSSES.items()])
def test_losses(call: Call) -> None:
    check_call(call, tf1)


def test_losses_are_noted() -> None:
    with tf1.Graph().as_default():
        loss = tf1.losses.log_loss([1.0], [0.5], scope="a")
        other = tf1.losses.log_loss([1.0], [0.5], loss_collection=None)
        assert tf1.losses.get_losses() == [loss]
        assert tf1.losses.get_losses("b") == []
        assert other is not loss


def test_weights_that_do_not_fit_are_refused() -> None:
    with tf1.Graph().as_default():
        with pytest.raises(ValueError, match=r"weights can not be broadcast to values. Mismatch at dim 1"):
            tf1.losses.mean_squared_error(f(tf1, 2, 3), f(tf1, 2, 3), f(tf1, 2, 2))
        with pytest.raises(ValueError, match=r"values.rank=2. weights.rank=1"):
            tf1.losses.mean_squared_error(f(tf1, 2, 3), f(tf1, 2, 3), f(tf1, 3))
        with pytest.raises(ValueError, match=r"Invalid Reduction Key: most"):
            tf1.losses.mean_squared_error(f(tf1, 2), f(tf1, 2), reduction="most")


# --- metrics ------------------------------------------------------------------------------------------------------
COUNTS = ["precision", "recall", "true_positives", "false_positives", "true_negatives", "false_negatives", "accuracy"]
THRESHOLDS = [f"{n}_at_thresholds" for n in COUNTS[:-1]]
ERRORS = ["mean_absolute_error", "mean_squared_error", "root_mean_squared_error"]


def b(tf: Any, n: int) -> Any:
    return tf.placeholder(tf.bool, [n])


METRICS: dict[str, Call] = {
    **{n: lambda tf, n=n: getattr(tf.metrics, n)(b(tf, 4), b(tf, 4)) for n in COUNTS},
    **{f"{n}_weights": lambda tf, n=n: getattr(tf.metrics, n)(b(tf, 4), b(tf, 4), f(tf, 4), name="m") for n in COUNTS},
    **{
        f"{n}_flat": lambda tf, n=n: getattr(tf.metrics, n)(b(tf, 4), tf.reshape(b(tf, 4), [4, 1]), f(tf, 4, 1))
        for n in COUNTS
    },
    **{n: lambda tf, n=n: getattr(tf.metrics, n)(f(tf, None, 3), f(tf, None, 3)) for n in ERRORS},
    **{f"{n}_w": lambda tf, n=n: getattr(tf.metrics, n)(f(tf, 2, 3), f(tf, 2, 3), f(tf, 2, 1)) for n in ERRORS},
    **{n: lambda tf, n=n: getattr(tf.metrics, n)(b(tf, 4), f(tf, 4), [0.3, 0.6]) for n in THRESHOLDS},
    **{
        f"{n}_open": lambda tf, n=n: getattr(tf.metrics, n)(
            tf.placeholder(tf.bool, [None]), f(tf, None), [0.3, 0.6], f(tf, None)
        )
        for n in THRESHOLDS
    },
    "accuracy_cast": lambda tf: tf.metrics.accuracy(i(tf, None), long(tf, None)),
    "mean": lambda tf: tf.metrics.mean(f(tf, None)),
    "mean_weights": lambda tf: tf.metrics.mean(f(tf, 2, 3), f(tf, 2), name="m"),
    "mean_open": lambda tf: tf.metrics.mean(f(tf, 2, 3), open_rank(tf)),
    "mean_tensor": lambda tf: tf.metrics.mean_tensor(f(tf, 2, 3), f(tf, 2, 3)),
    "percentage_below": lambda tf: tf.metrics.percentage_below(f(tf, 2, 3), 0.5),
    "mean_cosine_distance": lambda tf: tf.metrics.mean_cosine_distance(f(tf, 2, 3), f(tf, 2, 3), 1),
    "mean_relative_error": lambda tf: tf.metrics.mean_relative_error(f(tf, 3), f(tf, 3), f(tf, 3)),
    "mean_iou": lambda tf: tf.metrics.mean_iou(long(tf, 2), long(tf, 2), 3),
    "mean_iou_weights": lambda tf: tf.metrics.mean_iou(i(tf, 1, 2), i(tf, 1, 2), 3, f(tf, 1, 2)),
    "mean_per_class_accuracy": lambda tf: tf.metrics.mean_per_class_accuracy(long(tf, 2), i(tf, 2), 3, f(tf, 2)),
    "auc": lambda tf: tf.metrics.auc(b(tf, 4), f(tf, 4), num_thresholds=5),
    "auc_weights": lambda tf: tf.metrics.auc(b(tf, 4), f(tf, 4), f(tf, 4), name="a"),
    "auc_pr": lambda tf: tf.metrics.auc(b(tf, 4), f(tf, 4), curve="PR", num_thresholds=5),
    "auc_careful": lambda tf: tf.metrics.auc(
        b(tf, 4), f(tf, 4), curve="PR", num_thresholds=5, summation_method="careful_interpolation"
    ),
    "auc_minoring": lambda tf: tf.metrics.auc(b(tf, 4), f(tf, 4), num_thresholds=5, summation_method="minoring"),
    "sensitivity": lambda tf: tf.metrics.sensitivity_at_specificity(b(tf, 4), f(tf, 4), 0.5, num_thresholds=5),
    "specificity": lambda tf: tf.metrics.specificity_at_sensitivity(b(tf, 4), f(tf, 4), 0.5, num_thresholds=5),
}
RANKED: dict[str, Call] = {  # we know more of the sizes of sets than TensorFlow, so fewer nodes work ranks out
    "precision_at_k": lambda tf: tf.metrics.precision_at_k(long(tf, 2, 1), f(tf, 2, 4), 2),
    "precision_at_k_1": lambda tf: tf.metrics.precision_at_k(long(tf, 2), f(tf, 2, 4), 2, weights=f(tf, 2)),
    "precision_at_top_k": lambda tf: tf.metrics.precision_at_top_k(long(tf, 2, 1), long(tf, 2, 2), name="top"),
    "recall_at_k": lambda tf: tf.metrics.recall_at_k(long(tf, 2, 1), f(tf, 2, 4), 2),
    "recall_at_k_class": lambda tf: tf.metrics.recall_at_k(long(tf, 2, 1), f(tf, 2, 4), 2, class_id=1),
    "recall_at_k_sparse": lambda tf: tf.metrics.recall_at_k(
        tf.SparseTensor([[0, 0], [1, 1]], tf.constant([3, 1], tf.int64), [2, 2]), f(tf, 2, 4), 2
    ),
    "average_precision_at_k": lambda tf: tf.metrics.average_precision_at_k(long(tf, 2, 1), f(tf, 2, 4), 2),
    "average_precision_at_k_weights": lambda tf: tf.metrics.average_precision_at_k(
        long(tf, 2, 3), f(tf, 2, 4), 3, weights=f(tf, 2)
    ),
}


@pytest.mark.parametrize("call", [pytest.param(c, id=n) for n, c in METRICS.items()])
def test_nodes_of_metrics(call: Call) -> None:
    check_call(call, tf1, run=False)


@pytest.mark.parametrize("call", [pytest.param(c, id=n) for t in (METRICS, RANKED) for n, c in t.items()])
def test_values_of_metrics(call: Call) -> None:
    batches = [np.random.default_rng(n) for n in (1, 2)]
    got = _streamed(call, tf1, batches)
    batches = [np.random.default_rng(n) for n in (1, 2)]
    want = _streamed(call, oracle, batches)
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-6)


def _streamed(call: Call, tf: Any, batches: list[Any]) -> list[Any]:
    """Return what the updates give, batch by batch, and the value after them."""
    with tf.Graph().as_default() as graph:
        value, update = flat(call(tf))
        init = tf.local_variables_initializer()
        inputs = [op.outputs[0] for op in graph.get_operations() if op.type == "Placeholder"]
        with tf.Session() as session:
            session.run(init)
            results = [session.run(update, {t: _random(t, rng) for t in inputs}) for rng in batches]
            return [*results, session.run(value)]


def _random(tensor: Any, rng: Any) -> Any:
    dims = [6 if d is None else d for d in tensor.shape.as_list()] if tensor.shape.ndims is not None else []
    match tensor.dtype.base_dtype.name:
        case "bool":
            return rng.integers(0, 2, dims) == 1
        case "int32" | "int64":
            return rng.integers(0, 3, dims)
        case _:
            return rng.random(dims)
