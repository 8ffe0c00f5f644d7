"""Bits of integers.

A shift by less than 0 counts as 0, one by the width or more as the width less one, as in TensorFlow's kernels; the
right shift of signed numbers keeps the sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.ops.families import binary, unary
from coldframe.ops.known import Attrs, Dims, Known
from coldframe.ops.table import op
from coldframe.primitives.base import refuse

BITWISE = [
    unary("Invert", lambda xp, x: xp.invert(x), "every bit of x turned over", no_gradient=True),
    binary("BitwiseAnd", lambda xp, x, y: xp.bitwise_and(x, y), "the bits set in both x and y", no_gradient=True),
    binary("BitwiseOr", lambda xp, x, y: xp.bitwise_or(x, y), "the bits set in x or y", no_gradient=True),
    binary("BitwiseXor", lambda xp, x, y: xp.bitwise_xor(x, y), "the bits set in one of x and y", no_gradient=True),
    binary(
        "LeftShift", lambda xp, x, y: xp.left_shift(x, _bounded(xp, y)), "x shifted left by y bits", no_gradient=True
    ),
    binary(
        "RightShift", lambda xp, x, y: xp.right_shift(x, _bounded(xp, y)), "x shifted right by y bits", no_gradient=True
    ),
    unary(
        "PopulationCount",
        lambda xp, x: np.bitwise_count(x.view(f"u{x.dtype.itemsize}")),
        "how many bits of x are set",
        host="ONNX does not count bits",
        no_gradient=True,
    ),
]


def _bounded(xp: Any, y: Any) -> Any:
    """The number of bits to shift by, within the width of the dtype."""
    kind = xp.dtype(y)
    y = xp.minimum(y, kind.type(kind.itemsize * 8 - 1))
    return y if kind.kind == "u" else xp.maximum(y, kind.type(0))


def _packed(a: Attrs, x: Known, threshold: Known) -> Dims:
    if x.dims is None:
        return None
    *outer, inner = x.dims
    return (*outer, None if inner is None else inner // 8)


@op("CompareAndBitpack", shape=_packed, host="ONNX packs no bits", no_gradient=True)
def compare_and_bitpack(xp: Any, x: npt.NDArray[Any], threshold: npt.NDArray[Any]) -> Any:
    """Whether elements are above a threshold, eight in a byte, the first in its highest bit; of bools, themselves."""
    if np.ndim(threshold):
        raise refuse("`threshold`", expected="a scalar", found=f"shape {list(np.shape(threshold))}")
    if not x.ndim or x.shape[-1] % 8:
        raise refuse("`input`", expected="rows of a multiple of 8 elements", found=f"shape {list(x.shape)}")
    return np.packbits(x if x.dtype == np.bool_ else x > threshold, axis=-1)
