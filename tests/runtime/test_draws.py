"""Random numbers of compiled training steps: the bits of numpy's, at the same places in their sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf
from coldframe.engines import xla
from coldframe.engines.base import EngineFailure

ENGINES = ("onnxruntime", "xla")


def drawing() -> tuple[Any, Any]:
    """Return every kind of random numbers beside a step of a training, and the placeholder that says how many."""
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    shape = tf.shape(x)
    raw, seeds = tf.raw_ops, {"seed": 87654321, "seed2": 5}
    made = [raw.RandomUniform(shape=shape, dtype=d, **seeds) for d in (tf.float32, tf.float64, tf.float16, tf.bfloat16)]
    for dtype, low, high in ((tf.int32, -5, 100), (tf.int64, -(1 << 40), 1 << 62)):
        limits = {"minval": tf.constant(low, dtype), "maxval": tf.constant(high, dtype)}
        made.append(raw.RandomUniformInt(shape=shape, **limits, **seeds))
    for op in (raw.RandomStandardNormal, raw.TruncatedNormal):
        made += [op(shape=shape, dtype=d, **seeds) for d in (tf.float32, tf.float64)]
    total = tf.get_variable("total", [], initializer=tf.zeros_initializer())
    return [*made, tf.assign_add(total, tf.reduce_sum(tf.matmul(x, made[0], transpose_b=True)))], x


def runs(engine: str, counts: tuple[int, ...]) -> tuple[list[Any], Any, Any]:
    """Return what is drawn run after run, where the sequences end, and the report of the last plan."""
    with tf.Graph().as_default():
        fetches, x = drawing()
        with tf.Session(engine=engine) as session:
            session.run(tf.global_variables_initializer())
            found = [session.run(fetches, {x: np.ones((n, 3), "f")})[:-1] for n in counts]
            return found, session.runtime.state.random_state(), session.runtime.report()[-1]


def equal(a: list[Any], b: list[Any]) -> None:
    for one, other in zip(a, b, strict=True):
        for x, y in zip(one, other, strict=True):
            assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())


@pytest.mark.parametrize("engine", ENGINES)
def test_bits_of_numpy_in_one_island(engine: str) -> None:
    found, ends, report = runs(engine, (2, 2, 7, 2))
    want, places, _ = runs("reference", (2, 2, 7, 2))
    equal(found, want)
    assert ends == places
    assert [s["engine"] for s in report] == [engine]


def test_no_numbers() -> None:
    equal(runs("xla", (0, 1))[0], runs("reference", (0, 1))[0])


def test_a_counter_that_overflows_its_lower_half() -> None:
    import jax

    from coldframe import dtypes
    from coldframe.ops.philox import Stream, integers, uniform
    from coldframe.primitives.jax_xp import JaxPrimitives

    key, counter = (1 << 64) - 3, (5 << 64) + (1 << 64) - 2
    place, xp = np.array([key, counter & ((1 << 64) - 1), counter >> 64], np.uint64), JaxPrimitives()
    with jax.enable_x64(True):
        for dtype in (dtypes.float32, dtypes.float64):
            got = jax.jit(lambda p, d=dtype: xp.random_uniform(p, 50, d))(place)
            assert np.asarray(got).tobytes() == uniform(Stream(key, counter), 50, dtype).tobytes()
        got = jax.jit(lambda p: xp.random_integers(p, 50, -7, 1 << 33, dtypes.int64))(place)
        assert np.asarray(got).tobytes() == integers(Stream(key, counter), 50, -7, 1 << 33, dtypes.int64).tobytes()


def test_numpy_draws_the_same_where_the_engine_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Flaky(xla._Program):
        calls = 0

        def held(self, values: list[Any]) -> list[Any]:
            Flaky.calls += 1
            if Flaky.calls == 2:
                raise EngineFailure("out of luck")
            return super().held(values)

    want = runs("reference", (3, 3, 3))
    monkeypatch.setattr(xla, "_Program", Flaky)
    found = runs("xla", (3, 3, 3))
    assert Flaky.calls == 3
    equal(found[0], want[0])
    assert found[1] == want[1]
