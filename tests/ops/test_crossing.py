"""Crossed features against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from op_harness import NUMPY, Row, bound, check, rows

AT = np.array([[0, 0], [0, 1], [2, 0]])
WORDS = np.array([b"red", b"green", "b\u00fcl".encode()], object)
NUMBERS = np.array([7, -3, 2**40])
SHAPE = np.array([3, 2])
DENSE_TEXT = np.array([[b"x"], [b"y"], [b"z"]], object)
DENSE = np.array([[1, 2], [3, 4], [-5, 6]])
HASHED: dict[str, Any] = {
    "hashed_output": True,
    "num_buckets": 1000,
    "hash_key": 956888297470,
    "out_type": "int64",
    "internal_type": "int64",
}
JOINED: dict[str, Any] = {
    "hashed_output": False,
    "num_buckets": 0,
    "hash_key": 1,
    "out_type": "string",
    "internal_type": "string",
}

EACH = np.stack([np.arange(40), np.zeros(40, np.int64)], axis=1)  # one feature a row, in many rows
COLORS = np.array([b"color %d" % (i * i % 11) for i in range(40)], object)
PLACES = np.arange(40) * 2**35 - 7
SINGLE: list[Any] = [[EACH, EACH], [COLORS, PLACES], [np.array([40, 1]), np.array([40, 3])], [COLORS[::-1, None]]]

_OF_ROW = np.arange(40) % 4  # features of each of many rows
MANY = np.stack([np.repeat(np.arange(40), _OF_ROW), np.concatenate([np.arange(n) for n in _OF_ROW])], axis=1)
SEVERAL: list[Any] = [
    [MANY, EACH], [np.array([b"word %d" % i for i in range(len(MANY))], object), PLACES],
    [np.array([40, 3]), np.array([40, 1])], [np.arange(80).reshape(40, 2)],
]  # fmt: skip

COLUMNS: list[list[Any]] = [
    [[AT, AT], [WORDS, NUMBERS], [SHAPE, SHAPE], []],
    [[AT], [WORDS], [SHAPE], [DENSE, DENSE_TEXT]],
    [[], [], [], [DENSE, DENSE]],
    [[AT, AT], [NUMBERS, WORDS], [SHAPE, SHAPE], [DENSE_TEXT]],
]


@rows(
    *[Row("SparseCross", c, HASHED, name=f"hashed-{n}") for n, c in enumerate(COLUMNS)],
    *[Row("SparseCross", c, JOINED, name=f"joined-{n}", refused=True) for n, c in enumerate(COLUMNS)],
    Row("SparseCross", [[AT, AT], [WORDS, WORDS[::-1]], [SHAPE, SHAPE], [DENSE_TEXT]], JOINED, name="joined"),
    Row("SparseCross", [[AT], [WORDS], [SHAPE], [DENSE_TEXT]], HASHED | {"internal_type": "string"}, name="words"),
    Row("SparseCross", COLUMNS[1], HASHED | {"internal_type": "string"}, refused=True, name="words and numbers"),
    Row("SparseCross", COLUMNS[1], JOINED | {"internal_type": "int64"}, name="numbers joined"),
    Row("SparseCross", COLUMNS[0], HASHED | {"num_buckets": 0}, name="all of 63 bits"),
    Row("SparseCross", SINGLE, HASHED, name="many rows of one"),
    Row("SparseCross", SINGLE, HASHED | {"num_buckets": 0, "hash_key": -1}, name="many rows of one, all bits"),
    Row("SparseCross", [[EACH[1:], EACH], [COLORS[1:], PLACES], SINGLE[2], []], HASHED, name="many rows, one without"),
    Row("SparseCross", COLUMNS[0], HASHED | {"hash_key": 2**62}, name="another key"),
    Row("SparseCross", SEVERAL, HASHED, name="many rows of several"),
    Row("SparseCross", [[AT], [WORDS], [SHAPE], [DENSE[:2]]], HASHED, refused=True, name="fewer rows"),
    Row("SparseCross", [[AT[:2]], [WORDS], [SHAPE], []], HASHED, refused=True, name="fewer places"),
    Row("SparseCross", [[AT], [WORDS], [np.array([3])], []], HASHED, refused=True, name="a vector"),
    *[Row("SparseCrossV2", [*c, np.array(b"--", object)], name=f"V2-{n}") for n, c in enumerate(COLUMNS)],
    Row("SparseCross", [[], [], [], []], HASHED, name="no columns"),
    Row("SparseCrossV2", [[], [], [], [], np.array(b"--", object)], name="V2-no columns"),
)
def test_crosses(row: Row) -> None:
    check(row)


def keyed(columns: list[Any], buckets: int, *, strong: bool) -> Row:
    inputs = [*columns, np.int64(buckets), np.bool_(strong), np.array([137, -173])]
    return Row("SparseCrossHashed", inputs, name=f"{len(columns[0])}-{buckets}-{strong}")


@rows(
    *[
        keyed(c, b, strong=s)
        for c in (COLUMNS[0], [[AT], [WORDS], [SHAPE], []], [[AT] * 3, [WORDS, NUMBERS, WORDS], [SHAPE] * 3, []])
        for b in (1000, 0)
        for s in (False, True)
    ],
    keyed([[], [], [], []], 10, strong=False),
)
def test_crosses_with_a_key(row: Row) -> None:
    """Sparse columns: of dense ones, TensorFlow's process dies more often than not."""
    check(row)


VALUES, SPLITS = np.array([b"p", b"q", b"r"], object), np.array([0, 2, 2, 3])


def ragged(order: str, *, hashed: bool = False, number: bool = False, **more: Any) -> Row:
    """A ragged, a sparse and a dense column."""
    attrs = {
        "input_order": order, "hashed_output": hashed, "num_buckets": 100 if hashed else 0, "hash_key": 956888297470,
        "out_values_type": "int64" if hashed else "string", "out_row_splits_type": "int64",
    }  # fmt: skip
    values = np.array([5, -6, 7]) if number else VALUES
    return Row("RaggedCross", [[values], [SPLITS], [AT], [WORDS], [SHAPE], [DENSE_TEXT]], {**attrs, **more})


@rows(
    ragged("RSD"),
    ragged("DRS", hashed=True),
    ragged("SRD", hashed=True, number=True),
    ragged("SDR", hashed=True, num_buckets=0),
)
def test_ragged(row: Row) -> None:
    check(row)


FIRST: list[Any] = [
    [np.array([[0, 0]])] * 3,
    [np.array([b"batch1-FC%d-F1" % n], object) for n in (1, 2, 3)],
    [np.array([1, 1])] * 3,
    [],
]


@pytest.mark.parametrize(
    ("op", "attrs", "want"),
    [
        ("SparseFeatureCross", {"num_buckets": 0}, 3735511728867393167),
        ("SparseFeatureCross", {"num_buckets": 100}, 74),
        ("SparseFeatureCrossV2", {"num_buckets": 0, "hash_key": 0xDECAFCAFFE}, 1971693436396284976),
        ("SparseFeatureCrossV2", {"num_buckets": 100, "hash_key": 0xDECAFCAFFE}, 83),
    ],
)
def test_hashes_of_tensorflow_1(op: str, attrs: dict[str, Any], want: int) -> None:
    """The numbers are those of TensorFlow 1's own tests of tf.contrib.layers; it has these ops no more."""
    call, flat = bound(Row(op, FIRST, {"hashed_output": True, "out_type": "int64", "internal_type": "int64"} | attrs))
    indices, values, shape = call.run(NUMPY, flat)
    assert (indices.tolist(), values.tolist(), shape.tolist()) == ([[0, 0]], [want], [1, 1])


def test_features_of_many_rows_cross_as_in_tensorflow_1() -> None:
    """One by one, in Python's integers."""
    call, flat = bound(Row("SparseFeatureCross", [*SEVERAL[:1], [NUMBERS_OF_MANY, PLACES], *SEVERAL[2:]], {
        "hashed_output": True, "num_buckets": 1000, "out_type": "int64", "internal_type": "int64"}))  # fmt: skip
    indices, values, _ = call.run(NUMPY, flat)
    want = [
        _formerly(int(a), int(PLACES[row]), int(d)) % 1000
        for row in range(40)
        for a in NUMBERS_OF_MANY[MANY[:, 0] == row]
        for d in (2 * row, 2 * row + 1)
    ]
    assert values.tolist() == want
    assert len(indices) == len(want) == 2 * len(MANY)


NUMBERS_OF_MANY = np.arange(len(MANY)) * 2**57 - 11


def _formerly(*features: int) -> int:
    word, chained = 2**64 - 1, 0xDECAFCAFFE
    for feature in features:
        signed = chained - 2**64 if chained >> 63 else chained
        chained ^= (feature + 0x9E3779B97F4A7800 + (signed << 10) + (signed >> 4)) & word
    return chained


def test_strings_cross_as_in_tensorflow_1() -> None:
    attrs = {"hashed_output": False, "num_buckets": 0, "out_type": "string", "internal_type": "string"}
    call, flat = bound(Row("SparseFeatureCross", COLUMNS[0], attrs))
    indices, values, shape = call.run(NUMPY, flat)
    assert values.tolist() == [b"red_X_7", b"red_X_-3", b"green_X_7", b"green_X_-3", b"b\xc3\xbcl_X_1099511627776"]
    assert (indices.tolist(), shape.tolist()) == ([[0, 0], [0, 1], [0, 2], [0, 3], [2, 0]], [3, 4])
