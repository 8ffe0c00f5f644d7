"""Images sampled between their pixels, compared with loops and slopes: TensorFlow has had no Resampler since 2.x."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf
from coldframe.errors import ExecutionError
from op_harness import NUMPY, Row, bound, sample

DATA = sample("float64", 2, 4, 5, 3)
WARP = np.random.default_rng(1).uniform(-1.5, 5.5, (2, 7, 2))
WARP[0, :4] = [[0, 0], [4, 3], [-1, 2], [4.5, 3.5]]


def sampled(data: Any, warp: Any) -> Any:
    """Pixel by pixel, as tf.contrib.resampler tells it."""
    height, width = data.shape[1:3]
    out = np.zeros((*warp.shape[:-1], data.shape[-1]), data.dtype)
    for b, k in np.ndindex(*warp.shape[:-1]):
        x, y = warp[b, k]
        left, top = int(np.floor(x)), int(np.floor(y))
        for i, j in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            if 0 <= i < height and 0 <= j < width:
                out[b, k] += data[b, i, j] * (1 - abs(x - j)) * (1 - abs(y - i))
    return out


def run(op: str, *inputs: Any) -> Any:
    call, flat = bound(Row(op, list(inputs)))
    return call.run(NUMPY, flat)


@pytest.mark.parametrize(("kind", "tol"), [("float16", 2e-2), ("float32", 1e-5), ("float64", 1e-12)])
def test_samples(kind: str, tol: float) -> None:
    data, warp = DATA.astype(kind), WARP.astype(kind)
    (out,) = run("Resampler", data, warp)
    assert out.dtype == data.dtype
    np.testing.assert_allclose(out, sampled(data, warp.astype(np.float64)), rtol=tol, atol=tol)
    np.testing.assert_array_equal(out[0, :2], data[0, [0, 3], [0, 4]])
    np.testing.assert_array_equal(run("Resampler", data, warp.reshape(2, 7, 1, 2))[0], out[:, :, None])


def test_nowhere_is_0() -> None:
    places = np.array([[[np.nan, 1], [np.inf, 1], [1, -np.inf], [1e30, 1e30]]] * 2)
    assert not run("Resampler", DATA, places)[0].any()
    assert not any(g.any() for g in run("ResamplerGrad", DATA, places, np.ones((2, 4, 3))))


def test_gradients_are_slopes() -> None:
    grad = sample("float64", 2, 7, 3, seed=2)
    smooth = WARP + 0.01 * (np.round(WARP) == WARP)  # there is no slope at the pixels themselves
    of_data, of_warp = run("ResamplerGrad", DATA, smooth, grad)
    for place in np.ndindex(*DATA.shape):
        step = np.zeros_like(DATA)
        step[place] = 1
        np.testing.assert_allclose(of_data[place], (sampled(step, smooth) * grad).sum(), atol=1e-12)
    for place in np.ndindex(*WARP.shape):
        step = np.zeros_like(WARP)
        step[place] = 1e-6
        slope = ((sampled(DATA, smooth + step) - sampled(DATA, smooth - step)) * grad).sum() / 2e-6
        np.testing.assert_allclose(of_warp[place], slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "inputs", "message"),
    [
        ("Resampler", [DATA[0], WARP], "expected rank 4, found shape .4, 5, 3."),
        ("Resampler", [DATA, WARP[:1]], r"`warp`: expected .2, ..., 2., found shape .1, 7, 2."),
        ("Resampler", [DATA, WARP[..., :1]], r"`warp`: expected .2, ..., 2., found shape .2, 7, 1."),
        ("ResamplerGrad", [DATA, WARP, np.zeros((2, 7, 2))], "`grad_output`: expected .2, 7, 3., found .2, 7, 2."),
    ],
)
def test_what_does_not_fit_is_refused(op: str, inputs: list[Any], message: str) -> None:
    with pytest.raises(ExecutionError, match=message):
        run(op, *inputs)


def test_a_program_trains_through_it() -> None:
    """A spatial transformer finds the place that an image was moved to."""
    with tf.Graph().as_default(), tf.Session() as session:
        data = tf.constant(DATA.astype(np.float32))
        places = tf.get_variable("places", initializer=np.full((2, 1, 2), 1.3, np.float32))
        out = tf.contrib.resampler.resampler(data, places)
        assert out.shape.as_list() == [2, 1, 3]
        of_data, of_places = tf.gradients(out, [data, places])
        session.run(tf.global_variables_initializer())
        got = session.run([out, of_data, of_places])
    at = np.full((2, 1, 2), 1.3, np.float32)
    want = run("ResamplerGrad", DATA.astype(np.float32), at, np.ones((2, 1, 3), np.float32))
    np.testing.assert_allclose(got[0], sampled(DATA, at.astype(np.float64)), rtol=1e-5)
    for g, w in zip(got[1:], want, strict=True):
        np.testing.assert_array_equal(g, w)
