"""Datasets of several datasets, of files of columns, and elements that may not be there: as TensorFlow's."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as OURS  # noqa: N812 - beside TensorFlow's
from data_programs import compare, elements, flat, v1


def numbers(tf: Any, n: int) -> Any:
    return tf.data.Dataset.range(n)


def three(tf: Any) -> list[Any]:
    """Three datasets of different lengths."""
    return [numbers(tf, 5), tf.data.Dataset.range(100, 109), tf.data.Dataset.range(200, 203)]


def drained(tf: Any, fetch: Any, sess: Any) -> list[Any]:
    found = []
    for _ in range(30):
        try:
            found.append(sess.run(fetch))
        except tf.errors.OpError as e:
            return [*found, type(e).__name__]
    return found


def same(program: Callable[[Any], Any]) -> None:
    """Compare what a program returns on coldframe with what it returns on TensorFlow."""
    results = []
    for tf in (OURS, v1):
        with tf.Graph().as_default():
            tf.set_random_seed(11)
            results.append(flat(tuple(program(tf))))
    ours, theirs = results
    assert len(ours) == len(theirs), (ours, theirs)
    for a, b in zip(ours, theirs, strict=True):
        x, y = (flat(tuple(v)) if isinstance(v, list) else [v] for v in (a, b))
        assert len(x) == len(y), (ours, theirs)
        for m, n in zip(x, y, strict=True):
            assert np.asarray(m).dtype == np.asarray(n).dtype, (m, n)
            np.testing.assert_array_equal(m, n)


# --- one of several -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize(
    "weights",
    [None, [0.5, 0.25, 0.25], np.array([0.1, 0.1, 0.8]), [0.0, 1.0, 1.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]],
    ids=str,
)
def test_samples(weights: Any, seed: int | None) -> None:
    compare(lambda tf: tf.data.experimental.sample_from_datasets(three(tf), weights, seed))


@pytest.mark.parametrize("kind", ["tensor", "dataset"])
@pytest.mark.parametrize("stop", [False, True])
def test_samples_by_weights_that_are_computed(kind: str, stop: bool) -> None:
    def make(tf: Any) -> Any:
        weights = np.array([0.2, 0.3, 0.5], np.float32)
        given = tf.data.Dataset.from_tensors(weights).repeat() if kind == "dataset" else tf.constant(weights)
        return tf.data.experimental.sample_from_datasets(three(tf), given, 4, stop_on_empty_dataset=stop)

    compare(make)


@pytest.mark.parametrize("stop", [False, True])
def test_chosen(stop: bool) -> None:
    compare(lambda tf: tf.data.experimental.choose_from_datasets(
        three(tf), numbers(tf, 3).repeat(), stop_on_empty_dataset=stop))  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "error"),
    [([0.5, 0.5], ValueError), ([1, 1, 1], TypeError), ("tensor of two", ValueError)],
)
def test_weights_that_do_not_fit(weights: Any, error: type[Exception]) -> None:
    for tf in (OURS, v1):
        with tf.Graph().as_default():
            given = tf.constant([0.5, 0.5]) if isinstance(weights, str) else weights
            with pytest.raises(error, match="Invalid `weights`"):
                tf.data.experimental.sample_from_datasets(three(tf), given)


def test_no_datasets() -> None:
    for tf in (OURS, v1):
        with tf.Graph().as_default(), pytest.raises(ValueError, match="Invalid `datasets`"):
            tf.data.experimental.sample_from_datasets([])


# --- groups and batches ---------------------------------------------------------------------------------------------
def words(tf: Any) -> Any:
    return numbers(tf, 12).map(lambda k: tf.fill([(k * 5) % 7 + 1], k))


def size(x: Any) -> Any:
    return v1.shape(x)[0] if isinstance(x, v1.Tensor) else OURS.shape(x)[0]


@pytest.mark.parametrize("padding", [False, True])
def test_buckets(padding: bool) -> None:
    compare(lambda tf: words(tf).apply(tf.data.experimental.bucket_by_sequence_length(
        size, [4, 8], [2, 3, 1], pad_to_bucket_boundary=padding)))  # fmt: skip


def test_an_element_beyond_the_last_boundary_has_no_bucket_to_be_padded_to() -> None:
    for tf in (OURS, v1):
        with tf.Graph().as_default(), tf.Session() as sess:
            make = tf.data.experimental.bucket_by_sequence_length(size, [4, 6], [2, 3, 1], pad_to_bucket_boundary=True)
            element = tf.data.make_one_shot_iterator(words(tf).skip(1).apply(make)).get_next()
            with pytest.raises(tf.errors.OpError, match=r"elements must have length < max\(bucket_boundaries\)"):
                sess.run(element)


def mean(tf: Any) -> Any:
    return tf.data.experimental.Reducer(
        lambda key: (np.int64(0), np.int64(0)),
        lambda held, x: (held[0] + x, held[1] + 1),
        lambda total, count: tf.cast(total, tf.float32) / tf.cast(count, tf.float32),
    )


MAKERS: dict[str, Callable[[Any], Any]] = {
    "unique": lambda tf: tf.data.Dataset.from_tensor_slices([1, 2, 1, 3, 2]).apply(tf.data.experimental.unique()),
    "unique strings": lambda tf: tf.data.Dataset.from_tensor_slices(["a", "b", "a"]).apply(
        tf.data.experimental.unique()),
    "sparse batches": lambda tf: numbers(tf, 5).map(lambda k: tf.fill([k % 3 + 1], k)).apply(
        tf.data.experimental.dense_to_sparse_batch(2, [4])).map(lambda s: (s.indices, s.values, s.dense_shape)),
    "reduced groups": lambda tf: numbers(tf, 10).apply(
        tf.data.experimental.group_by_reducer(lambda x: x % 3, mean(tf))),
    "random": lambda tf: tf.data.experimental.RandomDataset(4).take(5),
    "legacy": lambda tf: numbers(tf, 6).map_with_legacy_function(lambda x: x + 1).filter_with_legacy_function(
        lambda x: x > 2),
    "map and batch": lambda tf: numbers(tf, 5).apply(
        tf.data.experimental.map_and_batch_with_legacy_function(lambda x: x * 2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_transformations(name: str) -> None:
    compare(MAKERS[name])


# --- files of columns -----------------------------------------------------------------------------------------------
TABLE = 'id,share,name\n1,0.5,"a, b"\n2,,\n3,7,"say ""so"""\n'


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("csv")
    (folder / "t.csv").write_text(TABLE)
    (folder / "t.tsv").write_text(TABLE.replace("a, b", "ab").replace(",", "\t").replace("\t\t", "\tNA\t"))
    with gzip.open(folder / "t.csv.gz", "wt") as f:
        f.write(TABLE)
    return folder


@pytest.mark.parametrize(
    ("name", "defaults", "more"),
    [
        ("t.csv", [0, 0.25, ""], {"header": True}),
        ("t.csv", ["int32", 0.25, "string"], {"header": True}),
        ("t.csv", ["int64", "string"], {"header": True, "select_cols": [0, 2]}),
        ("t.csv.gz", [0, 1.5, "none"], {"header": True, "compression_type": "GZIP"}),
        ("t.tsv", [0, -1.0, "none"], {"header": True, "field_delim": "\t", "na_value": "NA"}),
        ("t.csv", ["string"] * 3, {}),
    ],
)
def test_tables(table: Path, name: str, defaults: list[Any], more: dict[str, Any]) -> None:
    def make(tf: Any) -> Any:
        given = [getattr(tf, d) if d in ("int32", "int64", "string") else d for d in defaults]
        return tf.data.experimental.CsvDataset([str(table / name)], given, **more)

    compare(make)


def test_columns_are_left_out(table: Path) -> None:
    """TensorFlow takes `exclude_cols` in its second API only."""

    def make(tf: Any) -> Any:
        given = [str(table / "t.csv")], [tf.int64, tf.string]
        return tf.data.experimental.CsvDataset(*given, header=True, select_cols=[0, 2])

    def without(tf: Any) -> Any:
        given = [str(table / "t.csv")], [tf.int64, tf.string]
        return tf.data.experimental.CsvDataset(*given, header=True, exclude_cols=[1])

    assert elements(OURS, without, False) == elements(v1, make, False)


# --- elements that may not be there -----------------------------------------------------------------------------------
def test_the_next_element_may_not_be_there() -> None:
    def program(tf: Any) -> list[Any]:
        data = tf.data.Dataset.from_tensor_slices({"a": np.arange(3), "b": np.arange(6.0).reshape(3, 2)})
        iterator = tf.data.make_initializable_iterator(data)
        element = tf.data.experimental.get_next_as_optional(iterator)
        there, value = element.has_value(), element.get_value()
        with tf.Session() as sess:
            sess.run(iterator.initializer)
            found = [sess.run([there, value["a"], value["b"]]) for _ in range(3)]
            return [*found, *drained(tf, there, sess)[:1], *drained(tf, value["a"], sess)]

    same(program)


def test_values_and_none() -> None:
    def program(tf: Any) -> list[Any]:
        made = tf.data.experimental.Optional.from_value((tf.constant(3), tf.constant("x")))
        none = tf.data.experimental.Optional.empty(made.element_spec)
        with tf.Session() as sess:
            pair = made.get_value()
            found = sess.run([made.has_value(), pair[0], pair[1], none.has_value()])
            return [*found, *drained(tf, none.get_value()[0], sess)]

    same(program)


def test_a_loop_reads_to_the_end() -> None:
    def program(tf: Any) -> list[Any]:
        iterator = tf.data.make_one_shot_iterator(numbers(tf, 5))

        def body(more: Any, total: Any) -> Any:
            element = tf.data.experimental.get_next_as_optional(iterator)
            there = element.has_value()
            return there, tf.cond(there, lambda: total + element.get_value(), lambda: total)

        done = tf.while_loop(lambda more, total: more, body, [tf.constant(True), tf.constant(0, tf.int64)])
        with tf.Session() as sess:
            return list(sess.run(done))

    same(program)


def test_tensors_are_sliced_together() -> None:
    for tf in (OURS, v1):
        with tf.Graph().as_default():
            fed = tf.placeholder(tf.float32, [None, 2])
            tf.data.Dataset.from_tensor_slices((np.zeros(3), fed))
            with pytest.raises(ValueError, match="Dimensions 3 and 4 are not compatible"):
                tf.data.Dataset.from_tensor_slices((np.zeros(3), fed, np.zeros((4, 2))))
