"""Discrete Fourier transforms over the last one, two or three dimensions, by numpy's FFT.

Complex transforms run over all of those dimensions; real ones crop them to ``fft_length`` first. Results have the
precision of the input: complex64 of float32, complex128 of float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.ops import inference_math
from coldframe.ops.backward import signal as back
from coldframe.ops.table import Op, rules
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_HOST = "ONNX Runtime has no complex numbers"


def _rank(x: Array, n: int) -> None:
    if x.ndim < n:
        raise refuse("too few dimensions for the transform", expected=f"rank {n} or more", found=x.ndim)


def _lengths(fft_length: Array, n: int) -> list[int]:
    if fft_length.shape != (n,):
        raise refuse("`fft_length`", expected=f"shape [{n}]", found=list(fft_length.shape))
    sizes = [int(v) for v in fft_length]
    if min(sizes) < 0:
        raise refuse("`fft_length` is negative", found=sizes)
    return sizes


def _crop(x: Array, sizes: list[int]) -> Array:
    """Cut the last dimensions to `sizes`; the kernel never pads, except that nothing stays nothing."""
    have = x.shape[-len(sizes) :]
    for axis, (d, n) in enumerate(zip(have, sizes, strict=True)):
        if d < n and x.size:
            raise refuse(f"dimension {axis - len(sizes)} is shorter than `fft_length` needs", expected=n, found=d)
    index: tuple[Any, ...] = (..., *(slice(0, n) for n in sizes))
    out: Array = x[index]
    return out


def _complex(name: str, n: int, inverse: bool) -> Op:
    axes = tuple(range(-n, 0))

    def run(xp: Any, x: Array) -> Any:
        _rank(x, n)
        if not x.size:
            return x
        return np.asarray((np.fft.ifftn if inverse else np.fft.fftn)(x, axes=axes), x.dtype)

    run.__doc__ = f"The {_WORDS[n]}{'inverse ' if inverse else ''}Fourier transform of complex numbers"
    rule = back.backward(n) if inverse else back.forward(n)
    return Op(name, run, rules=rules(gradient=rule), shape=inference_math.fft, host=_HOST)


def _real(name: str, n: int) -> Op:
    axes = tuple(range(-n, 0))

    def run(xp: Any, x: Array, fft_length: Array, *, Tcomplex: DType) -> Any:
        _rank(x, n)
        sizes = _lengths(fft_length, n)
        shape = (*x.shape[:-n], *sizes[:-1], sizes[-1] // 2 + 1 if sizes[-1] else 0)
        if not math.prod(shape) or not x.size:
            return np.zeros(shape, Tcomplex.numpy)
        return np.fft.rfftn(_crop(x, sizes), axes=axes).astype(Tcomplex.numpy, copy=False)

    run.__doc__ = f"The {_WORDS[n]}Fourier transform of real numbers: the half that is not redundant"
    return Op(
        name, run, rules=rules(gradient=back.real_forward(n) if n < 3 else None), shape=inference_math.rfft, host=_HOST
    )


def _real_inverse(name: str, n: int) -> Op:
    axes = tuple(range(-n, 0))

    def run(xp: Any, x: Array, fft_length: Array, *, Treal: DType) -> Any:
        _rank(x, n)
        sizes = _lengths(fft_length, n)
        shape = (*x.shape[:-n], *sizes)
        if not math.prod(shape) or not x.size:
            return np.zeros(shape, Treal.numpy)
        half = _crop(x, [*sizes[:-1], sizes[-1] // 2 + 1])
        return np.fft.irfftn(half, s=sizes, axes=axes).astype(Treal.numpy, copy=False)

    run.__doc__ = f"The real numbers whose {_WORDS[n]}Fourier transform starts with the input"
    return Op(
        name,
        run,
        rules=rules(gradient=back.real_backward(n) if n < 3 else None),
        shape=inference_math.irfft,
        host=_HOST,
    )


_WORDS = {1: "", 2: "2-D ", 3: "3-D "}

TRANSFORMS = [
    *(_complex(f"FFT{s}", n, inverse=False) for n, s in ((1, ""), (2, "2D"), (3, "3D"))),
    *(_complex(f"IFFT{s}", n, inverse=True) for n, s in ((1, ""), (2, "2D"), (3, "3D"))),
    *(_real(f"RFFT{s}", n) for n, s in ((1, ""), (2, "2D"), (3, "3D"))),
    *(_real_inverse(f"IRFFT{s}", n) for n, s in ((1, ""), (2, "2D"), (3, "3D"))),
]
