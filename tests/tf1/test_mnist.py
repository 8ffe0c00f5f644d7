"""`tensorflow.examples.tutorials.mnist.input_data`: files of a folder, batches in TensorFlow's order."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf
from coldframe.errors import CorruptError, NotFoundError, TruncatedError
from coldframe.tf1.scripts import mnist

COUNT, TESTS = 20, 6


def idx(values: Any) -> bytes:
    dims = b"".join(int(d).to_bytes(4, "big") for d in values.shape)
    content: bytes = values.astype(np.uint8).tobytes()
    return bytes((0, 0, 8, values.ndim)) + dims + content


def images(count: int) -> Any:
    """Image i is filled with i, its last pixel 255."""
    out = np.repeat(np.arange(count, dtype=np.uint8), 28 * 28).reshape(count, 28, 28).copy()
    out[:, -1, -1] = 255
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, values in {
        mnist.TRAIN_IMAGES: images(COUNT), mnist.TRAIN_LABELS: np.arange(COUNT) % 10,
        mnist.TEST_IMAGES: images(TESTS), mnist.TEST_LABELS: np.arange(TESTS),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(gzip.compress(idx(values)))
    return tmp_path


@pytest.fixture(autouse=True)
def _fresh() -> None:
    tf.reset_default_graph()


def test_images_are_rows_from_0_to_1(folder: Path) -> None:
    data = mnist.read_data_sets(str(folder), one_hot=True, validation_size=5)
    assert [s.num_examples for s in data] == [15, 5, 6]
    assert (data.train.images.shape, data.train.images.dtype) == ((15, 784), np.float32)
    assert data.train.images[0, -1] == 1.0
    assert data.train.images[0, 0] == np.float32(5 / 255.0)
    assert data.test.labels.tolist() == np.eye(10)[:6].tolist()
    assert (data.train.labels.dtype, data.train.labels.shape) == (np.float64, (15, 10))


def test_images_as_they_are(folder: Path) -> None:
    data = mnist.read_data_sets(folder, dtype=tf.uint8, reshape=False, validation_size=0)
    assert (data.train.images.shape, data.train.images.dtype) == ((COUNT, 28, 28, 1), np.uint8)
    assert data.validation.num_examples == 0
    assert data.test.labels.tolist() == list(range(TESTS))


def test_files_may_be_unpacked(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert mnist.read_data_sets(folder, validation_size=2).train.num_examples == COUNT - 2


def test_batches_follow_the_seed_and_go_over_the_end_of_an_epoch(folder: Path) -> None:
    train = mnist.read_data_sets(folder, validation_size=0, seed=3, reshape=False, dtype=tf.uint8).train
    batches = [train.next_batch(8) for _ in range(3)]
    random = np.random.RandomState(3)
    first = random.permutation(COUNT)
    second = first[random.permutation(COUNT)]
    want = np.concatenate([first, second])[:24].reshape(3, 8)
    assert [b[0][:, 0, 0, 0].tolist() for b in batches] == want.tolist()
    assert [b[1].tolist() for b in batches] == (want % 10).tolist()
    assert train.epochs_completed == 1


def test_without_shuffling_the_order_is_that_of_the_files(folder: Path) -> None:
    train = mnist.read_data_sets(folder, validation_size=0).train
    seen = [train.next_batch(12, shuffle=False)[1].tolist() for _ in range(2)]
    assert seen == [[i % 10 for i in range(12)], [*[i % 10 for i in range(12, 20)], 0, 1, 2, 3]]


def test_the_seed_of_the_graph_orders_batches(folder: Path) -> None:
    orders = []
    for _ in range(2):
        tf.reset_default_graph()
        tf.set_random_seed(777)
        orders.append(mnist.read_data_sets(folder, validation_size=0).train.next_batch(10)[1].tolist())
    assert orders[0] == orders[1]


def test_fake_data() -> None:
    data = mnist.read_data_sets("nowhere", fake_data=True, one_hot=True)
    ones, labels = data.train.next_batch(2, fake_data=True)
    assert (np.shape(ones), labels[0]) == ((2, 784), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    assert data.train.num_examples == 10000


def test_missing_files_are_named(folder: Path) -> None:
    (folder / mnist.TRAIN_LABELS).unlink()
    (folder / mnist.TEST_IMAGES).unlink()
    with pytest.raises(NotFoundError) as e:
        mnist.read_data_sets(folder)
    assert str(e.value) == (
        f"the MNIST data are not in the folder `{folder}`: expected train-images-idx3-ubyte.gz, "
        "train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz (or without .gz), found no "
        "train-labels-idx1-ubyte.gz, no t10k-images-idx3-ubyte.gz\n"
        "hint: coldframe downloads nothing: put the files there"
    )


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"\x00\x00\x08\x01", CorruptError, "is no idx file of images: expected the bytes 00 00 08 03 first"),
        (b"", CorruptError, "found an empty file"),
        (b"\x00\x00\x08\x03\x00\x00", TruncatedError, "ends within its head: expected 16 bytes, found 6 bytes"),
        (idx(images(2))[:-1], TruncatedError, "ends early: expected 1568 bytes for [2, 28, 28], found 1567 bytes"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, TruncatedError, "ends early"),
    ],
)
def test_damaged_files(folder: Path, data: bytes, kind: type[Exception], message: str) -> None:
    (folder / mnist.TRAIN_IMAGES).write_bytes(gzip.compress(data))
    with pytest.raises(kind, match=re.escape(message)):
        mnist.read_data_sets(folder)


def test_a_damaged_archive(folder: Path) -> None:
    (folder / mnist.TRAIN_IMAGES).write_bytes(gzip.compress(idx(images(2)))[:-9])
    with pytest.raises(CorruptError, match="cannot be unpacked"):
        mnist.read_data_sets(folder)


def test_arguments_that_do_not_fit(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 20\. Received: 5000"):
        mnist.read_data_sets(folder)
    with pytest.raises(TypeError, match="expected uint8 or float32"):
        mnist.read_data_sets(folder, dtype=tf.int32, validation_size=0)
    with pytest.raises(ValueError, match=r"labels\.shape"):
        mnist.DataSet(images(3)[..., None], np.arange(2))


def test_files_that_are_open(folder: Path) -> None:
    with (folder / mnist.TRAIN_IMAGES).open("rb") as f:
        assert mnist.extract_images(f).shape == (COUNT, 28, 28, 1)
    with (folder / mnist.TRAIN_LABELS).open("rb") as f:
        assert mnist.extract_labels(f, one_hot=True).shape == (COUNT, 10)
    with (folder / mnist.TRAIN_LABELS).open("rb") as f:
        assert mnist.extract_labels(f)[:3].tolist() == [0, 1, 2]
