"""`tensorflow.examples.tutorials.mnist.input_data`: the MNIST images of handwritten digits, from files of a folder.

The files are the four of the data set, packed (``.gz``) or not, in the idx format::

    images   00 00 08 03   count   rows   columns   pixels, one byte each      integers are big-endian, 4 bytes
    labels   00 00 08 01   count   labels, one byte each

Nothing is downloaded. Batches come in the order that TensorFlow gives: numpy's generator is seeded and asked alike.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from coldframe import dtypes
from coldframe.errors import CorruptError, NotFoundError, TruncatedError
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.random_ops import get_seed

__all__ = [
    "SOURCE_URL",
    "DataSet",
    "Datasets",
    "dense_to_one_hot",
    "extract_images",
    "extract_labels",
    "load_mnist",
    "read_data_sets",
]  # fmt: skip

TRAIN_IMAGES: Final = "train-images-idx3-ubyte.gz"
TRAIN_LABELS: Final = "train-labels-idx1-ubyte.gz"
TEST_IMAGES: Final = "t10k-images-idx3-ubyte.gz"
TEST_LABELS: Final = "t10k-labels-idx1-ubyte.gz"
SOURCE_URL: Final = ""
_UBYTE: Final = 8
_FAKES: Final = 10000


class Datasets(NamedTuple):
    """The three parts of a data set."""

    train: Any
    validation: Any
    test: Any


class DataSet:
    """Images and labels, given out in batches.

    Args:
        images: ``[n, rows, columns, 1]``, bytes.
        labels: ``[n]``, or ``[n, 10]`` one-hot.
        fake_data: hand out images of ones instead.
        one_hot: of fake data: whether labels are one-hot.
        dtype: ``tf.float32`` scales pixels to 0..1; ``tf.uint8`` leaves them.
        reshape: make every image a row.
        seed: of the order of batches; that of the graph, if it has one, otherwise.
    """

    def __init__(
        self, images: Any, labels: Any, fake_data: bool = False, one_hot: bool = False, dtype: Any = dtypes.float32,
        reshape: bool = True, seed: int | None = None,
    ) -> None:  # fmt: skip
        first, second = get_seed(seed)
        np.random.seed(first if seed is None else second)  # noqa: NPY002 - the generator that programs share
        kind = as_dtype(dtype)
        if kind not in (dtypes.uint8, dtypes.float32):
            raise TypeError(f"Invalid image dtype {dtype!r}, expected uint8 or float32")
        self.one_hot, self._fake = one_hot, fake_data
        self._epochs_completed = self._start = 0
        if fake_data:
            self._num_examples = _FAKES
        else:
            if len(images) != len(labels):
                raise ValueError(f"images.shape: {images.shape} labels.shape: {labels.shape}")
            self._num_examples = len(images)
            if reshape:
                images = images.reshape(len(images), int(np.prod(images.shape[1:])))
            if kind is dtypes.float32:
                images = np.multiply(images.astype(np.float32), 1.0 / 255.0)
        self._images, self._labels = images, labels

    @property
    def images(self) -> Any:
        return self._images

    @property
    def labels(self) -> Any:
        return self._labels

    @property
    def num_examples(self) -> int:
        return self._num_examples

    @property
    def epochs_completed(self) -> int:
        return self._epochs_completed

    def next_batch(self, batch_size: int, fake_data: bool = False, shuffle: bool = True) -> tuple[Any, Any]:
        """Return the next `batch_size` images and labels; a batch may go over the end of an epoch."""
        if fake_data:
            label: Any = [1] + [0] * 9 if self.one_hot else 0
            return [[1] * 784 for _ in range(batch_size)], [label for _ in range(batch_size)]
        start = self._start
        if self._epochs_completed == 0 and start == 0 and shuffle:
            self._shuffle()
        if start + batch_size <= self._num_examples:
            self._start += batch_size
            return self._images[start : self._start], self._labels[start : self._start]
        self._epochs_completed += 1
        rest = self._images[start : self._num_examples], self._labels[start : self._num_examples]
        if shuffle:
            self._shuffle()
        self._start = batch_size - len(rest[0])
        return tuple(  # type: ignore[return-value]
            np.concatenate((old, new[: self._start]), axis=0)
            for old, new in zip(rest, (self._images, self._labels), strict=True)
        )

    def _shuffle(self) -> None:
        order = np.arange(self._num_examples)
        np.random.shuffle(order)  # noqa: NPY002
        self._images, self._labels = self._images[order], self._labels[order]


def read_data_sets(
    train_dir: Any, fake_data: bool = False, one_hot: bool = False, dtype: Any = dtypes.float32, reshape: bool = True,
    validation_size: int = 5000, seed: int | None = None, source_url: str = SOURCE_URL,
) -> Datasets:  # fmt: skip
    """Return the MNIST data of the folder `train_dir`; the first `validation_size` images to train with are set apart.

    Raises:
        NotFoundError: files are missing; all of them are named.
        CorruptError: a file is no idx file of images, or labels.
        ValueError: there are fewer images than `validation_size`.
    """
    del source_url
    options: dict[str, Any] = {"dtype": dtype, "reshape": reshape, "seed": seed}
    if fake_data:
        return Datasets(*(DataSet([], [], fake_data=True, one_hot=one_hot, dtype=dtype, seed=seed) for _ in range(3)))
    files = [_find(Path(train_dir), name) for name in (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)]
    missing = [
        name
        for name, file in zip((TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS), files, strict=True)
        if file is None
    ]
    if missing:
        raise NotFoundError(
            f"the MNIST data are not in the folder `{train_dir}`",
            expected=f"{TRAIN_IMAGES}, {TRAIN_LABELS}, {TEST_IMAGES}, {TEST_LABELS} (or without .gz)",
            found=f"no {', no '.join(missing)}",
            hint="coldframe downloads nothing: put the files there",
        )
    images, labels, test_images, test_labels = (
        _labels(f, one_hot) if i % 2 else _images(f) for i, f in enumerate(f for f in files if f is not None)
    )
    if not 0 <= validation_size <= len(images):
        raise ValueError(f"Validation size should be between 0 and {len(images)}. Received: {validation_size}.")
    return Datasets(
        DataSet(images[validation_size:], labels[validation_size:], **options),
        DataSet(images[:validation_size], labels[:validation_size], **options),
        DataSet(test_images, test_labels, **options),
    )


def load_mnist(train_dir: Any = "MNIST-data") -> Datasets:
    """Return the MNIST data of a folder, with the defaults of `read_data_sets`."""
    return read_data_sets(train_dir)


def _find(folder: Path, name: str) -> Path | None:
    plain = name.removesuffix(".gz")
    for known in (name, plain, plain.replace("-idx", ".idx")):  # some archives unpack to `train-images.idx3-ubyte`
        if (folder / known).is_file():
            return folder / known
    return None


def _read(path: Path, rank: int) -> Any:
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as e:
            raise CorruptError(f"`{path}` cannot be unpacked", found=str(e)) from None
    return _array(data, rank, str(path))


def _array(data: bytes, rank: int, where: str) -> Any:
    head = 4 + 4 * rank
    if data[:4] != bytes((0, 0, _UBYTE, rank)):
        raise CorruptError(
            f"`{where}` is no idx file of {'images' if rank == 3 else 'labels'}",
            expected=f"the bytes 00 00 08 {rank:02x} first",
            found=data[:4].hex(" ") or "an empty file",
        )
    if len(data) < head:
        raise TruncatedError(f"`{where}` ends within its head", expected=f"{head} bytes", found=f"{len(data)} bytes")
    dims = [int.from_bytes(data[i : i + 4], "big") for i in range(4, head, 4)]
    size = 1
    for d in dims:
        size *= d
    if len(data) - head < size:
        raise TruncatedError(
            f"`{where}` ends early", expected=f"{size} bytes for {dims}", found=f"{len(data) - head} bytes"
        )
    return np.frombuffer(data, np.uint8, size, head).reshape(dims)


def _images(path: Path) -> Any:
    return _read(path, 3)[..., np.newaxis]


def _labels(path: Path, one_hot: bool, num_classes: int = 10) -> Any:
    labels = _read(path, 1)
    return dense_to_one_hot(labels, num_classes) if one_hot else labels


def extract_images(f: Any) -> Any:
    """Return the images of an open, packed idx file: ``[n, rows, columns, 1]``, bytes."""
    return _array(gzip.GzipFile(fileobj=f).read(), 3, str(getattr(f, "name", "file")))[..., np.newaxis]


def extract_labels(f: Any, one_hot: bool = False, num_classes: int = 10) -> Any:
    """Return the labels of an open, packed idx file: ``[n]``, or one-hot ``[n, num_classes]``."""
    labels = _array(gzip.GzipFile(fileobj=f).read(), 1, str(getattr(f, "name", "file")))
    return dense_to_one_hot(labels, num_classes) if one_hot else labels


def dense_to_one_hot(labels_dense: Any, num_classes: int) -> Any:
    """Return labels as rows with a one, float64."""
    return np.eye(num_classes)[np.asarray(labels_dense).ravel()]
