"""Sets in dense and sparse tensors, and serialized sparse tensors, against TensorFlow."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe import dtypes
from coldframe.errors import ExecutionError
from op_harness import NUMPY, Row, bound, check, each, rows, sample

KINDS = ("int8", "int16", "int32", "int64", "uint8", "uint16")
HOW = ("a-b", "b-a", "intersection", "union")
A: Any = np.array([[1, 2, 2, 9], [3, 3, 3, 3], [7, 5, 6, 1]])
B: Any = np.array([[9, 9, 4], [1, 3, 2], [8, 0, 4]])
WORDS = [np.array([[b"b", b"a", b"b"], [b"", b"z", b"\xff"]], object), np.array([[b"a"], [b"\xff"]], object)]


def sparse(x: Any, share: float = 0.7) -> list[Any]:
    at = np.argwhere(np.random.default_rng(1).random(x.shape) < share)
    return [at, x[tuple(at.T)], np.array(x.shape, np.int64)]


def how(op: str, inputs: list[Any], kinds: tuple[str, ...] = HOW, **fields: Any) -> list[Row]:
    return [Row(op, inputs, {"set_operation": k}, name=f"{op} {k} {fields} {len(inputs)}", **fields) for k in kinds]


FAR = [np.array([[2**63 - 1, -(2**63)], [5, -(2**62)]]), np.array([[-(2**63), 0, 5], [5, 5, 2**62]])]
MANY = [sample("int64", 300, 12, low=-20, high=20), sample("int64", 300, 9, low=-20, high=20, seed=1)]
WIDE = [np.array([[7, 3], [2**40, 0], [2**40, 1]]), np.array([1, 2**62, -(2**62)]), np.array([2**41, 5])]
CUBES = [sample("int64", 2, 3, 4, low=0, high=4), sample("int64", 2, 3, 2, low=0, high=4, seed=1)]
TURNED = [p[::-1].copy() for p in sparse(B)[:2]] + [sparse(B)[2]]


@rows(
    *each(KINDS, lambda d: how("DenseToDenseSetOperation", [A.astype(d), B.astype(d)], HOW[:2])),
    *how("DenseToDenseSetOperation", [A, B]),
    *how("DenseToDenseSetOperation", WORDS),
    *how("DenseToDenseSetOperation", CUBES),
    *how("DenseToDenseSetOperation", [A[:, :0], B[:, :0]]),
    *how("DenseToDenseSetOperation", FAR),
    *how("DenseToDenseSetOperation", MANY),
    *how("SparseToSparseSetOperation", [*sparse(MANY[0]), *sparse(MANY[1])]),
    *how("SparseToSparseSetOperation", [*WIDE, *WIDE[:1], WIDE[1][::-1].copy(), *WIDE[2:]]),
    *how("DenseToDenseSetOperation", [A, B[:2]], HOW[:1], refused=True),
    *how("DenseToDenseSetOperation", [A[0], B[0]], HOW[:1], refused=True),
    *how("DenseToDenseSetOperation", [A, CUBES[0]], HOW[:1], refused=True),
    *how("DenseToSparseSetOperation", [A, *sparse(B)]),
    *how("DenseToSparseSetOperation", [CUBES[0], *sparse(CUBES[1], 0.3)]),
    *how("DenseToSparseSetOperation", [A, *TURNED], HOW[:1], refused=True),
    *how("SparseToSparseSetOperation", [*sparse(A), *sparse(B, 0.3)]),
    *how("SparseToSparseSetOperation", [*sparse(WORDS[0]), *sparse(WORDS[1])]),
    *how("SparseToSparseSetOperation", [*sparse(CUBES[0], 0.3), *sparse(CUBES[1], 0.1)]),
    *how("SparseToSparseSetOperation", [*sparse(A), *sparse(B[:2])], HOW[:1], refused=True),
    *[Row("SetSize", [*sparse(A.astype(d))]) for d in KINDS],
    Row("SetSize", [*sparse(CUBES[0], 0.3)]),
    Row("SetSize", [*sparse(WORDS[0])]),
    *how("SparseToSparseSetOperation", [*sparse(A, 0.0), *sparse(B)]),
    Row("SetSize", sparse(A, 0.0)),
    Row("SetSize", TURNED, refused=True),
)
def test_sets(row: Row) -> None:
    check(row)


M = sparse(sample("float32", 3, 4))
TEXT = sparse(WORDS[0])


def serialized(parts: list[Any]) -> Any:
    return tf.io.serialize_sparse(tf.SparseTensor(*parts)).numpy()


BATCH = np.stack([serialized(M), serialized(sparse(sample("float32", 5, 2), 0.4))])


@rows(
    Row("SerializeSparse", M),
    Row("SerializeSparse", TEXT),
    Row("SerializeSparse", [M[0], M[1][1:], M[2]]),
    Row("SerializeSparse", [M[0][0], *M[1:]], refused=True),
    Row(
        "DeserializeSparse",
        [tf.raw_ops.SerializeSparse(sparse_indices=M[0], sparse_values=M[1][1:], sparse_shape=M[2]).numpy()],
        {"dtype": "float32"},
        refused=True,
    ),
    Row("SerializeManySparse", M),
    Row("SerializeManySparse", TEXT),
    Row("SerializeManySparse", [M[0][:, :1], M[1], M[2][:1]], refused=True),
    Row("DeserializeSparse", [serialized(M)], {"dtype": "float32"}),
    Row("DeserializeSparse", [BATCH], {"dtype": "float32"}),
    Row("DeserializeSparse", [BATCH[None]], {"dtype": "float32"}),
    Row("DeserializeSparse", [serialized(TEXT)], {"dtype": "string"}),
    Row("DeserializeSparse", [serialized(M)], {"dtype": "int32"}, refused=True),
    Row("DeserializeSparse", [serialized(M)[:2]], {"dtype": "float32"}, refused=True),
    Row("DeserializeSparse", [np.array([b"x", b"y", b"z"], object)], {"dtype": "float32"}, refused=True),
    Row("DeserializeManySparse", [BATCH], {"dtype": "float32"}),
    Row("DeserializeManySparse", [serialized(M)], {"dtype": "float32"}),
    Row("DeserializeManySparse", [BATCH[:, :2]], {"dtype": "float32"}, refused=True),
)
def test_serialized(row: Row) -> None:
    check(row)


@pytest.mark.parametrize("many", [False, True])
def test_variants_go_there_and_back(many: bool) -> None:
    name = "SerializeManySparse" if many else "SerializeSparse"
    call, flat = bound(Row(name, M, {"out_type": "variant"}))
    (boxed,) = call.run(NUMPY, flat)
    back, _ = bound(Row("DeserializeSparse", [boxed], {"dtype": "float32", "Tserialized": "variant"}))
    for got, want in zip(back.run(NUMPY, [boxed]), M, strict=True):
        np.testing.assert_array_equal(got, want)
    wrong, _ = bound(Row("DeserializeSparse", [boxed], {"dtype": "int32", "Tserialized": dtypes.variant}))
    with pytest.raises(ExecutionError, match="a variant holds another dtype: expected int32, found float32"):
        wrong.run(NUMPY, [boxed])
