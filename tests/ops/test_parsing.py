"""Example and SequenceExample protos against TensorFlow."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ExecutionError
from coldframe.ops import parsing
from op_harness import NUMPY, Row, bound, check, rows


@pytest.fixture(autouse=True, params=[0, 1 << 40], ids=["scanned", "parsed"])
def _reader(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read Examples in both ways: they are too short to be scanned otherwise."""
    monkeypatch.setattr(parsing, "_LEAST", request.param)


NONE: Any = np.zeros(0, object)
F, I, S = np.float32, np.int64, object
EMPTY = {F: np.zeros(0, F), I: np.zeros(0, I), S: np.zeros(0, S)}


def feature(v: Any) -> Any:
    if v is None:
        return tf.train.Feature()
    if v and isinstance(v[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=v))
    if v and isinstance(v[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=v))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=v))


def features(kw: dict[str, Any]) -> Any:
    return tf.train.Features(feature={k: feature(v) for k, v in kw.items()})


def example(**kw: Any) -> bytes:
    return bytes(tf.train.Example(features=features(kw)).SerializeToString())


def sequence(lists: dict[str, Any], **context: Any) -> bytes:
    feature_lists = {k: tf.train.FeatureList(feature=[feature(v) for v in steps]) for k, steps in lists.items()}
    message = tf.train.SequenceExample(
        context=features(context), feature_lists=tf.train.FeatureLists(feature_list=feature_lists)
    )
    return bytes(message.SerializeToString())


BATCH = np.array(
    [example(f=[1.5, 2.5], i=[7], s=[b"a", b"\xff"]), example(i=None, f=[3.5, -1.0]), example(i=[1, 2, 3], s=None)],
    object,
)
MIXED = np.array(
    [
        example(
            i=[(-1) ** k * 7**k for k in range(n % 22)],
            s=[b"x" * (60 * k) for k in range(n % 4)] or None,
            f=[n / 2] if n % 3 else None,
            r=[0.5 * k for k in range(n)] or None,
        )
        for n in range(40)
    ],
    object,
)
# Fields of maps may come in any order and twice, numbers one by one, and fields unknown to the reader anywhere.
_FLOATS = tf.train.Example(features=features({"f": [1.5, -2.0]}))
TWICE = np.array(
    [
        example(i=[1], f=[2.5]) + example(i=[2, 3]),
        b"\x0a\x0e\x0a\x0c\x12\x07\x1a\x05\x08\x07\x08\x80\x01\x0a\x01i",  # value before key; not packed
        example(i=[5]) + b"\x50\x01",
        bytes(_FLOATS.SerializeToString()),
    ],
    object,
)
LONE = np.array(BATCH[0], object)


def keys(*names: str) -> Any:
    return np.array([n.encode() for n in names], object)


def v2(serialized: Any, sparse: Any = (), dense: Any = (), ragged: Any = (), names: Any = NONE, **fields: Any) -> Row:
    """`sparse`: (key, kind); `dense`: (key, default, shape); `ragged`: (key, kind, split)."""
    kinds = {F: "float32", I: "int64", S: "string"}
    attrs = {
        "num_sparse": len(sparse),
        "sparse_types": [kinds[k] for _, k in sparse],
        "ragged_value_types": [kinds[k] for _, k, _ in ragged],
        "ragged_split_types": [s for _, _, s in ragged],
        "dense_shapes": [s for _, _, s in dense],
    }
    inputs = [
        serialized, names, keys(*(k for k, _ in sparse)), keys(*(d[0] for d in dense)), keys(*(r[0] for r in ragged)),
        [d[1] for d in dense],
    ]  # fmt: skip
    return Row("ParseExampleV2", inputs, attrs, **fields)


PAIR, TWO = ("f", EMPTY[F], [2]), ("f", np.array([9, 8], F), [2])
RAGGED = (("i", I, "int64"), ("f", F, "int32"), ("s", S, "int64"), ("none", F, "int64"))


@rows(
    v2(BATCH, [("i", I), ("f", F), ("s", S), ("none", S)], name="sparse"),
    v2(LONE, [("i", I), ("f", F), ("s", S), ("none", S)], name="sparse of one"),
    v2(BATCH[:0], [("i", I)], [TWO], RAGGED, name="no examples"),
    v2(BATCH, dense=[TWO, ("none", np.array(b"d", S), [])], name="dense with defaults"),
    v2(LONE, dense=[PAIR, ("i", np.zeros(0, I), [])], name="dense of one"),
    v2(BATCH[:2], dense=[PAIR], names=keys("p", "q"), name="dense required"),
    v2(MIXED, [("i", I), ("s", S)], [("f", np.array([9], F), [1])], [("r", F, "int64")], name="many"),
    v2(MIXED, [("i", S)], name="many of a wrong kind", refused=True),
    v2(TWICE, [("i", I)], ragged=[("f", F, "int32")], name="written otherwise than serializers do"),
    v2(BATCH, [("none", I)], ragged=[("none", F, "int32")], name="a key read as two kinds"),
    v2(BATCH, dense=[PAIR], name="dense required but missing", refused=True),
    v2(BATCH, dense=[("i", np.array([5], I), [1])], name="dense of a wrong length", refused=True),
    v2(BATCH, dense=[("i", np.array(5.0, F), [])], name="dense of a wrong kind", refused=True),
    v2(BATCH, [("i", F)], name="sparse of a wrong kind", refused=True),
    v2(BATCH, ragged=[("i", S, "int32")], name="ragged of a wrong kind", refused=True),
    v2(BATCH, dense=[("f", np.array([1, 2, 3], F), [2])], name="default of a wrong shape", refused=True),
    v2(BATCH, dense=[("i", np.array(-1, I), [None]), ("f", np.array([7], F), [None, 2])], name="dense of any length"),
    v2(BATCH, dense=[("i", EMPTY[I], [None])], name="dense of any length without a default", refused=True),
    v2(LONE, dense=[("s", np.array(b"", S), [None])], name="one dense of any length"),
    v2(BATCH, dense=[("i", np.array(-1, I), [None, 2])], name="dense of no multiple", refused=True),
    v2(BATCH, ragged=RAGGED, name="ragged"),
    v2(LONE, ragged=RAGGED, name="ragged of one"),
    v2(np.array([b"\xff\xff"], object), [("i", I)], name="no proto", refused=True),
    v2(np.array([b""], object), [("i", I)], ragged=RAGGED, name="an empty proto"),
    v2(BATCH, [("i", I)], names=keys("one"), name="too few names", refused=True),
    v2(BATCH.reshape(3, 1), [("i", I)], name="a matrix", refused=True),
    Row(
        "ParseExample", [BATCH, NONE, [np.array(b"i", S), np.array(b"s", S)], [np.array(b"f", S)], [TWO[1]]],
        {"sparse_types": ["int64", "string"], "dense_shapes": [[2]]}, name="ParseExample",
    ),
    Row(
        "ParseExample", [BATCH, NONE, [], [np.array(b"f", S)], [EMPTY[F]]],
        {"sparse_types": [], "dense_shapes": [[2]]}, name="ParseExample required", refused=True,
    ),
    Row(
        "ParseSingleExample", [LONE, [TWO[1], np.array(3, I)]],
        {"num_sparse": 2, "sparse_keys": ["s", "none"], "dense_keys": ["f", "i"], "sparse_types": ["string", "string"],
         "dense_shapes": [[2], []]}, name="ParseSingleExample",
    ),
    Row(
        "ParseSingleExample", [LONE, [EMPTY[F]]],
        {"num_sparse": 0, "sparse_keys": [], "dense_keys": ["none"], "sparse_types": [], "dense_shapes": [[2]]},
        name="ParseSingleExample required", refused=True,
    ),
)  # fmt: skip
def test_example(row: Row) -> None:
    check(row)


SEQUENCES = np.array(
    [
        sequence(
            {"a": [[1.0, 2.0], [3.0, 4.0]], "b": [[1], [], [2, 3]], "c": [[5, 6], [7]], "d": [[0.25, 0.5], [0.5]]},
            i=[4],
            j=[1, 2],
            s=[b"x"],
        ),
        sequence({"a": [[5.0, 6.0]]}, i=[9, 8]),
        sequence({"a": [], "b": [[7]], "c": [[8], [], []]}, j=[3]),
    ],
    object,
)
TYPES = {
    "Ncontext_sparse": 1, "Ncontext_dense": 1, "context_sparse_types": ["int64"], "context_dense_shapes": [[]],
    "Nfeature_list_sparse": 1, "feature_list_sparse_types": ["int64"],
    "Nfeature_list_dense": 1, "feature_list_dense_types": ["float32"], "feature_list_dense_shapes": [[2]],
}  # fmt: skip
RAGGEDS = {
    "context_ragged_value_types": ["int64"], "context_ragged_split_types": ["int64"],
    "feature_list_ragged_value_types": ["int64", "float32"], "feature_list_ragged_split_types": ["int32", "int64"],
}  # fmt: skip


def sequences(
    serialized: Any, dense: str, optional: bool, shape: Any = (2,), ragged: bool = True, **fields: Any
) -> Row:
    # Of a scalar TensorFlow returns row splits that were never written, so there is nothing to compare.
    kinds = RAGGEDS if ragged else dict.fromkeys(RAGGEDS, ())
    inputs = [
        serialized, NONE, keys("i"), keys("s"), keys(*"j" * ragged), keys("b"), keys(dense), keys(*"cd" * ragged),
        np.array([optional]), [np.array(b"d", S)],
    ]  # fmt: skip
    return Row(
        "ParseSequenceExampleV2",
        inputs,
        {k: v for k, v in TYPES.items() if k != "Ncontext_dense"}
        | kinds
        | {"feature_list_dense_shapes": [list(shape)]},
        **fields,
    )


def sequences_v1(serialized: Any, dense: str, optional: Any, **fields: Any) -> Row:
    attrs = TYPES | {
        "context_sparse_keys": ["i"], "context_dense_keys": ["s"], "feature_list_sparse_keys": ["b"],
        "feature_list_dense_keys": [dense], "feature_list_dense_missing_assumed_empty": optional,
    }  # fmt: skip
    return Row("ParseSequenceExample", [serialized, NONE, [np.array(b"d", S)]], attrs, **fields)


def one_sequence(serialized: Any, dense: str, may_lack: Any = (), shape: Any = (2,), **fields: Any) -> Row:
    inputs = [
        serialized, keys(*may_lack), *[[np.array(k, S)] for k in (b"i", b"s", b"b", dense.encode())],
        [np.array(b"d", S)], np.array(b"", S),
    ]  # fmt: skip
    attrs = {k: v for k, v in TYPES.items() if not k.startswith("N")} | {"feature_list_dense_shapes": [list(shape)]}
    return Row("ParseSingleSequenceExample", inputs, attrs, **fields)


ONE = np.array(SEQUENCES[0], object)


@rows(
    one_sequence(ONE, "a", name="one"),
    one_sequence(np.array(SEQUENCES[1], object), "a", name="one without a sparse list"),
    one_sequence(np.array(SEQUENCES[2], object), "a", name="one with an empty list"),
    one_sequence(ONE, "none", ["none"], name="one, a list missing"),
    one_sequence(ONE, "none", name="one, a required list missing", refused=True),
    one_sequence(ONE, "a", shape=(3,), name="one, a list of another shape", refused=True),
    one_sequence(ONE, "b", name="one, a list of another kind", refused=True),
    one_sequence(SEQUENCES, "a", name="a batch", refused=True),
    one_sequence(np.array(b"\xff", object), "a", name="not a proto", refused=True),
)
def test_single_sequence_example(row: Row) -> None:
    check(row)


@rows(
    sequences(SEQUENCES, "a", False, name="batch"),
    sequences(np.array(SEQUENCES[0], object), "a", False, ragged=False, name="one"),
    sequences(SEQUENCES[:0], "a", False, name="none"),
    sequences(SEQUENCES, "none", True, name="a list missing"),
    sequences(SEQUENCES, "none", False, name="a required list missing", refused=True),
    sequences(SEQUENCES, "a", False, (3,), name="a list of another shape", refused=True),
    sequences(SEQUENCES, "b", False, name="a list of another kind", refused=True),
    sequences_v1(SEQUENCES, "a", [], name="first version"),
    sequences_v1(SEQUENCES, "none", ["none"], name="first version, a list missing"),
    sequences_v1(SEQUENCES, "none", [], name="first version, a required list missing", refused=True),
)
def test_sequence_example(row: Row) -> None:
    check(row)


def test_says_which_example_lacks_a_feature() -> None:
    call, flat = bound(v2(BATCH, dense=[PAIR]))
    with pytest.raises(ExecutionError, match="feature `f` is required but example 2 lacks it"):
        call.run(NUMPY, flat)
