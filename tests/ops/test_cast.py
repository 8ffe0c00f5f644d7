"""Conversions against TensorFlow."""

import ml_dtypes
import numpy as np
import pytest

from coldframe import dtypes
from coldframe.errors import ExecutionError
from op_harness import COMPLEX, FLOATS, INTS, NUMPY, Row, bound, check, each, rows

ALL = (*FLOATS, *INTS, *COMPLEX, "bool")
EIGHTS = ("float8_e5m2", "float8_e4m3fn")
QUANTIZED = ("qint8", "quint8", "qint16", "quint16", "qint32")
NUMBERS = np.array([0, 1, 1.75, 2.5, 100.9, 3, 7])
TIES = np.array([1 + 1 / 512, 1 - 1 / 512, 1.00390625, 1.01171875, 3.4e38, np.inf, -1.3, 65519, 65520, 3e-8, 465, 1e-3])
WIDE = np.array([1, -1, 127, 128, -129, 300, 70000, 2**31, 2**40 + 7, -(2**63)])
OUTSIDE = np.array([1.7, -1.7, 300, -300, 70000, np.nan, np.inf, -np.inf, 3e9, -3e9])
HUGE = np.array([2.0**63, 1.2e19, 1.8e19, 2.0**64, 1e20, 1e38, np.inf, np.nan, -1e19, -np.inf])
FOURS = ("int4", "uint4")


def of(d: str) -> np.ndarray:
    """Numbers that every dtype holds, with a negative one where there are such."""
    a = NUMBERS.astype(dtypes.as_dtype(d).numpy)
    return np.concatenate([a, np.array([-2]).astype(a.dtype)]) if d[0] != "u" else a


def rounded(a: np.ndarray, d: str) -> np.ndarray:
    """`a` as another dtype, at import time."""
    with np.errstate(all="ignore"):
        return a.astype(dtypes.as_dtype(d).numpy)


@rows(
    *[Row("Cast", [of(s)[: 7 if (s, t[0]) == ("bfloat16", "u") else None]], {"DstT": t}) for s in ALL for t in ALL],
    *[Row("Cast", [of(s)], {"DstT": t}) for s in (*FLOATS, *EIGHTS) for t in EIGHTS],
    *[Row("Cast", [of(s)], {"DstT": t}) for s in EIGHTS for t in ALL],
    *[Row("Cast", [of(s)], {"DstT": t}) for s in INTS for t in ("int4", "uint4")],
    *[Row("Cast", [of(s)[:2]], {"DstT": t}) for s in ("int4", "uint4") for t in INTS],
    Row("Cast", [np.float32(1.5)], {"DstT": "int32"}),
    Row("Cast", [np.zeros((0, 2), "f")], {"DstT": "int64"}),
    Row("Cast", [np.array([2j, 0.5, 0])], {"DstT": "bool"}),
    Row("Cast", [WIDE], {"DstT": "int4"}),
    *[Row("Cast", [WIDE], {"DstT": t}) for t in ALL],
)
def test_cast(row: Row) -> None:
    check(row)


# What an integer cannot hold is left open by C; these are the answers of TensorFlow on x86.
@rows(
    *[
        Row("Cast", [OUTSIDE.astype(s)], {"DstT": t})
        for s in ("float32", "float64")
        for t in ("int32", "int64", "bool", "int8", "uint8", "int16", "uint16", "uint64")
    ],
    *[Row("Cast", [rounded(HUGE, s)], {"DstT": t}) for s in FLOATS for t in ("int32", "int64", "uint64")],
)
def test_cast_out_of_range(row: Row) -> None:
    check(row)


@rows(
    *[Row("Cast", [rounded(TIES, s)], {"DstT": t}) for s in ("float32", "float64") for t in (*FLOATS, *EIGHTS)],
    *[
        Row("Cast", [rounded(TIES, s)], {"DstT": t, "Truncate": True})
        for s in FLOATS
        for t in (*FLOATS, *EIGHTS, "int32")
    ],
)
def test_rounding(row: Row) -> None:
    row.tol = 0.0
    check(row)


@pytest.mark.parametrize("t", QUANTIZED)
def test_quantized_are_their_integers(t: str) -> None:
    import tensorflow as tf

    x = np.array([1.5, 100, 7], "f")
    q = tf.raw_ops.Cast(x=x, DstT=tf.as_dtype(dtypes.as_dtype(t).enum))
    want = tf.raw_ops.Cast(x=q, DstT=tf.int32).numpy()
    call, flat = bound(Row("Cast", [x], {"DstT": t}))
    got = call.run(NUMPY, flat)[0]
    assert got.dtype == dtypes.as_dtype(t).numpy
    assert got.tolist() == want.tolist()


@rows(
    *[
        Row("Bitcast", [np.arange(1, 9).reshape(2, 4).astype(dtypes.as_dtype(s).numpy)], {"type": t})
        for s in ("float32", "int32", "uint32", "float64", "int64", "uint8", "int8", "int16", "bfloat16", "float16")
        for t in ("float32", "int32", "uint8", "uint16")
        if dtypes.as_dtype(s).width >= dtypes.as_dtype(t).width
        or dtypes.as_dtype(t).width // dtypes.as_dtype(s).width == 4
    ],
    Row("Bitcast", [np.array([1 + 2j])], {"type": "complex64"}),
    Row("Bitcast", [np.float64(1)], {"type": "float32"}),
    Row("Bitcast", [np.zeros((0, 4), "u1")], {"type": "float32"}),
    Row("Bitcast", [np.zeros((2, 0), "f")], {"type": "uint8"}),
    Row("Bitcast", [np.zeros((2, 3), "u1")], {"type": "float32"}, refused=True),
    Row("Bitcast", [np.uint8(1)], {"type": "float32"}, refused=True),
)
def test_bitcast(row: Row) -> None:
    check(row)


@rows(
    *[
        Row(n, [np.array(v, "f").astype(d)], {"message": "logits"}, refused=not np.isfinite(v).all())
        for n in ("CheckNumerics", "CheckNumericsV2")
        for d in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)
        for v in ([1.0, 2.0], [1, np.nan], [-np.inf])
    ],
)
def test_check_numerics(row: Row) -> None:
    check(row)


def test_check_numerics_says_what_it_found() -> None:
    call, flat = bound(Row("CheckNumericsV2", [np.array([np.inf, np.nan], "f")], {"message": "logits"}))
    with pytest.raises(ExecutionError, match=r"logits : tensor holds \+Inf and NaN: expected finite numbers"):
        call.run(NUMPY, flat)


@rows(
    *each(
        ("float32", "float64", "int32", "uint8", "int64", "bool"),
        lambda d: [Row("ToBool", [np.array(v, dtypes.as_dtype(d).numpy)]) for v in (0, 1, [0], [], [[0]])],
    ),
    *[Row("ToBool", [np.array(v, object)]) for v in (b"", b"0")],
    Row("ToBool", [np.float32(np.nan)]),
    Row("ToBool", [np.float32(-0.0)]),
)
def test_to_bool(row: Row) -> None:
    check(row)
