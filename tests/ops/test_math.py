"""Elementwise mathematics against TensorFlow."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from op_harness import (
    COMPLEX,
    FLOATS,
    INTS,
    NUMPY,
    Row,
    bound,
    check,
    compare,
    from_tensorflow,
    rows,
    run_onnx,
    sample,
)

SIGNED = ("int8", "int16", "int32", "int64")
NAN, INF = np.nan, np.inf


def special(d: str) -> Any:
    """The values at which formulas break."""
    return np.array([NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 1e-3, -1e-3, 60.0, -60.0]).astype(
        sample(d).dtype
    )


def one(name: str, kinds: tuple[str, ...], low: float = -3, high: float = 3) -> list[Row]:
    """`name` on a matrix, a scalar, nothing, and special values."""
    out: list[Row] = []
    for d in kinds:
        out.append(Row(name, [sample(d, 3, 4, low=low, high=high)]))
        if d not in COMPLEX and d in FLOATS:
            out.append(Row(name, [special(d)], name=f"{name} special {d}"))
        if d in ("float32", "int32"):
            out += [Row(name, [sample(d, low=low, high=high)]), Row(name, [sample(d, 0, 2)])]
    return out


EVERYWHERE = (
    "Sqrt", "Rsqrt", "Exp", "Expm1", "Log", "Log1p", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh",
    "Tanh", "Asinh", "Acosh", "Atanh",
)  # fmt: skip


@rows(
    *[r for name in EVERYWHERE for r in one(name, FLOATS + COMPLEX, low=-0.9, high=0.9)],
    *one("Acosh", FLOATS, low=1.0, high=9.0),
    *one("Log1p", FLOATS, low=-1e-3, high=1e-3),
    *one("Expm1", FLOATS, low=-1e-3, high=1e-3),
)
def test_transcendental(row: Row) -> None:
    check(row)


@rows(
    *one("Neg", FLOATS + SIGNED + COMPLEX),
    *one("Sign", FLOATS + SIGNED + COMPLEX),
    *one("Abs", FLOATS + SIGNED),
    *one("ComplexAbs", ("complex64",)),
    *one("Real", ("complex64",)),
    *one("Imag", ("complex64",)),
    *one("Angle", ("complex64",)),
    *[Row(n, [sample("complex128", 3)], {"Tout": "float64"}) for n in ("ComplexAbs", "Real", "Imag", "Angle")],
    *one("Conj", COMPLEX),
    *one("Square", FLOATS + INTS + COMPLEX),
    *one("Reciprocal", FLOATS + COMPLEX),
    *one("Inv", FLOATS + COMPLEX),
    *one("Floor", FLOATS),
    *one("Ceil", FLOATS),
    *one("Round", FLOATS),
    *one("Rint", ("float32", "float64")),
    *one("Erf", ("float16", "bfloat16", "float32")),
    Row("Erf", [np.array([NAN, 0, 0.5, -3, 7, 1e-9])]),  # at infinity TensorFlow's float64 kernel answers NaN
    *one("Erfc", FLOATS),
    *one("Erfc", ("float32", "float64"), low=4, high=9),
    *[Row(n, [np.array([np.iinfo(d).min, -1, np.iinfo(d).max], d)]) for n in ("Neg", "Abs", "Square") for d in SIGNED],
)
def test_unary(row: Row) -> None:
    check(row)


def two(name: str, kinds: tuple[str, ...], low: float = -3, high: float = 3, **fields: Any) -> list[Row]:
    """`name` on operands that broadcast, on nothing, and on special values."""
    out: list[Row] = []
    for d in kinds:
        y = sample(d, 4, seed=1, low=low, high=high)
        if d in INTS:
            y = np.where(y == 0, y.dtype.type(2), y)
        out.append(Row(name, [sample(d, 3, 4, low=low, high=high), y], **fields))
        if d in FLOATS:
            a, b = np.meshgrid(special(d).astype("float64"), special(d).astype("float64"))
            out.append(Row(name, [a.astype(y.dtype), b.astype(y.dtype)], name=f"{name} special {d}", **fields))
        if d == "float32":
            out += [Row(name, [sample(d, 0, 2), sample(d, 1, 2)], **fields)]
            out += [Row(name, [sample(d), sample(d, seed=1)], **fields)]
    return out


DIVIDES = {"lowers": False, "why": "ONNX Runtime traps on integer division by what may be 0"}


@rows(
    *two("Add", (*FLOATS, *SIGNED, "uint8", *COMPLEX)),
    Row("Add", [["a", "b"], "-c"]),
    Row("Add", ["a", "b"]),
    *two("AddV2", FLOATS + INTS + COMPLEX),
    *two("Sub", FLOATS + INTS + COMPLEX),
    *two("Mul", FLOATS + INTS + COMPLEX),
    *two("MulNoNan", FLOATS + COMPLEX),
    *two("DivNoNan", FLOATS + COMPLEX),
    *two("Div", FLOATS + COMPLEX),
    *two("RealDiv", FLOATS + COMPLEX),
    *two("FloorDiv", FLOATS),
    *two("TruncateDiv", FLOATS),
    *two("FloorMod", FLOATS),
    *two("Mod", ("float32", "float64")),
    *two("TruncateMod", ("float32", "float64")),
    *two("SquaredDifference", (*FLOATS, "int32", "int64", *COMPLEX)),
    *two("Maximum", FLOATS + INTS),
    *two("Minimum", FLOATS + INTS),
    *two("Pow", FLOATS + COMPLEX),
    *two("Atan2", FLOATS),
    *two("Xlogy", FLOATS + COMPLEX),
    *two("Xlog1py", FLOATS + COMPLEX),
    *two("Xdivy", FLOATS + COMPLEX),
    *two("NextAfter", ("float32", "float64")),
    *two("Complex", ("float32",)),
    Row("Complex", [sample("float64", 2), sample("float64", 1)], {"Tout": "complex128"}),
    *[Row(o, [np.complex64(2 - 1j), np.complex64(1 + 3j)], const=(0,)) for o in ("Mul", "Add", "Sub")],
)
def test_binary(row: Row) -> None:
    check(row)


@rows(
    *[r for n in ("Div", "TruncateDiv", "FloorDiv", "FloorMod") for r in two(n, INTS, low=-9, high=9, **DIVIDES)],
    *[r for n in ("Mod", "TruncateMod") for r in two(n, ("int32", "int64"), low=-9, high=9, **DIVIDES)],
    *[
        Row(n, [np.array([-7, 7, -7, 7, -6], d), np.array([2, 2, -2, -2, 3], d)], **DIVIDES)
        for n in ("Div", "TruncateDiv", "FloorDiv", "FloorMod")
        for d in SIGNED
    ],
    *[
        Row(n, [np.array([np.iinfo(d).min], d), np.array([-1], d)], **DIVIDES)
        for n in ("TruncateDiv", "FloorDiv", "FloorMod")
        for d in SIGNED
    ],
    *[
        Row(n, [np.array([1, 2], d), np.array([1, 0], d)], refused=True)
        for n in ("Div", "TruncateDiv", "FloorDiv", "FloorMod")
        for d in ("int32", "uint8")
    ],
    *[
        Row("Pow", [np.array([2, -3, 0, 7], d), np.array([3, 3, 0, 30], d)], lowers=False, why="powers may be refused")
        for d in SIGNED
    ],
    *[Row("Pow", [np.array([2, 1], d), np.array([1, -1], d)], refused=True) for d in SIGNED],
)
def test_integer_division_and_powers(row: Row) -> None:
    check(row)


@rows(
    *[
        Row(n, [sample(d, 3, 4, low=0.1, high=0.9), sample(d, 3, 4, seed=1)])
        for n in ("InvGrad", "ReciprocalGrad", "SqrtGrad", "RsqrtGrad", "SigmoidGrad", "TanhGrad")
        for d in FLOATS + COMPLEX
    ],
)
def test_gradients(row: Row) -> None:
    check(row)


@rows(
    *[
        Row("ClipByValue", [sample(d, 3, 4), np.asarray(sample(d) * 0 + 1), np.asarray(sample(d) * 0 + 2)])
        for d in (*FLOATS, "int32", "int64", "uint8", "int8", "int16", "uint16")
    ],
    Row("ClipByValue", [np.array([NAN, 1, 5], "f"), np.float32(3), np.float32(2)]),
    Row("ClipByValue", [np.array([NAN, 1, 5], "f"), np.array([0, 2, 2], "f"), np.array([NAN, 3, 1], "f")]),
    *[
        Row(n, [np.array(a, t), np.array(b, t)])
        for n in ("BroadcastGradientArgs",)
        for t in ("int32", "int64")
        for a, b in (([2, 1, 3], [4, 1]), ([], [2]), ([1], [1]), ([2, 3], [2, 3]), ([0, 1], [1, 1]))
    ],
    *[Row(n, [np.array([2], "i"), np.array([3], "i")], refused=True) for n in ("BroadcastGradientArgs",)],
)
def test_clip_and_broadcast(row: Row) -> None:
    check(row)


@pytest.mark.parametrize("d", INTS)
@pytest.mark.parametrize("name", ["Div", "TruncateDiv", "FloorDiv", "FloorMod"])
def test_division_by_a_positive_constant_lowers(name: str, d: str) -> None:
    x = np.array([np.iinfo(d).min, np.iinfo(d).min + 1, 0, 1, 5, 7, np.iinfo(d).max], d)
    row = Row(name, [x, np.array(3, d)])
    call, flat = bound(row)
    call = dataclasses.replace(call, op=dataclasses.replace(call.op, static=("y",)))
    want = from_tensorflow(row)
    assert want is not None
    compare(row, call, run_onnx(call, flat, open_dims=True), want, "onnx")


@pytest.mark.parametrize("name", ["Div", "TruncateDiv", "FloorDiv", "FloorMod"])
def test_dividing_nothing_by_zero_gives_nothing(name: str) -> None:
    check(Row(name, [np.zeros(0, "int32"), np.array(0, "int32")], lowers=False, why="a divisor that may be 0"))


def test_round_of_integers_is_the_identity() -> None:
    # TensorFlow 2.21's integer kernel answers 0 for every input; its Python layer never calls it.
    call, flat = bound(Row("Round", [np.array([-7, 5], "int32")]))
    assert call.run(NUMPY, flat)[0].tolist() == [-7, 5]
