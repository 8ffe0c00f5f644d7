"""Joining, cutting, padding, reversing and blocks against TensorFlow."""

import numpy as np

from op_harness import COMPLEX, FLOATS, INTS, NUMPY, Row, bound, check, each, rows, sample

ALL = (*FLOATS, *INTS, *COMPLEX, "bool")
BLOCKS = ("float32", "float16", "int32", "uint16", "bfloat16")
SOME = ("float32", "float16", "int32", "bool", "complex64", "uint16", "bfloat16")
WORDS = np.array([["ab", "", "c"], ["d", "ef", "g"]])
MORE = np.array([["x", "y", "z"]])


def i32(*values: object) -> np.ndarray:
    return np.array(values, np.int32)


def two(d: str) -> list[np.ndarray]:
    return [sample(d, 2, 3), sample(d, 2, 1, seed=1)]


@rows(
    *each(ALL, lambda d: Row("ConcatV2", [two(d), np.int32(1)])),
    *each(SOME, lambda d: Row("Concat", [np.int32(-1), two(d)])),
    Row("ConcatV2", [[WORDS, MORE], np.int64(0)]),
    Row("ConcatV2", [[sample("int8", 2), sample("int8", 3)], np.int32(0)], {"T": "qint8"}),
    Row("ConcatV2", [[sample("float32", 2, 3), sample("float32", 0, 3)], np.int32(-2)]),
    Row("ConcatV2", [[sample("float32", 2), sample("float32", 2)], i32(0)]),
    Row("ConcatV2", [[sample("float32"), sample("float32")], np.int32(0)], refused=True),
    Row("ConcatV2", [[sample("float32", 2), sample("float32", 1, 2)], np.int32(0)], refused=True),
    Row("ConcatV2", [two("float32"), np.int32(0)], refused=True),
    Row("ConcatV2", [two("float32"), np.int32(2)], refused=True),
    Row("ParallelConcat", [[sample("float32", 1, 3), sample("float32", 1, 3, seed=1)]], {"shape": [2, 3]}),
    Row("ConcatOffset", [np.int32(1), [i32(2, 3), i32(2, 5), i32(2, 1)]]),
    Row("ConcatOffset", [np.int32(-2), [np.int64([2, 3]), np.int64([4, 3])]]),
    Row("ConcatOffset", [np.int32(1), [i32(2, 3), i32(3, 5)]], refused=True),
    Row("ConcatOffset", [np.int32(2), [i32(2, 3), i32(2, 5)]], refused=True),
    *each(ALL, lambda d: Row("Pack", [[sample(d, 2, 3), sample(d, 2, 3, seed=1)]], {"axis": 1})),
    Row("Pack", [[sample("float32"), sample("float32")]]),
    Row("Pack", [[WORDS, WORDS]], {"axis": -1}),
    Row("Pack", [[sample("float32", 2, 3)]], {"axis": -3}),
    Row("Pack", [[sample("float32", 2, 3)]], {"axis": 3}, refused=True),
    Row("Pack", [[sample("float32", 2), sample("float32", 3)]], refused=True),
)
def test_joining(row: Row) -> None:
    check(row)


@rows(
    *each(ALL, lambda d: Row("Unpack", [sample(d, 2, 3)], {"num": 3, "axis": 1})),
    Row("Unpack", [WORDS], {"num": 2}),
    Row("Unpack", [sample("float32", 3)], {"num": 3}),
    Row("Unpack", [sample("float32", 1, 3)], {"num": 1, "axis": -2}),
    Row("Unpack", [sample("float32", 2, 3)], {"num": 2, "axis": 1}, refused=True),
    Row("Unpack", [sample("float32", 2, 3)], {"num": 2, "axis": 2}, refused=True),
    *each(ALL, lambda d: Row("Split", [np.int32(1), sample(d, 2, 6)], {"num_split": 3})),
    Row("Split", [np.int32(0), WORDS], {"num_split": 2}),
    Row("Split", [np.int32(-1), sample("float32", 2, 4)], {"num_split": 1}),
    Row("Split", [np.int32(0), sample("float32", 5)], {"num_split": 2}, refused=True),
    Row("Split", [np.int32(2), sample("float32", 4, 4)], {"num_split": 2}, refused=True),
    Row("Split", [i32(0), sample("float32", 4, 4)], {"num_split": 2}, refused=True),
    *each(ALL, lambda d: Row("SplitV", [sample(d, 2, 6), i32(1, -1, 3), np.int32(1)], {"num_split": 3})),
    Row("SplitV", [WORDS, np.int64([2, 1]), np.int32(-1)], {"num_split": 2}),
    Row("SplitV", [sample("float32", 6), np.int8([6, 0]), np.int32(0)], {"num_split": 2}),
    Row("SplitV", [sample("float32", 6), i32(6), np.int32(0)], {"num_split": 1}),
    Row("SplitV", [sample("float32", 6), i32(-1, -1), np.int32(0)], {"num_split": 2}, refused=True),
    Row("SplitV", [sample("float32", 6), i32(7, -1), np.int32(0)], {"num_split": 2}, refused=True),
    Row("SplitV", [sample("float32", 6), i32(8, -2), np.int32(0)], {"num_split": 2}, refused=True),
    Row("SplitV", [sample("float32", 6), i32(2, 3), np.int32(0)], {"num_split": 2}, refused=True),
)
def test_cutting(row: Row) -> None:
    check(row)


def test_nothing_to_unpack() -> None:
    call, flat = bound(Row("Unpack", [sample("float32", 2, 0, 3)], {"num": 0, "axis": 1}))
    assert call.run(NUMPY, flat) == []


@rows(
    *each([d for d in ALL if d != "uint16"], lambda d: Row("Tile", [sample(d, 2, 3), i32(2, 3)])),
    Row("Tile", [WORDS, np.int64([1, 2])]),
    Row("Tile", [sample("float32", 2, 3), i32(2, 0)]),
    Row("Tile", [sample("float32"), np.zeros(0, np.int32)]),
    Row("Tile", [sample("float32"), i32(1)], refused=True),
    Row("Pad", [sample("float32"), i32([0, 0])], refused=True),
    Row("Pad", [sample("float32"), np.zeros((0, 2), np.int32)]),
    Row("Tile", [sample("float32", 2), i32(-1)], refused=True),
    Row("Tile", [sample("float32", 2), i32(1, 2)], refused=True),
    *each(ALL, lambda d: Row("Pad", [sample(d, 2, 3), i32([1, 2], [0, 3])])),
    *each(ALL, lambda d: Row("PadV2", [sample(d, 2, 3), i32([1, 2], [0, 3]), sample(d, seed=4)])),
    Row("Pad", [WORDS, i32([1, 0], [0, 1])]),
    Row("PadV2", [WORDS, np.int64([[1, 0], [0, 1]]), np.array("pad")]),
    Row("Pad", [sample("float32", 2, 0), i32([1, 0], [0, 1])]),
    Row("Pad", [sample("float32"), np.zeros((0, 2), np.int32)]),
    Row("Pad", [sample("float32", 1, 2, 3, 1), i32([0, 0], [1, 1], [2, 0], [0, 0])]),
    Row("Pad", [sample("float32", 3), i32([-1, 0])], refused=True),
    Row("Pad", [sample("float32", 3), i32([1, 0], [1, 1])], refused=True),
    Row("PadV2", [sample("float32", 3), i32([1, 0]), sample("float32", 1)], refused=True),
    *each(ALL, lambda d: Row("MirrorPad", [sample(d, 2, 3), i32([1, 0], [2, 1])], {"mode": "REFLECT"})),
    *each(ALL, lambda d: Row("MirrorPad", [sample(d, 2, 3), i32([1, 2], [3, 1])], {"mode": "SYMMETRIC"})),
    Row("MirrorPad", [sample("float32", 2), np.int64([[0, 0]])], {"mode": "REFLECT"}),
    Row("MirrorPad", [sample("float32", 2), i32([2, 0])], {"mode": "REFLECT"}, refused=True),
    Row("MirrorPad", [sample("float32", 2), i32([3, 0])], {"mode": "SYMMETRIC"}, refused=True),
    Row("MirrorPad", [sample("float32", 2), i32([-1, 0])], {"mode": "REFLECT"}, refused=True),
)
def test_repeating_and_padding(row: Row) -> None:
    check(row)


def sequences(d: str, seq: int, batch: int, lengths: list[int], **more: object) -> Row:
    return Row("ReverseSequence", [sample(d, 3, 4, 3), i32(*lengths)], {"seq_dim": seq, "batch_dim": batch}, **more)  # type: ignore[arg-type]


REVERSIBLE = [d for d in ALL if d != "uint64"]


@rows(
    *each(REVERSIBLE, lambda d: Row("ReverseV2", [sample(d, 2, 3, 4), i32(0, -1)])),
    *each(
        ("float32", "int8", "bool", "complex64"), lambda d: Row("Reverse", [sample(d, 2, 3), np.array([False, True])])
    ),
    Row("ReverseV2", [WORDS, np.int64([1])]),
    Row("ReverseV2", [sample("float32"), np.zeros(0, np.int32)]),
    Row("ReverseV2", [sample("float32", 0, 2), i32(0)]),
    Row("ReverseV2", [sample("float32", 2), i32(0, -1)], refused=True),
    Row("ReverseV2", [sample("float32", 2), i32(1)], refused=True),
    Row("ReverseV2", [sample("float32", 2), np.int32(0)], refused=True),
    Row("Reverse", [sample("float32", 2), np.array([True, False])], refused=True),
    *each(ALL, lambda d: sequences(d, 1, 0, [4, 0, 2])),
    sequences("float32", 0, 2, [3, 1, 2]),
    sequences("float32", 2, 1, [3, 1, 2, 0]),
    sequences("float32", 0, 1, [3, 1, 2, 0]),
    Row("ReverseSequence", [WORDS, np.int64([2, 3])], {"seq_dim": 1}),
    sequences("float32", 1, 0, [5, 0, 2], refused=True),
    sequences("float32", 1, 0, [-1, 0, 2], refused=True),
    sequences("float32", 1, 0, [1, 2], refused=True),
    sequences("float32", 0, 0, [1, 2, 3], refused=True),
    sequences("float32", 3, 0, [1, 2, 3], refused=True),
    *each(ALL, lambda d: Row("Roll", [sample(d, 2, 3, 4), i32(1, -6), i32(0, 2)])),
    Row("Roll", [sample("float32", 3), np.int64([1, 1]), i32(0, -1)]),
    Row("Roll", [WORDS, np.int32(1), np.int32(1)]),
    Row("Roll", [sample("float32", 0), np.int32(1), np.int32(0)]),
    Row("Roll", [sample("float32", 3), np.int32(1), i32(0)], refused=True),
    Row("Roll", [sample("float32"), np.int32(1), np.int32(0)], refused=True),
    Row("Roll", [sample("float32", 3), np.int32(1), np.int32(1)], refused=True),
)
def test_reversing(row: Row) -> None:
    check(row)


BLOCK = [i32(2, 3), i32([1, 0], [0, 2])]


@rows(
    *each(BLOCKS, lambda d: Row("SpaceToBatchND", [sample(d, 2, 3, 4, 2), *BLOCK])),
    Row("SpaceToBatchND", [sample("float32", 2, 4), np.int64([2]), np.int64([[0, 0]])]),
    Row("SpaceToBatchND", [sample("float32", 2, 3, 4, 2), i32(2, 2), i32([0, 0], [0, 0])], refused=True),
    Row("SpaceToBatchND", [sample("float32", 2), i32(2, 2), i32([0, 0], [0, 0])], refused=True),
    Row("SpaceToBatchND", [sample("float32", 2, 4), i32(0), i32([0, 0])], refused=True),
    Row("SpaceToBatch", [sample("float32", 1, 3, 4, 2), i32([1, 0], [2, 0])], {"block_size": 2}),
    *each(BLOCKS, lambda d: Row("BatchToSpaceND", [sample(d, 12, 2, 3, 2), i32(2, 3), i32([1, 0], [0, 2])])),
    Row("BatchToSpaceND", [sample("float32", 4, 3), np.int64([2]), np.int64([[0, 0]])]),
    Row("BatchToSpaceND", [sample("float32", 5, 3), i32(2), i32([0, 0])], refused=True),
    Row("BatchToSpaceND", [sample("float32", 4, 3), i32(2), i32([4, 3])], refused=True),
    Row("BatchToSpace", [sample("float32", 8, 2, 3, 1), i32([1, 0], [0, 1])], {"block_size": 2}),
    *each(SOME, lambda d: Row("SpaceToDepth", [sample(d, 2, 4, 6, 3)], {"block_size": 2})),
    *each(SOME, lambda d: Row("DepthToSpace", [sample(d, 2, 2, 3, 12)], {"block_size": 2})),
    Row("SpaceToDepth", [sample("float32", 1, 6, 3, 2)], {"block_size": 3}),
    Row("SpaceToDepth", [sample("float32", 2, 5, 6, 3)], {"block_size": 2}, refused=True),
    Row("DepthToSpace", [sample("float32", 2, 2, 3, 6)], {"block_size": 2}, refused=True),
    Row("DataFormatVecPermute", [i32(7, 8, 9, 10)]),
    Row("DataFormatVecPermute", [np.int64([7, 8])], {"src_format": "NHWC", "dst_format": "NCHW"}),
    Row("DataFormatVecPermute", [i32([1, 2], [3, 4], [5, 6], [7, 8])], {"src_format": "NCHW", "dst_format": "NHWC"}),
    Row("DataFormatVecPermute", [i32([1, 2], [3, 4])], {"dst_format": "HWNC"}),
    Row("DataFormatVecPermute", [i32(1, 2, 3)], {"src_format": "NDHWC", "dst_format": "NCDHW"}),
    Row("DataFormatVecPermute", [i32(1, 2, 3)], refused=True),
    Row("DataFormatDimMap", [i32(0, 1, 2, 3, -1, -2, -3, -4)]),
    Row("DataFormatDimMap", [np.int64(3)], {"src_format": "NHWC", "dst_format": "HWNC"}),
    Row("DataFormatDimMap", [i32([1, 4])], {"src_format": "NDHWC", "dst_format": "NCDHW"}),
)
def test_blocks(row: Row) -> None:
    check(row)


def test_channels_first_blocks_are_those_of_channels_last() -> None:
    """TensorFlow's CPU has no NCHW kernel to compare with, so its NHWC one is asked and turned."""
    x = sample("float32", 2, 4, 6, 8)
    for name in ("SpaceToDepth", "DepthToSpace"):
        last, flat = bound(Row(name, [x], {"block_size": 2}))
        first, turned = bound(Row(name, [x.transpose(0, 3, 1, 2)], {"block_size": 2, "data_format": "NCHW"}))
        (want,), (got,) = last.run(NUMPY, flat), first.run(NUMPY, turned)
        np.testing.assert_array_equal(got.transpose(0, 2, 3, 1), want)
