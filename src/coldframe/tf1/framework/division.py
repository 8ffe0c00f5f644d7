"""True division, which casts integers first."""

from __future__ import annotations

from typing import Any, Final

from coldframe import dtypes
from coldframe.tf1.framework import build
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import name_scope

_WIDER: Final = {
    dtypes.uint8: dtypes.float32, dtypes.int8: dtypes.float32, dtypes.uint16: dtypes.float32,
    dtypes.int16: dtypes.float32, dtypes.uint32: dtypes.float64, dtypes.int32: dtypes.float64,
    dtypes.uint64: dtypes.float64, dtypes.int64: dtypes.float64,
}  # fmt: skip


def truediv(x: Any, y: Any, name: str | None = None) -> Any:
    """Return x / y as Python 3 divides: integers become floats. `x` and `y` have one dtype and broadcast."""
    with name_scope(name, "truediv", [x, y]) as scope:
        x = convert_to_tensor(x, name="x")
        y = convert_to_tensor(y, preferred_dtype=x.dtype, name="y")
        if x.dtype is not y.dtype:
            raise TypeError(f"`x` and `y` must have the same dtype, got {x.dtype!r} != {y.dtype!r}.")
        if x.dtype in _WIDER:
            to = _WIDER[x.dtype]
            x = build.raw_op("Cast", [x], {"DstT": to}, "Cast")
            y = build.raw_op("Cast", [y], {"DstT": to}, "Cast")
        return build.raw_op("RealDiv", [x, y], {}, scope)
