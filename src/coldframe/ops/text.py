"""Tensors as text, and text by segments."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.ops.table import op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_HOST = "ONNX Runtime has no string kernels that take bytes"


# --- StringFormat -----------------------------------------------------------------------------------------------
def _spelled(v: Any) -> str:
    """One element as TensorFlow prints it: floats with as few digits as give it back, of 6 or 9 (15 or 17)."""
    if isinstance(v, bytes):
        return '"' + "".join(_escaped(c) for c in v.decode("utf-8", "surrogateescape")) + '"'
    if isinstance(v, (bool, np.bool_)):
        return str(int(v))
    if isinstance(v, np.complexfloating):
        return f"({_spelled(v.real)},{_spelled(v.imag)})"
    if isinstance(v, (int, np.integer)):
        return str(int(v))
    return _float(np.float64(v) if isinstance(v, np.float64) else np.float32(v))


_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "'": "\\'", "\\": "\\\\"}


def _escaped(char: str) -> str:
    """A character as C spells it in a string; what is not ASCII stays."""
    return _ESCAPES.get(char) or (f"\\{ord(char):03o}" if char < " " or char == "\x7f" else char)


def _float(v: Any) -> str:
    if math.isnan(v):
        return "nan"
    if math.isinf(v):
        return "inf" if v > 0 else "-inf"
    short, long = (15, 17) if isinstance(v, np.float64) else (6, 9)
    text = f"{float(v):.{short}g}"
    return text if type(v)(text) == v else f"{float(v):.{long}g}"


def summary(x: Array, ends: int) -> str:
    """Return `x` in brackets, a line per row, with at most `ends` elements at each end of a dimension (-1: all)."""
    most = max(1, *x.shape) if ends < 0 and x.ndim else ends
    return _level(x, most, 0)


def _level(x: Array, ends: int, depth: int) -> str:
    if x.ndim == 0:
        return _spelled(x[()])
    gap = " " if x.ndim == 1 else "\n" * (x.ndim - 1) + " " * (depth + 1)
    n = len(x)
    parts = [_level(np.asarray(x[i], x.dtype), ends, depth + 1) for i in range(min(ends, n))]
    if n > 2 * ends:
        parts.append("...")
    parts += [_level(np.asarray(x[i], x.dtype), ends, depth + 1) for i in range(max(ends, n - ends), n)]
    return f"[{gap.join(parts)}]"


@op("StringFormat", shape="-> []", host=_HOST)
def string_format(xp: Any, inputs: list[Any], *, template: str, placeholder: str, summarize: int) -> Any:
    """A text with the tensors in the places of its placeholders."""
    pieces = template.split(placeholder) if placeholder else [template]
    if len(pieces) != len(inputs) + 1:
        raise refuse("as many placeholders as inputs", expected=len(inputs), found=len(pieces) - 1)
    shown = [summary(_array(x), summarize) for x in inputs]
    text = pieces[0] + "".join(s + p for s, p in zip(shown, pieces[1:], strict=True))
    return np.array(text.encode("utf-8", "surrogateescape"), object)


def _array(x: Any) -> Array:
    if isinstance(x, bytes):
        return np.array(x, object)
    return np.asarray(x)


# --- UnsortedSegmentJoin ----------------------------------------------------------------------------------------
@op("UnsortedSegmentJoin", host=_HOST)
def unsorted_segment_join(xp: Any, inputs: Array, segment_ids: Array, num_segments: Any, *, separator: str) -> Any:
    """The strings of each segment, joined in their order."""
    n = int(num_segments)
    if n < 0:
        raise refuse("the number of segments is negative", found=n)
    if not segment_ids.ndim or inputs.shape[: segment_ids.ndim] != segment_ids.shape:
        raise refuse(
            "segment ids go with the leading dimensions", expected=list(inputs.shape), found=list(segment_ids.shape)
        )
    ids = segment_ids.ravel()
    if ids.size and not 0 <= ids.min() <= ids.max() < n:
        raise refuse("a segment id is out of range", expected=f"0 to {n - 1}", found=f"{ids.min()} to {ids.max()}")
    width = math.prod(inputs.shape[segment_ids.ndim :])
    rows = inputs.reshape(ids.size, width)
    between = separator.encode("utf-8", "surrogateescape")
    out = np.empty((n, width), object)
    order = np.argsort(ids, kind="stable")
    ends = np.searchsorted(ids[order], np.arange(n + 1)).tolist()
    for k in range(width):
        column = rows[order, k].tolist()
        out[:, k] = [between.join(column[a:b]) for a, b in itertools.pairwise(ends)]
    return out.reshape(n, *inputs.shape[segment_ids.ndim :])
