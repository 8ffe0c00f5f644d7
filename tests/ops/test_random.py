"""Random ops against TensorFlow's CPU kernels: equal to the bit for given seeds, run after run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe.formats import messages
from coldframe.ops.random import philox

v1 = tf.compat.v1


def both(build: Any, runs: int = 3) -> list[tuple[Any, Any]]:
    """Return what TensorFlow and coldframe give in the first few runs of a session."""
    with v1.Graph().as_default() as graph:
        out = build()
        with v1.Session() as session:
            expected = [session.run(out) for _ in range(runs)]
    ours = cf.Session(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="in memory"))
    return [(e, ours.run(out.name)) for e in expected]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [[7, 3], [], [0], [4]], ids=str)
def test_uniform(dtype: str, shape: list[int]) -> None:
    for expected, got in both(
        lambda: tf.raw_ops.RandomUniform(shape=np.array(shape, np.int32), dtype=dtype, seed=87654321, seed2=5)
    ):
        assert np.asarray(got).dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize(("low", "high"), [(0, 10), (-7, 1_000_000)])
def test_uniform_int(dtype: Any, low: int, high: int) -> None:
    build = lambda: tf.raw_ops.RandomUniformInt(  # noqa: E731
        shape=[11], minval=dtype(low), maxval=dtype(high), seed=3, seed2=-9
    )
    for expected, got in both(build):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12), ("float16", 4e-3)])
def test_normal(dtype: str, tolerance: float) -> None:
    for expected, got in both(lambda: tf.raw_ops.RandomStandardNormal(shape=[9, 5], dtype=dtype, seed=1, seed2=2)):
        np.testing.assert_allclose(
            np.asarray(got, np.float64), np.asarray(expected, np.float64), rtol=tolerance, atol=tolerance
        )


def test_without_seeds_every_session_differs() -> None:
    build = lambda: tf.raw_ops.RandomUniform(shape=[1000], dtype="float32")  # noqa: E731
    (_, first), (_, second) = both(build, 2)
    assert not np.array_equal(first, second)
    assert 0 <= first.min() < 0.05
    assert 0.95 < first.max() < 1


def test_the_generator_gives_its_authors_answers() -> None:
    """Known answers of the Random123 library for philox4x32-10."""
    zero = philox(0, 0, 0, 1)[0]
    assert [f"{w:08x}" for w in zero] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    ones = philox(2**64 - 1, 2**64 - 1, 2**64 - 1, 1)[0]
    assert [f"{w:08x}" for w in ones] == ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]


def test_a_shape_that_is_no_vector_is_refused() -> None:
    with tf.Graph().as_default() as graph:
        shape = tf.compat.v1.placeholder(tf.int32, name="shape")
        tf.raw_ops.RandomUniform(shape=shape, dtype=tf.float32, name="x")
    session = cf.Session(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="in the test"))
    with pytest.raises(cf.ExecutionError, match=r"the shape is not a vector at node `x`.*found rank 2"):
        session.run("x:0", {"shape:0": np.ones((2, 2), np.int32)})
