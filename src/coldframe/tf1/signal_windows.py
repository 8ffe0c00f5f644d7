"""Windows: `tf.signal.hann_window` and its like. Each returns a vector of `window_length` weights.

A periodic window of length n is the first n weights of a symmetric one of length n + 1. Odd lengths are symmetric, as
in TensorFlow.
"""

from __future__ import annotations

import math
from typing import Any

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import bessel_i0e, cos, cumsum, exp, mod, range, sin, sqrt, square
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.cond import cond
from coldframe.tf1.framework.convert import constant, constant_value, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.shape_ops import concat, ones, reverse


def hann_window(window_length: Any, periodic: Any = True, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
    """Return half of one minus a cosine: 0.5 - 0.5 cos(2 pi k / n)."""
    return _raised_cosine(name, "hann_window", window_length, periodic, dtype, 0.5, 0.5)


def hamming_window(
    window_length: Any, periodic: Any = True, dtype: Any = dtypes.float32, name: str | None = None
) -> Any:
    """Return 0.54 - 0.46 cos(2 pi k / n)."""
    return _raised_cosine(name, "hamming_window", window_length, periodic, dtype, 0.54, 0.46)


def _raised_cosine(name: str | None, default: str, length: Any, periodic: Any, dtype: Any, a: float, b: float) -> Any:
    kind = _floating(dtype)
    with name_scope(name, default, [length, periodic]):
        length = convert_to_tensor(length, dtypes.int32, name="window_length")
        length.shape.assert_has_rank(0)

        def several() -> Any:
            even = 1 - mod(length, 2)
            n = cast(length + cast(convert_to_tensor(periodic, dtypes.bool_), dtypes.int32) * even - 1, kind)
            angles = constant(2 * math.pi, kind) * cast(range(length), kind) / n
            return cast(a - b * cos(angles), kind)

        return _one_or(length, kind, several)


def kaiser_window(window_length: Any, beta: Any = 12.0, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
    """Return I0(beta sqrt(1 - x^2)) / I0(beta), x from -1 to 1."""
    kind = _floating(dtype)
    with name_scope(name, "kaiser_window"):
        length = convert_to_tensor(window_length, dtypes.int32)
        beta = convert_to_tensor(beta, kind)

        def several() -> Any:
            half = (cast(length, kind) - 1) / 2
            x = range(-half, half + 0.1, dtype=kind) / half
            arg = beta * sqrt(1 - square(x))
            return exp(arg - beta) * bessel_i0e(arg) / bessel_i0e(beta)

        return _one_or(length, kind, several)


def kaiser_bessel_derived_window(
    window_length: Any, beta: Any = 12.0, dtype: Any = dtypes.float32, name: str | None = None
) -> Any:
    """Return the roots of the running sums of a Kaiser window, up and down again; the length is even."""
    with name_scope(name, "kaiser_bessel_derived_window"):
        length = convert_to_tensor(window_length, dtypes.int32)
        sums = cumsum(kaiser_window(length // 2 + 1, beta, dtype))
        rising = sqrt(sums[:-1] / sums[-1])
        return concat((rising, reverse(rising, axis=[0])), axis=0)


def vorbis_window(window_length: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
    """Return sin(pi/2 sin^2(pi (k + 0.5) / n))."""
    kind = _floating(dtype)
    with name_scope(name, "vorbis_window"):
        length = convert_to_tensor(window_length, dtypes.int32)
        k = cast(range(length), kind)
        pi = constant(math.pi, kind)
        return sin(pi / 2 * square(sin(pi / cast(length, kind) * (k + 0.5))))


def _floating(dtype: Any) -> Any:
    kind = as_dtype(dtype)
    if not kind.is_floating:
        raise ValueError(f"dtype must be a floating point type. Found {kind}")
    return kind


def _one_or(length: Any, kind: Any, several: Any) -> Any:
    """Return a one where the window has one weight, else what `several` makes."""
    known = constant_value(length)
    if known is not None:
        return ones([1], kind) if known == 1 else several()
    made = cond(length > 1, several, lambda: ones([length], kind))
    made.set_shape([None])
    return made


__all__ = ["hamming_window", "hann_window", "kaiser_bessel_derived_window", "kaiser_window", "vorbis_window"]
