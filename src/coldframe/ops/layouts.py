"""Data formats of the neural-network ops: to channels first, in which the verbs over windows work, and back.

ONNX Runtime cancels the transposes between neighbouring ops, so that a graph of channels-last ops becomes a chain of
channels-first nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coldframe.errors import UnsupportedAttributeError
from coldframe.primitives.base import refuse
from coldframe.primitives.windows import Padding


def channels_last(data_format: str) -> bool:
    """Whether `data_format` is NHWC, NDHWC or CHANNELS_LAST; refuse the vectorized formats of GPUs."""
    if data_format in ("NHWC", "NDHWC", "CHANNELS_LAST"):
        return True
    if data_format in ("NCHW", "NCDHW", "CHANNELS_FIRST"):
        return False
    raise UnsupportedAttributeError("a data format of GPUs", expected="NHWC, NCHW, NDHWC or NCDHW", found=data_format)


def to_first(xp: Any, x: Any, data_format: str) -> Any:
    """Turn `x` to [batch, channels, *spatial]."""
    rank = xp.rank(x)
    return xp.transpose(x, [0, rank - 1, *range(1, rank - 1)]) if channels_last(data_format) else x


def from_first(xp: Any, x: Any, data_format: str) -> Any:
    """Turn [batch, channels, *spatial] to `data_format`."""
    rank = xp.rank(x)
    return xp.transpose(x, [0, *range(2, rank), 1]) if channels_last(data_format) else x


def to_filter(xp: Any, w: Any) -> Any:
    """Turn a filter from TensorFlow's [*kernel, in, out] to [out, in, *kernel]."""
    rank = xp.rank(w)
    return xp.transpose(w, [rank - 1, rank - 2, *range(rank - 2)])


def from_filter(xp: Any, w: Any) -> Any:
    """Turn a filter from [out, in, *kernel] to TensorFlow's [*kernel, in, out]."""
    rank = xp.rank(w)
    return xp.transpose(w, [*range(2, rank), 1, 0])


def spatial(values: Sequence[int], rank: int, data_format: str, what: str) -> tuple[int, ...]:
    """Return the spatial entries of a per-dimension attribute; those of batch and channels must be 1."""
    inner, outer = split(values, rank, data_format, what)
    if outer != (1, 1):
        raise refuse(f"{what} in the batch or channel dimension", expected=[1, 1], found=list(outer))
    return inner


def split(values: Sequence[int], rank: int, data_format: str, what: str) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Return the spatial entries of a per-dimension attribute, and its (batch, channel) entries."""
    v = tuple(int(i) for i in values)
    if len(v) != rank:
        raise refuse(f"the number of {what}", expected=rank, found=len(v))
    if min(v) < 1:
        raise refuse(f"{what} that do not move or cover anything", expected="at least 1", found=list(v))
    return (v[1:-1], (v[0], v[-1])) if channels_last(data_format) else (v[2:], (v[0], v[1]))


def window_padding(padding: str, explicit: Sequence[int], rank: int, data_format: str) -> Padding:
    """Return a padding attribute as the verbs take it."""
    if padding != "EXPLICIT":
        if explicit:
            raise refuse("explicit paddings without padding EXPLICIT", expected=[], found=list(explicit))
        return padding
    v = [int(i) for i in explicit]
    if len(v) != 2 * rank or min(v) < 0:
        raise refuse("the explicit paddings", expected=f"{2 * rank} numbers of at least 0", found=v)
    pairs = list(zip(v[::2], v[1::2], strict=True))
    channel = rank - 1 if channels_last(data_format) else 1
    if pairs[0] != (0, 0) or pairs[channel] != (0, 0):
        raise refuse("explicit padding of the batch or channel dimension", expected=0, found=v)
    return pairs[1:-1] if channel == rank - 1 else pairs[2:]


def check_rank(xp: Any, x: Any, ranks: Sequence[int], what: str) -> int:
    """Return the rank of `x`, which must be one of `ranks`."""
    rank = int(xp.rank(x))
    if rank not in ranks:
        raise refuse(f"the rank of {what}", expected=" or ".join(str(r) for r in ranks), found=rank)
    return rank


def known(dim: Any) -> int | None:
    """Return a dimension, or another integer scalar, where its value is known, None where it is symbolic."""
    if not hasattr(dim, "known"):
        return None if dim is None else int(dim)
    values: tuple[int | None, ...] | None = dim.known()
    return values[0] if values else None
