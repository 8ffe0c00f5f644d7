"""What TensorFlow's debugger and its tests put into graphs: summaries of a tensor's numbers, a fact, an end.

::

    DebugNumericSummary    1, count, nan, -inf, negative, zero, positive, +inf, min, max, mean, variance, dtype, rank,
                           then the dimensions
    DebugNumericSummaryV2  by mode: 2  id, whether any is infinite or NaN
                                    3  id, count, -inf, +inf, nan
                                    4  id, device, dtype, rank, count, -inf, +inf, nan, negative, zero, positive
                                    5  id, dtype, rank, count, six dimensions
                                    8  -inf, +inf and nan, where there is one of them; else 0

Where the debugger would send them, nobody listens: they are values like others.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops.known import Attrs, Known
from coldframe.ops.table import op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_HOST: Final = "it sums a tensor up for a debugger"
_SENT: Final = ("device_name", "tensor_name", "debug_urls", "gated_grpc")
_CURT, _CONCISE, _FULL, _SHAPE, _REDUCED = 2, 3, 4, 5, 8
_SIZES: Final = {_CURT: 2, _CONCISE: 5, _FULL: 11, _SHAPE: 10, _REDUCED: 3}
_DIMS: Final = 6  # of a shape in a summary
_MOST_IDS: Final = 1 << 24  # from there on, float32 has no place for each number


def _numbers(x: Array, dtype: DType) -> Array:
    """The elements as float64."""
    return np.asarray(x, dtype.numpy).ravel().astype(np.float64)


def _counts(x: Array, low: float = -np.inf, high: float = np.inf) -> list[int]:
    """How many are NaN, at most `low`, negative, 0, positive, and at least `high`."""
    with np.errstate(invalid="ignore"):
        least, most = x <= low, x >= high
        between = ~(least | most)
        kinds = [np.isnan(x), least, between & (x < 0), between & (x == 0), between & (x > 0), most & ~least]
    return [int(np.count_nonzero(k)) for k in kinds]


@op("DebugNanCount", shape="-> [1]", host=_HOST, ignores=_SENT)
def debug_nan_count(xp: Any, input: Array, *, T: DType) -> Any:
    """How many elements are not a number, int64[1]."""
    return np.array(_counts(_numbers(input, T))[:1], np.int64)


@op("DebugNumericSummary", shape="-> [?]", host=_HOST, ignores=(*_SENT, "mute_if_healthy"))
def debug_numeric_summary(xp: Any, input: Array, *, T: DType, lower_bound: float, upper_bound: float) -> Any:
    """What numbers a tensor holds, float64[14 + rank]."""
    x = _numbers(input, T)
    finite = x[np.isfinite(x)]
    ends = [finite.min(), finite.max()] if len(finite) else [np.inf, -np.inf]
    moments = [finite.mean(), finite.var()] if len(finite) else [np.nan, np.nan]
    counts = _counts(x, lower_bound, upper_bound)
    shape = np.shape(input)
    return np.array([1, len(x), *counts, *ends, *moments, T.enum, len(shape), *shape], np.float64)


def _summary(a: Attrs, x: Known) -> Any:
    """DebugNumericSummaryV2."""
    return (_SIZES.get(int(a["tensor_debug_mode"])),)


@op("DebugNumericSummaryV2", shape=_summary, host=_HOST)
def debug_numeric_summary_v2(
    xp: Any, input: Array, *, T: DType, output_dtype: DType, tensor_debug_mode: int, tensor_id: int
) -> Any:
    """What numbers a tensor holds, in one of five modes."""
    if tensor_debug_mode not in _SIZES:
        raise refuse("`tensor_debug_mode`", expected=f"one of {sorted(_SIZES)}", found=tensor_debug_mode)
    if output_dtype is not dtypes.float64 and tensor_id > _MOST_IDS:
        raise refuse("`tensor_id`", expected=f"at most {_MOST_IDS}", found=tensor_id)
    shape = np.shape(input)
    nan, least, negative, zero, positive, most = _counts(_numbers(input, T))
    count = int(np.size(input))
    found: list[float] = {
        _CURT: [tensor_id, bool(nan or least or most)],
        _CONCISE: [tensor_id, count, least, most, nan],
        _FULL: [tensor_id, -1, T.enum, len(shape), count, least, most, nan, negative, zero, positive],
        _SHAPE: [tensor_id, T.enum, len(shape), count, *(*shape[-_DIMS:], *[0] * _DIMS)[:_DIMS]],
        _REDUCED: [-np.inf if least else 0, np.inf if most else 0, np.nan if nan else 0],
    }[tensor_debug_mode]
    return np.array(found, output_dtype.numpy)


@op("Fact", shape="-> []", host="it is text")
def fact(xp: Any) -> Any:
    """A fact about factorials."""
    return np.array(b"0! == 1", object)


@op("Abort", effect=True, host="it refuses the run", ignores=("exit_without_error",))
def abort(xp: Any, *, error_msg: str) -> None:
    """Refuse the run. TensorFlow would end the process, which is not a graph's to end."""
    raise refuse("the graph aborts", found=error_msg or None, hint="the process goes on, only this run is refused")


@op("IsTensorFloat32Enabled", shape="-> []", stateful=True)
def is_tensor_float32_enabled(xp: Any, state: Any) -> Any:
    """Whether TensorFlow would let GPUs multiply with fewer bits: it does unless a program forbids it."""
    return np.array(True)
