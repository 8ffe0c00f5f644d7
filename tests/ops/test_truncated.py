"""Normal values between bounds, as TensorFlow's CPU kernels draw them for given seeds, run after run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe import dtypes
from coldframe.formats import messages
from coldframe.ops.truncated import stateless_parameterized_truncated_normal
from graph_oracle import check

# mean, deviation and bounds; the comment says how values are drawn
PARAMETERS: dict[str, tuple[float, float, float, float]] = {
    "wide": (0, 1, -2, 2),
    "one side wide": (1, 2, -3, 1.5),
    "narrow": (0, 1, -0.2, 0.3),
    "narrow and far": (0, 1, 3, 3.2),
    "far": (0, 1, 4, 50),
    "no upper bound": (0, 1, 0.5, math.inf),
    "far without an upper bound": (5, 0.5, 7, math.inf),
    "no lower bound": (0, 1, -math.inf, -1.5),
    "no lower bound, wide": (-1, 3, -math.inf, 2),
    "below the mean": (2, 0.3, -1, 1),
}
# Doubles go through numpy's logarithm, sine and cosine, which may differ from the C library's in the last bit.
DTYPES = [("float32", 0.0), ("float64", 1e-13), ("float16", 0.0)]


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
def test_values_of_one_distribution(dtype: str, rtol: float) -> None:
    def build() -> Any:
        return [
            tf.raw_ops.ParameterizedTruncatedNormal(
                shape=[9, 11], seed=3, seed2=k,
                **dict(zip(("means", "stdevs", "minvals", "maxvals"), (tf.constant(v, dtype) for v in p), strict=True)),
            )
            for k, p in enumerate(PARAMETERS.values())
        ]  # fmt: skip

    check(build, runs=2, rtol=rtol)


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
def test_rows_with_parameters_of_their_own(dtype: str, rtol: float) -> None:
    def build() -> Any:
        mean, deviation, low, high = (tf.constant(np.array(c), dtype) for c in zip(*PARAMETERS.values(), strict=True))
        r = tf.raw_ops
        return [
            r.ParameterizedTruncatedNormal(
                shape=[10, 3], means=mean, stdevs=deviation, minvals=low, maxvals=high, seed=1, seed2=2
            ),
            r.ParameterizedTruncatedNormal(
                shape=[10], means=mean[:1], stdevs=deviation[0], minvals=low[:1], maxvals=high[:1], seed=1, seed2=2
            ),
            r.StatelessParameterizedTruncatedNormal(
                shape=[2, 3, 10], seed=[5, -6], means=mean, stddevs=deviation, minvals=low, maxvals=high
            ),
            r.StatelessParameterizedTruncatedNormal(
                shape=np.array([4, 2, 10], np.int64), seed=np.array([5, 6]), means=tf.zeros([2, 1], dtype),
                stddevs=tf.ones([10], dtype), minvals=tf.constant(-1, dtype), maxvals=tf.constant(2, dtype),
            ),
            r.StatelessParameterizedTruncatedNormal(
                shape=[0, 10], seed=[5, -6], means=mean, stddevs=deviation, minvals=low, maxvals=high
            ),
        ]  # fmt: skip

    check(build, runs=2, rtol=rtol)


def test_many_values_lie_between_the_bounds_as_they_should() -> None:
    """Where TensorFlow uses several threads its values depend on their number; the distribution does not."""
    for mean, deviation, low, high in PARAMETERS.values():
        parameters = [np.float64(v) for v in (mean, deviation, low, high)]
        made = stateless_parameterized_truncated_normal.body(None, [20_000], [1, 2], *parameters, dtype=dtypes.float64)
        assert ((made >= low) & (made <= high)).all()
        a, b = ((v - mean) / deviation for v in (low, high))
        x = np.linspace(max(a, -12.0), min(b, 12.0), 200_001)
        p = np.exp(-x * x / 2 + (x * x).min() / 2)
        expected = float((x * p).sum() / p.sum()) * deviation + mean
        assert abs(made.mean() - expected) < 4 * made.std() / math.sqrt(made.size) + 1e-4


REFUSALS: dict[str, tuple[list[int], list[Any], str]] = {
    "no dimension": ([], [0.0, 1.0, -1.0, 1.0], "the shape of a truncated normal distribution"),
    "a matrix": ([2, 2], [np.zeros((1, 1)), 1.0, -1.0, 1.0], "the parameters of rows"),
    "other rows": ([4, 2], [np.zeros(3), 1.0, -1.0, 1.0], "`means`.*expected 1 or 4 numbers, found 3"),
    "no deviation": ([4], [0.0, 0.0, -1.0, 1.0], "the parameters of a truncated normal.*found deviation 0.0"),
    "bounds in disorder": ([4], [0.0, 1.0, 1.0, -1.0], "the parameters of a truncated normal.*bounds 1.0 and -1.0"),
    "no bounds": ([4], [0.0, 1.0, -np.inf, np.inf], "one of them finite.*bounds -inf and inf"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_no_distribution_is_refused(name: str) -> None:
    shape, parameters, message = REFUSALS[name]
    with tf.Graph().as_default() as graph:
        inputs = [tf.compat.v1.placeholder(tf.float32, name=f"p{i}") for i in range(4)]
        tf.raw_ops.ParameterizedTruncatedNormal(
            shape=tf.compat.v1.placeholder_with_default(np.array(shape, np.int32), None),
            **dict(zip(("means", "stdevs", "minvals", "maxvals"), inputs, strict=True)), name="x",
        )  # fmt: skip
    session = cf.Session(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="in the test"))
    with pytest.raises(cf.ExecutionError, match=message):
        session.run("x:0", {f"p{i}:0": np.asarray(v, np.float32) for i, v in enumerate(parameters)})


def test_parameters_that_do_not_end_the_shape_are_refused() -> None:
    def refused(shape: list[int], means: Any, message: str) -> None:
        with pytest.raises(Exception, match=message):
            stateless_parameterized_truncated_normal.body(
                None, shape, [1, 2], means, np.ones(4), np.float64(-1), np.float64(1), dtype=dtypes.float64
            )

    refused([2, 3], np.float64(0), "the shape of the values")
    refused([2, 4], np.zeros(3), "the parameters do not go together")
