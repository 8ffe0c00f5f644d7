"""Summaries of pictures and sound: TensorFlow's pixels and bytes."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ExecutionError, MisuseError
from coldframe.formats import messages, png, wav
from op_harness import NUMPY, Row, bound, check, rows

TAG = np.array(b"scope/im", object)
RNG = np.random.default_rng(0)
ODD = np.array([[[[np.nan, 0, 1], [0.5, 0.25, 0]], [[1, np.inf, 3], [7, 8, 9]]]], np.float32)


def image(values: Any, **attrs: Any) -> Row:
    return Row("ImageSummary", [TAG, values], attrs)


def floats(low: float, high: float, dtype: str, channels: int = 1) -> Any:
    return RNG.uniform(low, high, (2, 3, 5, channels)).astype(dtype)


def theirs(row: Row) -> bytes:
    """TensorFlow's answer from a graph: eager calls take no tensor as an attribute."""
    attrs = {k: tf.make_tensor_proto(v) if k == "bad_color" else v for k, v in row.attrs.items()}
    with tf.Graph().as_default(), tf.compat.v1.Session() as sess:
        tag, tensor = (tf.constant(x) for x in row.inputs)
        return bytes(sess.run(tf.raw_ops.ImageSummary(tag=tag, tensor=tensor, **attrs)))


@rows(
    *(image(RNG.integers(0, 256, (4, 3, 2, c)).astype(np.uint8), max_images=m) for c in (1, 3, 4) for m in (1, 3, 9)),
    *(image(floats(*r, d)) for r in ((0, 1), (-3, 1), (-1, 5), (2, 200)) for d in ("float32", "float16", "float64")),
    image(floats(0, 1, "float32", 3)), image(floats(-1, 1, "float32", 4)),
    image(ODD), image(-ODD), image(np.full([1, 1, 2, 1], np.nan, np.float32)),
    image(ODD, bad_color=np.array([1, 2, 3, 4], np.uint8)),
    image(np.zeros([1, 2, 2, 1], np.float32)), image(np.full([1, 2, 2, 1], 1e-7, np.float32)),
    image(np.full([1, 2, 2, 1], -1e-7, np.float32)), image(np.full([1, 2, 2, 1], 1e-20, np.float64)),
    image(np.zeros([0, 2, 2, 3], np.uint8)),
)  # fmt: skip
def test_pictures(row: Row) -> None:
    want = tf.compat.v1.Summary.FromString(theirs(row))
    call, flat = bound(row)
    got = messages.Summary.FromString(call.run(NUMPY, flat)[0].item())
    assert len(want.value) == len(got.value)
    for a, b in zip(want.value, got.value, strict=True):
        pixels = [tf.io.decode_png(v.image.encoded_image_string).numpy() for v in (a, b)]
        np.testing.assert_array_equal(*pixels)
        for v in (a, b):
            v.image.encoded_image_string = b""
        assert a.SerializeToString(deterministic=True) == b.SerializeToString(deterministic=True)


@rows(
    image(np.zeros([1, 2, 2, 2], np.uint8)),
    image(np.zeros([2, 2, 1], np.uint8)),
    image(np.zeros([1, 0, 2, 1], np.uint8)),
    image(ODD, bad_color=np.array([1], np.uint8)),
    Row("ImageSummary", [np.array([b"a"], object), ODD]),
)
def test_no_pictures(row: Row) -> None:
    with pytest.raises((tf.errors.OpError, ValueError)):
        theirs(row)
    call, flat = bound(row)
    with pytest.raises(ExecutionError):
        call.run(NUMPY, flat)


SOUND = (RNG.normal(size=(4, 50)) * 0.6).astype(np.float32)
EDGES = np.array([[0.5 / 32768, 1.5 / 32768, -0.5 / 32768, 1, -1, 2, -2, np.inf, -np.inf, 0.9999999]], np.float32)


@rows(
    *(Row("AudioSummaryV2", [TAG, SOUND, np.float32(8000)], {"max_outputs": m}) for m in (1, 3)),
    Row("AudioSummaryV2", [TAG, SOUND.reshape(2, 50, 2), np.float32(44100.5)], {"max_outputs": 3}),
    Row("AudioSummaryV2", [TAG, EDGES, np.float32(1)], {"max_outputs": 3}),
    Row("AudioSummaryV2", [TAG, SOUND[:0], np.float32(1)], {"max_outputs": 3}),
    Row("AudioSummaryV2", [TAG, np.zeros([2], np.float32), np.float32(1)], refused=True),
    Row("AudioSummaryV2", [TAG, np.zeros([1, 2, 3, 4], np.float32), np.float32(1)], refused=True),
    Row("AudioSummaryV2", [TAG, SOUND, np.array([8000], np.float32)], {"max_outputs": 3}),
)
def test_sound(row: Row) -> None:
    check(row)


def test_the_older_op_has_its_rate_as_an_attribute() -> None:
    """TensorFlow itself runs it only in graphs of long ago."""
    old = Row("AudioSummary", [TAG, SOUND], {"sample_rate": 22050.0, "max_outputs": 2})
    new = Row("AudioSummaryV2", [TAG, SOUND, np.float32(22050)], {"max_outputs": 2})
    results = [call.run(NUMPY, flat)[0].item() for call, flat in (bound(old), bound(new))]
    assert results[0] == results[1]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_keeps_every_pixel(dtype: Any, channels: int) -> None:
    pixels = RNG.integers(0, np.iinfo(dtype).max + 1, (5, 7, channels)).astype(dtype)
    for level in (0, -1):
        back = tf.io.decode_png(png.encode(pixels, level), dtype=tf.as_dtype(dtype)).numpy()
        np.testing.assert_array_equal(back, pixels)


def test_png_filters_help() -> None:
    slope = (np.arange(256)[:, None, None] + RNG.integers(0, 256, (1, 256, 1))).astype(np.uint8)
    assert len(png.encode(slope)) < len(zlib.compress(slope.tobytes())) / 2


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 5), (0, 2, 1)])
def test_png_refuses_what_it_cannot_hold(shape: tuple[int, ...]) -> None:
    with pytest.raises(MisuseError):
        png.encode(np.zeros(shape, np.uint8))
    with pytest.raises(MisuseError, match="float32"):
        png.encode(np.zeros((1, 1, 1), np.float32))


def test_wav_is_read_by_tensorflow_and_refuses_what_it_cannot_hold() -> None:
    sound = SOUND[:2].T
    back, rate = tf.audio.decode_wav(wav.encode(sound, 16000))
    np.testing.assert_allclose(back.numpy(), np.clip(sound, -1, 1), atol=1 / 32768)
    assert rate.numpy() == 16000
    for rate, channels in ((0, 1), (2**32, 1), (1, 0)):
        with pytest.raises(MisuseError, match="no sound that WAV can hold"):
            wav.encode(np.zeros((1, channels), np.float32), rate)


def test_a_rate_must_be_positive() -> None:
    call, flat = bound(Row("AudioSummaryV2", [TAG, SOUND, np.float32(0)], {"max_outputs": 3}))
    with pytest.raises(ExecutionError, match="the rate of sound: expected a positive number"):
        call.run(NUMPY, flat)
