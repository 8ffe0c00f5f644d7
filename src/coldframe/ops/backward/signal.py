"""Gradient rules of Fourier transforms.

The gradient of a transform is the inverse one, without its division. Of real transforms the half of the spectrum that
is left out by symmetry has to be accounted for.
"""

from __future__ import annotations

import math
from typing import Any

from coldframe import dtypes
from coldframe.dtypes import int32
from coldframe.ops.backward import cast, filled, matmul, rank_of, shape_of
from coldframe.ops.table import Body

_REAL = {dtypes.complex64: dtypes.float32, dtypes.complex128: dtypes.float64}
_COMPLEX = {real: wide for wide, real in _REAL.items()}


def _size(g: Any, x: Any, rank: int) -> Any:
    """The number of elements of the last `rank` dimensions."""
    return g.Prod(shape_of(g, x)[-rank:], [0])


def forward(rank: int) -> Body:
    """FFT, FFT2D, FFT3D."""

    def rule(g: Any, op: Any, dy: Any) -> Any:
        size = cast(g, _size(g, dy, rank), dy.dtype)
        return getattr(g, _named("IFFT", rank))(dy) * size

    return rule


def backward(rank: int) -> Body:
    """IFFT, IFFT2D, IFFT3D."""

    def rule(g: Any, op: Any, dy: Any) -> Any:
        share = 1.0 / cast(g, _size(g, dy, rank), _REAL[dy.dtype])
        return getattr(g, _named("FFT", rank))(dy) * cast(g, share, dy.dtype)

    return rule


def real_forward(rank: int) -> Body:
    """RFFT, RFFT2D: the zeroth and, in even lengths, the middle frequency occur once in the spectrum, others twice."""

    def rule(g: Any, op: Any, dy: Any) -> Any:
        x, length = op.inputs
        wide, real = dy.dtype, _REAL[dy.dtype]
        shape = shape_of(g, x)
        is_even = cast(g, 1 - (length[-1] % 2), wide)
        first, last = dy[..., 0:1], dy[..., -1:]
        if rank == 1:
            extra = first + is_even * last * _signs(g, shape[-1], wide)
        else:
            turns = _tiled(g, _turns(g, shape[-2], wide), first)
            middle = matmul(g, turns, g.Conj(last))
            ones = filled(g, g.Pack([rank_of(g, dy) - 1]), 1, int32, "ones")
            repeated = g.Tile(middle, g.ConcatV2([ones, g.Pack([shape[-1]])], 0, name="concat"))
            extra = matmul(g, turns, g.Conj(first)) + is_even * (repeated * _signs(g, shape[-1], wide))
        whole = getattr(g, _named("IRFFT", rank))(dy, length, Treal=real)
        return 0.5 * (whole * cast(g, _size(g, x, rank), real) + g.Real(extra, Tout=real)), None

    return rule


def _signs(g: Any, length: Any, wide: dtypes.DType) -> Any:
    """1, -1, 1, -1, ..."""
    return cast(g, 1 - 2 * (g.Range(0, length, 1, name="range") % 2), wide)


def _turns(g: Any, length: Any, wide: dtypes.DType) -> Any:
    """The matrix of a discrete Fourier transform of that length."""
    rows = g.Tile(g.ExpandDims(g.Range(0, length, 1, name="range"), 0), g.Pack([length, 1]))
    columns = g.Transpose(rows, [1, 0], name="transpose")
    angle = g.constant(-2j * math.pi, wide) * cast(g, rows * columns, wide)
    return g.Exp(angle / cast(g, length, wide))


def _tiled(g: Any, matrix: Any, x: Any) -> Any:
    """The matrix, once for each of the batches of x."""
    ones = filled(g, g.Pack([rank_of(g, x) - 2]), 1, int32, "ones")
    expanded = g.Reshape(matrix, g.ConcatV2([ones, shape_of(g, matrix)], 0, name="concat"))
    return g.Tile(expanded, g.ConcatV2([shape_of(g, x)[:-2], [1, 1]], 0, name="concat"))


def real_backward(rank: int) -> Body:
    """IRFFT, IRFFT2D: frequencies that stand for two count twice."""

    def rule(g: Any, op: Any, dy: Any) -> Any:
        x, length = op.inputs
        real, wide = dy.dtype, _COMPLEX[dy.dtype]
        is_odd = length[-1] % 2
        twice = 2.0 * filled(g, g.Pack([shape_of(g, x)[-1] - 2 + is_odd]), 1, real, "ones")
        weights = g.ConcatV2(
            [g.constant([1.0], real), twice, filled(g, g.Pack([1 - is_odd]), 1, real, "ones")], 0, name="concat"
        )
        share = g.Reciprocal(cast(g, _size(g, dy, rank), real))
        spectrum = getattr(g, _named("RFFT", rank))(dy, length, Tcomplex=wide)
        return spectrum * cast(g, share * weights, wide), None

    return rule


def _named(name: str, rank: int) -> str:
    return name if rank == 1 else f"{name}{rank}D"
