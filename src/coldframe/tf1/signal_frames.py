"""Signals in frames: `tf.signal.frame`, `overlap_and_add`, and the short-time Fourier transforms made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import range, square
from coldframe.tf1.array_ops import (
    concat,
    gather,
    pad,
    rank,
    reshape,
    roll,
    shape,
    tile,
    zeros,
)
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant_value, convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.reduce_ops import reduce_sum
from coldframe.tf1.shape_ops import transpose
from coldframe.tf1.signal_ops import irfft, rfft
from coldframe.tf1.signal_windows import hann_window


def frame(
    signal: Any, frame_length: Any, frame_step: Any, pad_end: bool = False, pad_value: Any = 0, axis: int = -1,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Cut one dimension of a signal into frames that may overlap.

    Args:
        signal: shape [..., samples, ...].
        frame_length, frame_step: samples of a frame, and between the starts of two.
        pad_end: whether the last frames go past the end, filled with `pad_value`.
        axis: the dimension.

    Returns:
        Shape [..., frames, frame_length, ...].
    """
    with name_scope(name, "frame", [signal, frame_length, frame_step, pad_value]):
        signal = convert_to_tensor(signal, name="signal")
        length = convert_to_tensor(frame_length, dtypes.int32, name="frame_length")
        step = convert_to_tensor(frame_step, dtypes.int32, name="frame_step")
        dims = signal.static_shape.dims
        if dims is None:
            raise ValueError("the rank of the signal must be known")
        axis %= len(dims)
        sizes = shape(signal)
        samples = sizes[axis]
        outer, inner = sizes[:axis], sizes[axis + 1 :]
        if pad_end:
            count = -(-samples // step)
            missing = raw.Maximum(0, length + step * (count - 1) - samples)
            around = [[0, 0]] * axis, [[0, 0]] * (len(dims) - axis - 1)
            signal = pad(signal, [*around[0], [0, missing], *around[1]], constant_values=pad_value)
        else:
            count = raw.Maximum(0, 1 + (samples - length) // step)
        starts = reshape(range(count) * step, [-1, 1])
        picked = gather(signal, reshape(starts + reshape(range(length), [1, -1]), [-1]), axis=axis)
        made = reshape(picked, concat([outer, [count, length], inner], 0))
        made.set_shape(_framed(dims, axis, constant_value(length), constant_value(step), pad_end))
        return made


def _framed(dims: Any, axis: int, length: Any, step: Any, pad_end: bool) -> list[int | None]:
    samples, count = dims[axis], None
    if None not in (samples, length, step):
        count = -(-samples // step) if pad_end else max(0, 1 + (samples - length) // step)
    return [*dims[:axis], None if count is None else int(count), None if length is None else int(length),
            *dims[axis + 1 :]]  # fmt: skip


def overlap_and_add(signal: Any, frame_step: Any, name: str | None = None) -> Any:
    """Add frames at their places: the other way round of `frame`, where frames do not overlap.

    Args:
        signal: shape [..., frames, frame_length].
        frame_step: samples between the starts of two frames.

    Returns:
        Shape [..., (frames - 1) * frame_step + frame_length].
    """
    with name_scope(name, "overlap_and_add", [signal, frame_step]):
        signal = convert_to_tensor(signal, name="signal")
        signal.shape.with_rank_at_least(2)
        step = convert_to_tensor(frame_step, dtypes.int32, name="frame_step")
        sizes = shape(signal)
        outer, frames, length = sizes[:-2], sizes[-2], sizes[-1]
        total = (frames - 1) * step + length
        places = reshape(reshape(range(frames) * step, [-1, 1]) + range(length), [-1])
        rows = transpose(reshape(signal, concat([[-1], [frames * length]], 0)))
        added = raw.UnsortedSegmentSum(rows, places, total)
        made = reshape(transpose(added), concat([outer, [total]], 0))
        dims, known = signal.static_shape.dims, constant_value(step)
        if dims is not None:
            whole = None if None in (*dims[-2:], known) else (dims[-2] - 1) * int(known) + dims[-1]
            made.set_shape([*dims[:-2], whole])
        return made


def stft(
    signals: Any, frame_length: Any, frame_step: Any, fft_length: Any = None, window_fn: Any = hann_window,
    pad_end: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    """Return the short-time Fourier transform of real signals.

    Args:
        signals: shape [..., samples].
        frame_length, frame_step: as for `frame`.
        fft_length: samples of a transform; the smallest power of two that holds a frame where left out.
        window_fn: gives the window by its length and dtype (``dtype=``); None for none.
        pad_end: as for `frame`.

    Returns:
        Shape [..., frames, fft_length // 2 + 1], complex.
    """
    with name_scope(name, "stft", [signals, frame_length, frame_step]):
        signals = convert_to_tensor(signals, name="signals")
        signals.shape.with_rank_at_least(1)
        length = convert_to_tensor(frame_length, dtypes.int32, name="frame_length")
        step = convert_to_tensor(frame_step, dtypes.int32, name="frame_step")
        size = _enclosing_power_of_two(length) if fft_length is None else convert_to_tensor(fft_length, dtypes.int32)
        frames = frame(signals, length, step, pad_end=pad_end)
        if window_fn is not None:
            frames *= window_fn(length, dtype=frames.dtype)
        return rfft(frames, [size])


def inverse_stft(
    stfts: Any, frame_length: Any, frame_step: Any, fft_length: Any = None, window_fn: Any = hann_window,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return the real signals of short-time Fourier transforms.

    Args:
        stfts: shape [..., frames, fft_length // 2 + 1], complex.
        frame_length, frame_step, fft_length: as for `stft`.
        window_fn: what frames are multiplied by; see `inverse_stft_window_fn`.

    Returns:
        Shape [..., samples].
    """
    with name_scope(name, "inverse_stft", [stfts]):
        stfts = convert_to_tensor(stfts, name="stfts")
        stfts.shape.with_rank_at_least(2)
        length = convert_to_tensor(frame_length, dtypes.int32, name="frame_length")
        step = convert_to_tensor(frame_step, dtypes.int32, name="frame_step")
        size = _enclosing_power_of_two(length) if fft_length is None else convert_to_tensor(fft_length, dtypes.int32)
        frames = irfft(stfts, [size])
        known, wide = constant_value(length), constant_value(size)
        frames = frames[..., :length]
        if known is None or wide is None or known > wide:
            missing = raw.Maximum(0, length - shape(frames)[-1])
            frames = pad(frames, concat([zeros([rank(frames) - 1, 2], dtypes.int32), [[0, missing]]], 0))
        if window_fn is not None:
            frames *= window_fn(length, dtype=frames.dtype)
        return overlap_and_add(frames, step)


def inverse_stft_window_fn(
    frame_step: Any, forward_window_fn: Any = hann_window, name: str | None = None
) -> Callable[..., Any]:
    """Return the window for `inverse_stft` that undoes `forward_window_fn`: it is divided by what overlaps."""

    def window(frame_length: Any, dtype: Any) -> Any:
        with name_scope(name, "inverse_stft_window_fn", [forward_window_fn]):
            step = convert_to_tensor(frame_step, dtypes.int32, name="frame_step")
            length = convert_to_tensor(frame_length, dtypes.int32, name="frame_length")
            forward = forward_window_fn(length, dtype=dtype)
            overlaps = -(-length // step)
            whole = pad(square(forward), [[0, overlaps * step - length]])
            summed = reduce_sum(reshape(whole, [overlaps, step]), 0, keepdims=True)
            return forward / reshape(tile(summed, [overlaps, 1]), [overlaps * step])[:length]

    return window


def _enclosing_power_of_two(value: Any) -> Any:
    known = constant_value(value)
    if known is not None:
        return convert_to_tensor(int(2 ** np.ceil(np.log2(float(known)))), dtypes.int32)
    kind = dtypes.float32
    exponent = raw.Ceil(raw.Log(cast(value, kind)) / raw.Log(convert_to_tensor(2.0, kind)))
    return cast(raw.Pow(convert_to_tensor(2.0, kind), exponent), dtypes.int32)


def fftshift(x: Any, axes: Any = None, name: str | None = None) -> Any:
    """Move the frequency zero to the middle, of `axes` or of all."""
    return _shifted(x, axes, name, "fftshift", forward=True)


def ifftshift(x: Any, axes: Any = None, name: str | None = None) -> Any:
    """Move the frequency zero back to the front: the other way round of `fftshift`."""
    return _shifted(x, axes, name, "ifftshift", forward=False)


def _shifted(x: Any, axes: Any, name: str | None, default: str, forward: bool) -> Any:
    with name_scope(name, default):
        x = convert_to_tensor(x)
        if axes is None:
            axes = range(rank(x))
            sizes = shape(x)
        else:
            sizes = gather(shape(x), axes)
        return roll(x, sizes // 2 if forward else -(sizes // 2), axes)


__all__ = [
    "fftshift", "frame", "ifftshift", "inverse_stft", "inverse_stft_window_fn", "overlap_and_add", "stft",
]  # fmt: skip
