"""Fourier transforms, with TF1's Python arguments."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant_value, constant_value_as_shape, convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.layout_ops import pad
from coldframe.tf1.shape_ops import concat, rank, shape, stack, unstack, zeros, zeros_like
from coldframe.tf1.simple import simple

fft = simple("fft(input) -> FFT")
fft2d = simple("fft2d(input) -> FFT2D")
fft3d = simple("fft3d(input) -> FFT3D")
ifft = simple("ifft(input) -> IFFT")
ifft2d = simple("ifft2d(input) -> IFFT2D")
ifft3d = simple("ifft3d(input) -> IFFT3D")


def _forward(op: Any, rank_: int, scope_name: str) -> Any:
    def function(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Any:
        with name_scope(name, scope_name, [input_tensor, fft_length]) as scope:
            x = convert_to_tensor(input_tensor, preferred_dtype=dtypes.float32)
            if x.dtype not in (dtypes.float32, dtypes.float64):
                raise ValueError(f"RFFT requires tf.float32 or tf.float64 inputs, got: {x}")
            to = dtypes.complex64 if x.dtype is dtypes.float32 else dtypes.complex128
            length = _length(x, fft_length, rank_, False)
            x = _padded(x, rank_, length, False)
            return op(x, _static(length), Tcomplex=to, name=scope)

    function.__doc__ = f"""Return the Fourier transform over the last {rank_} dimension(s) of real numbers.

    Args:
        fft_length: the sizes to which those dimensions are padded or cut first.
    """
    return function


def _inverse(op: Any, rank_: int, scope_name: str) -> Any:
    def function(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Any:
        with name_scope(name, scope_name, [input_tensor, fft_length]) as scope:
            x = convert_to_tensor(input_tensor, preferred_dtype=dtypes.complex64)
            if not x.dtype.is_complex:
                raise ValueError(f"IRFFT requires tf.complex64 or tf.complex128 inputs, got: {x}")
            to = dtypes.float32 if x.dtype is dtypes.complex64 else dtypes.float64
            length = _length(x, fft_length, rank_, True)
            x = _padded(x, rank_, length, True)
            return op(x, _static(length), Treal=to, name=scope)

    function.__doc__ = f"""Return the real numbers whose Fourier transform over the last {rank_} dimension(s) is given.

    Args:
        fft_length: the sizes of those dimensions of the result.
    """
    return function


def _length(x: Any, given: Any, n: int, inverse: bool) -> Any:
    """Return the sizes of the transform: those given, or those of the real side."""
    x.shape.with_rank_at_least(n)
    if given is not None:
        return convert_to_tensor(given, dtypes.int32)
    known = x.shape[-n:]
    if known.is_fully_defined():
        sizes: list[Any] = known.as_list()
        if inverse and sizes:
            sizes[-1] = max(0, 2 * (sizes[-1] - 1))
        return convert_to_tensor(sizes, dtypes.int32)
    sizes = shape(x)[-n:]
    if inverse:
        sizes = unstack(sizes)
        sizes[-1] = raw.Maximum(0, 2 * (sizes[-1] - 1))
        return stack(sizes)
    return sizes


def _static(length: Any) -> Any:
    value = constant_value(length)
    return length if value is None else value


def _padded(x: Any, n: int, length: Any, inverse: bool) -> Any:
    """Return `x` padded to the sizes of the transform (of its complex side, where it is that)."""
    dims = x.static_shape.dims
    if dims is not None and 0 in dims:
        return x
    want = constant_value_as_shape(length)
    if want.is_fully_defined() and dims is not None and None not in dims[-n:]:
        sizes = want.as_list()
        if inverse:
            sizes[-1] = sizes[-1] // 2 + 1  # type: ignore[operator]
        missing = [max(w - d, 0) for w, d in zip(sizes, dims[-n:], strict=True)]
        if not any(missing):
            return x
        return pad(x, [[0, 0]] * max(len(dims) - n, 0) + [[0, m] for m in missing])
    at = rank(x)
    have = shape(x)[-n:]
    outer = zeros([raw.Maximum(0, at - n)], length.dtype)
    if inverse:
        length = concat([length[:-1], length[-1:] // 2 + 1], 0)
    after = concat([outer, raw.Maximum(0, length - have)], 0)
    return pad(x, stack([zeros_like(after), after], axis=1))


rfft = _forward(raw.RFFT, 1, "rfft")
rfft2d = _forward(raw.RFFT2D, 2, "rfft2d")
rfft3d = _forward(raw.RFFT3D, 3, "rfft3d")
irfft = _inverse(raw.IRFFT, 1, "irfft")
irfft2d = _inverse(raw.IRFFT2D, 2, "irfft2d")
irfft3d = _inverse(raw.IRFFT3D, 3, "irfft3d")


__all__ = [
    "fft", "fft2d", "fft3d", "ifft", "ifft2d", "ifft3d", "irfft", "irfft2d", "irfft3d", "rfft", "rfft2d", "rfft3d",
]  # fmt: skip
