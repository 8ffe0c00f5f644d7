"""Conversion between dtypes, of values (Cast) and of bytes (Bitcast), and the check for NaN and infinity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops import inference_array, inference_math
from coldframe.ops.backward import array as back
from coldframe.ops.table import alias, op
from coldframe.primitives.base import refuse

# Bits of the mantissa that `Truncate` keeps, by the dtype converted to; other conversions do not look at it.
_MANTISSA = {"bfloat16": 7, "float16": 10, "float32": 23, "float8_e5m2": 2, "float8_e4m3fn": 3}
_FLOATS = {
    "float16": (np.uint16, 10),
    "bfloat16": (np.uint16, 7),
    "float32": (np.uint32, 23),
    "float64": (np.uint64, 52),
}


@op("Cast", gradient=back.cast_, shape=inference_array.cast)
def cast(xp: Any, x: Any, *, SrcT: DType, DstT: DType, Truncate: bool) -> Any:
    """Convert as C does; floats round to the nearest even, or towards zero with `Truncate`."""
    if "s" in (SrcT.kind, DstT.kind) and SrcT is not DstT:
        raise refuse("no conversion to or from strings", expected="a number", found=f"{SrcT} to {DstT}")
    if Truncate:
        x = _chopped(xp, x, SrcT, DstT)
    if SrcT.name in _FLOATS and DstT is dtypes.uint64:  # x86 has two answers to what is too large; this is TensorFlow's
        x = xp.where(xp.less(x, math.inf if SrcT is dtypes.float16 else 2.0**64), x, math.nan)
    if SrcT.is_float and (DstT.is_integer or DstT.kind == "q"):
        x = xp.cast(x, _through(DstT, x))
    return xp.cast(x, DstT)


def _through(target: DType, x: Any) -> DType:
    """The integer through which floats become narrow integers: what does not fit wraps, on every machine."""
    if target.width <= 2:
        return dtypes.int32
    return dtypes.int64 if target is dtypes.uint32 else target


def _chopped(xp: Any, x: Any, source: DType, target: DType) -> Any:
    """X without the low bits that `target` cannot hold."""
    keep, known = _MANTISSA.get(target.name), _FLOATS.get(source.name)
    if keep is None or known is None or known[1] <= keep:
        return x
    if target is dtypes.bfloat16 and source is not dtypes.float32:  # TensorFlow rounds these all the same
        return x
    a: Any = xp.static(x, "a number to be truncated")
    bits, mantissa = known
    mask: Any = ~np.array((1 << (mantissa - keep)) - 1, bits)
    return (a.view(bits) & mask).view(a.dtype)


@op("Bitcast", shape=inference_math.bitcast, host="ONNX does not reinterpret bytes")
def bitcast(xp: Any, x: Any, *, type: DType) -> Any:
    """The same bytes as `type`; a narrower one adds a last dimension, a wider one takes the last dimension away."""
    had, wants = x.dtype.itemsize, type.numpy.itemsize
    if had >= wants:
        shape = x.shape if had == wants else (*x.shape, had // wants)
    else:
        if not x.ndim or x.shape[-1] != wants // had:
            raise refuse(
                f"cannot reinterpret {x.dtype} as {type}", expected=f"a last dimension of {wants // had}",
                found=list(x.shape),
            )  # fmt: skip
        shape = x.shape[:-1]
    return x.reshape(-1).view(type.numpy).reshape(shape) if x.size else np.zeros(shape, type.numpy)


@op(
    "CheckNumerics", gradient=back.check_numerics, shape="x -> x", effect=True, host="it refuses by value", role="check"
)
def check_numerics(xp: Any, x: Any, *, message: str) -> Any:
    """X, refused with `message` where it holds a NaN or an infinity."""
    return _checked(x, message, [("Inf", np.isinf), ("NaN", np.isnan)])


@op(
    "CheckNumericsV2",
    gradient=back.check_numerics_v2,
    shape="x -> x",
    effect=True,
    host="it refuses by value",
    role="check",
)
def check_numerics_v2(xp: Any, x: Any, *, message: str) -> Any:
    """X, refused with `message` where it holds a NaN or an infinity; the signs of infinities are told."""
    return _checked(
        x, message, [("-Inf", lambda v: v == -math.inf), ("+Inf", lambda v: v == math.inf), ("NaN", np.isnan)]
    )


@check_numerics.onnx
def _(xp: Any, x: Any, *, message: str) -> Any:
    xp.promise(xp.isfinite(x))
    return x


check_numerics_v2.rules["onnx"] = check_numerics.rules["onnx"]


def _checked(x: Any, message: str, tests: list[tuple[str, Any]]) -> Any:
    if np.isfinite(x).all():
        return x
    found = [name for name, test in tests if test(x).any()]
    raise refuse(f"{message} : tensor holds {' and '.join(found)}", expected="finite numbers")


@op("ToBool", shape="-> []", host="it reads strings and sizes too")
def to_bool(xp: Any, x: Any) -> Any:
    """Whether a scalar is not 0 and no empty string; of other shapes, whether there are elements."""
    return np.bool_(x.size > 0 if x.ndim else x.item() not in (0, b""))


host_cast = alias("_HostCast", cast)
