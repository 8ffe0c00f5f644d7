"""Hash buckets against TensorFlow, for strings of every length that the hashes treat apart."""

import numpy as np
import pytest

from coldframe.ops.hashing import fingerprint64, siphash64
from op_harness import Row, check, rows

RNG = np.random.default_rng(5)
STRINGS = np.array([RNG.bytes(n) for n in [*range(70), 127, 128, 129, 191, 192, 193, 1000]], object)
MANY = 2**62 + 11
OF_EACH_LENGTH = np.array([RNG.bytes(n) for n in range(70) for _ in range(20)], object).reshape(20, 70)


@rows(
    Row("StringToHashBucketFast", [STRINGS], {"num_buckets": MANY}),
    Row("StringToHashBucketFast", [np.array([[b"a", b"b"], [b"", "déjà".encode()]], object)], {"num_buckets": 10}),
    Row("StringToHashBucket", [STRINGS], {"num_buckets": MANY}),
    Row("StringToHashBucketStrong", [STRINGS], {"num_buckets": MANY, "key": [1, -2]}),
    Row("StringToHashBucketFast", [OF_EACH_LENGTH], {"num_buckets": MANY}, name="many of each length"),
    Row("StringToHashBucket", [OF_EACH_LENGTH], {"num_buckets": MANY}, name="the oldest of many"),
    Row("StringToHashBucketStrong", [OF_EACH_LENGTH], {"num_buckets": MANY, "key": [-3, 5]}, name="keyed of many"),
    Row("StringToHashBucketFast", [OF_EACH_LENGTH[:, ::-3]], {"num_buckets": 7}, name="a part of many"),
    Row("StringToHashBucketFast", [np.array([], object)], {"num_buckets": 3}),
    Row("StringToHashBucketFast", [np.array(b"scalar", object)], {"num_buckets": 3}),
)
def test_buckets(row: Row) -> None:
    check(row)


def test_published_vectors() -> None:
    key = int.from_bytes(bytes(range(8)), "little"), int.from_bytes(bytes(range(8, 16)), "little")
    assert siphash64(bytes(range(15)), *key) == 0xA129CA6149BE45E5  # the paper's own example
    assert fingerprint64(b"") == 0x9AE16A3B2F90404F


@pytest.mark.parametrize("n", [1, 3, 7, 15, 31, 63, 64, 200])
def test_any_change_changes_the_fingerprint(n: int) -> None:
    text = bytearray(RNG.bytes(n))
    before = fingerprint64(bytes(text))
    text[n // 2] ^= 1
    assert fingerprint64(bytes(text)) != before
