"""Products of matrices and Einstein summation against TensorFlow."""

import numpy as np
import pytest

from coldframe.errors import ExecutionError
from op_harness import COMPLEX, FLOATS, NUMPY, Row, bound, check, each, rows, sample

PRODUCTS = (*FLOATS, "int32", "int64", *COMPLEX)


def _matmul(d: str, ta: bool, tb: bool) -> Row:
    a = sample(d, *((4, 2) if ta else (2, 4)))
    b = sample(d, *((3, 4) if tb else (4, 3)), seed=1)
    return Row("MatMul", [a, b], {"transpose_a": ta, "transpose_b": tb})


@rows(
    *each(PRODUCTS, lambda d: [_matmul(d, False, False), _matmul(d, True, True)]),
    *[_matmul("float32", ta, tb) for ta, tb in ((True, False), (False, True))],
    *[_matmul("int32", ta, tb) for ta, tb in ((True, False), (False, True))],
    *each(FLOATS + COMPLEX, lambda d: Row("MatMul", [sample(d, 2, 0), sample(d, 0, 3)])),
    Row("MatMul", [sample("float32", 0, 2), sample("float32", 3, 0)], {"transpose_a": True, "transpose_b": True}),
    Row("MatMul", [sample("float32", 0, 4), sample("float32", 4, 3)]),
    Row("MatMul", [sample("int32", 3, 0), sample("int32", 0, 2)]),
    Row("MatMul", [np.array([[2**30, 2**30]], np.int32), np.array([[4], [2]], np.int32)]),
    Row("MatMul", [np.array([[np.inf, 1]], np.float32), np.array([[0], [np.nan]], np.float32)]),
    Row("MatMul", [sample("float32", 2, 4), sample("float32", 4, 3)], {"grad_a": True, "grad_b": True}),
    Row("MatMul", [sample("float32", 4), sample("float32", 4, 3)], refused=True),
    Row("MatMul", [sample("float32", 2, 2, 4), sample("float32", 4, 3)], refused=True),
    Row("MatMul", [sample("float32", 2, 4), sample("float32", 3, 4)], refused=True),
    Row("MatMul", [sample("float32", 2, 4), sample("float32", 4, 3)], {"transpose_a": True}, refused=True),
)
def test_matmul(row: Row) -> None:
    check(row)


def _batch(op: str, d: str, ax: bool, ay: bool, lead_x: tuple[int, ...] = (3,), lead_y: tuple[int, ...] = (3,)) -> Row:
    x = sample(d, *lead_x, *((4, 2) if ax else (2, 4)))
    y = sample(d, *lead_y, *((3, 4) if ay else (4, 3)), seed=1)
    return Row(op, [x, y], {"adj_x": ax, "adj_y": ay})


@rows(
    *each(PRODUCTS, lambda d: [_batch("BatchMatMul", d, False, True), _batch("BatchMatMul", d, True, False)]),
    *each((*PRODUCTS, "int16"), lambda d: [_batch("BatchMatMulV2", d, a, a, (5, 1), (3,)) for a in (True, False)]),
    *[
        _batch("BatchMatMulV2", "float32", False, a, x, y)
        for a in (True, False)
        for x, y in (((), (3,)), ((3,), ()), ((2, 3), ()), ((), ()), ((0,), (1,)), ((1, 2), (4, 1)))
    ],
    Row("BatchMatMulV2", [sample("float32", 2, 3, 0), sample("float32", 0, 4)]),
    Row("BatchMatMulV2", [sample("float32", 2, 3, 0), sample("float32", 2, 0, 4)]),
    Row("BatchMatMulV2", [sample("float32", 3), sample("float32", 3, 4)], refused=True),
    Row("BatchMatMulV2", [sample("float32", 3, 3), sample("float32", 4, 4)], refused=True),
    Row("BatchMatMulV2", [sample("float32", 2, 3, 3), sample("float32", 3, 3, 3)], refused=True),
    Row("BatchMatMul", [sample("float32", 3, 2, 2), sample("float32", 1, 2, 2)], refused=True),
    Row("BatchMatMul", [sample("float32", 3, 2, 2), sample("float32", 2, 2)], refused=True),
)
def test_batch_matmul(row: Row) -> None:
    check(row)


def _typed(x: str, y: str, out: str) -> Row:
    far = 3 if "bfloat16" in (x, y) else 100  # TensorFlow rounds each partial sum to bfloat16
    return Row("BatchMatMulV3", [sample(x, 2, 3, 4, low=-far, high=far), sample(y, 4, 2, seed=1)], {"Tout": out})


@rows(
    _typed("float32", "float32", "float32"),
    _typed("int32", "int32", "int32"),
    _typed("int16", "int16", "int16"),
    _typed("int8", "int8", "int32"),
    _typed("int8", "uint8", "int32"),
    _typed("uint8", "int8", "int32"),
    _typed("uint8", "uint8", "int32"),
    _typed("bfloat16", "int8", "bfloat16"),
    _typed("uint8", "bfloat16", "bfloat16"),
    _typed("complex64", "complex64", "complex64"),
)
def test_batch_matmul_of_two_dtypes(row: Row) -> None:
    check(row)


@rows(
    *[
        Row(
            "SparseMatMul",
            [sample(a, 4, 2), sample(b, 4, 3, seed=1)],
            {"transpose_a": True, "a_is_sparse": True, "b_is_sparse": False},
        )
        for a in ("float32", "bfloat16")
        for b in ("float32", "bfloat16")
    ]
)
def test_sparse_matmul(row: Row) -> None:
    check(row)


EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk->ki", (2, 3), (3, 4)),
    ("ij,kj->ik", (2, 3), (4, 3)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("bqhd,bkhd->bhqk", (2, 3, 4, 5), (2, 6, 4, 5)),
    ("bhqk,bkhd->bqhd", (2, 4, 3, 6), (2, 6, 4, 5)),
    ("aecd,abcd->acbe", (2, 3, 4, 5), (2, 6, 4, 5)),
    ("abc,cde->abde", (2, 3, 4), (4, 5, 6)),
    ("abcd,cde->abe", (2, 3, 4, 5), (4, 5, 6)),
    ("abc,abc->abc", (2, 3, 4), (2, 3, 4)),
    ("abc,abc->", (2, 3, 4), (2, 3, 4)),
    ("ab,ab->a", (2, 3), (2, 3)),
    ("a,b->ab", (2,), (3,)),
    ("a,b->ba", (2,), (3,)),
    ("ab,c->bca", (2, 4), (3,)),
    ("a,ab->ab", (2,), (2, 3)),
    ("ab,c->a", (2, 4), (3,)),
    (",->", (), ()),
    (",i->i", (), (3,)),
    ("...ij,...jk->...ik", (5, 1, 2, 3), (4, 3, 2)),
    ("...ij,jk->...ik", (5, 4, 2, 3), (3, 2)),
    ("...ij,jk->...ik", (2, 3), (3, 2)),
    ("i...,j->i...j", (3, 4), (2,)),
    ("...,...->...", (2, 1), (3,)),
    ("...a,...b->...ab", (1, 2), (4, 3)),
    ("...ab,b->a...", (2, 3, 4), (4,)),
    ("iji,j->ii", (2, 3, 2), (3,)),
    ("ii...,jj...->ij...", (2, 2, 3), (4, 4, 3)),
    ("AB,Bb->Ab", (2, 3), (3, 4)),
    ("ij,jk->ik", (2, 0), (0, 3)),
    ("abc,cde->abde", (2, 3, 0), (0, 5, 6)),
    ("abc,cde->abde", (0, 3, 2), (2, 5, 6)),
    ("ii->i", (3, 3)),
    ("ii->", (3, 3)),
    ("i->ii", (3,)),
    ("i->iii", (2,)),
    ("ij->ji", (2, 3)),
    ("ij->", (2, 3)),
    ("ijk->ik", (2, 3, 4)),
    ("->", ()),
    ("...->...", (2, 3)),
    ("i...->...i", (2, 3, 4)),
    ("...ii->...i", (2, 3, 3)),
    ("i...i->...ii", (2, 4, 2)),
    ("iii->i", (3, 3, 3)),
]


def _einsum(d: str, equation: str, *shapes: tuple[int, ...], refused: bool = False) -> Row:
    inputs = [sample(d, *s, seed=i) for i, s in enumerate(shapes)]
    name = f"{equation} {d} {shapes}"
    return Row("Einsum", [inputs], {"equation": equation}, refused=refused, name=name)


@rows(
    *[_einsum("float32", *e) for e in EQUATIONS],
    *each(("float16", "bfloat16", "float64", "int32", "int64", *COMPLEX), lambda d: _einsum(d, *EQUATIONS[7])),
    *each(("bfloat16", "int64", "complex64"), lambda d: _einsum(d, "iji,j->ii", (2, 3, 2), (3,))),
    *[
        _einsum("float32", e, *s, refused=True)
        for e, s in (
            ("ij,jk", ((2, 3), (3, 4))),
            ("ij , jk->ik", ((2, 3), (3, 4))),
            ("i,j,k->ijk", ((2,), (2,), (2,))),
            ("ij->ji", ((3,),)),
            ("ij,ij->ij", ((1, 3), (2, 3))),
            ("ij,jk->ik", ((2, 3), (4, 3))),
            ("ii->i", ((2, 3),)),
            ("...i->i", ((2, 3),)),
            ("...ij,...jk->...ik", ((2, 3, 3), (4, 3, 3))),
            ("i->i->i", ((3,),)),
        )
    ],
)
def test_einsum(row: Row) -> None:
    check(row)


@pytest.mark.parametrize("equation", ["ij->ijk", "i...->ij...", "ij->i...j", "......ij->ij", "i.j->ij"])
def test_einsum_refuses_what_crashes_or_confuses_tensorflow(equation: str) -> None:
    call, flat = bound(Row("Einsum", [[sample("float32", 2, 3)]], {"equation": equation}))
    with pytest.raises(ExecutionError, match="einsum equation"):
        call.run(NUMPY, flat)


def test_messages_name_the_sizes() -> None:
    call, flat = bound(Row("MatMul", [sample("float32", 2, 4), sample("float32", 3, 5)]))
    with pytest.raises(ExecutionError, match="rows of the second: expected 4, found 3"):
        call.run(NUMPY, flat)
