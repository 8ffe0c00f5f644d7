"""Windows, batches and groups of datasets, CSV files and samples against TensorFlow."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ExecutionError
from coldframe.formats import messages
from coldframe.runtime.session import Session
from dataset_harness import D, X, compare, pairs
from graph_oracle import check

v1, r = tf.compat.v1, tf.raw_ops
TEXT = b'name,age,weight\nann,31,60.5\n"bob, the ""second""",,71\nNA,12,\n"two\nlines",7,1e2\n'
DEFAULTS: list[Any] = [tf.string, -1, 0.5]


def numbers(*values: int) -> Any:
    return D.from_tensor_slices(np.array(values, np.int64))


@pytest.mark.parametrize("values", [(3, 1, 3, 2, 1, 3), (), (5,)])
def test_each_once(values: tuple[int, ...]) -> None:
    compare(lambda: numbers(*values).apply(X.unique()))


def test_each_word_once() -> None:
    compare(lambda: D.from_tensor_slices(["a", "b", "a", "", "b"]).apply(X.unique()))


@pytest.mark.parametrize("sizes", [2, 3, [1, 2], [4, 0, 1], 20])
@pytest.mark.parametrize("drop", [False, True])
def test_other_batches(sizes: Any, drop: bool) -> None:
    compare(lambda: pairs().batch(4).rebatch(sizes, drop_remainder=drop))


@pytest.mark.parametrize(("size", "shift", "stride"), [(3, 1, 1), (2, 3, 1), (3, 2, 2), (2, 5, 2), (11, 1, 1)])
def test_sliding_windows(size: int, shift: int, stride: int) -> None:
    def make() -> Any:
        source = pairs()
        spec = tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape], t.dtype), source.element_spec)
        made = r.SlidingWindowDataset(
            input_dataset=source._variant_tensor, window_size=size, window_shift=shift, window_stride=stride,
            output_types=[t.dtype for t in spec], output_shapes=[t.shape for t in spec],
        )  # fmt: skip
        return tf.data.experimental.from_variant(made, spec)

    compare(make)


def test_tensors_of_several_sizes() -> None:
    def make() -> Any:
        ragged = D.range(1, 6).map(lambda n: tf.fill([n % 3 + 1, n % 2], n))
        return ragged.apply(X.dense_to_sparse_batch(2, [4, None]))

    compare(make)


def test_a_tensor_that_does_not_fit() -> None:
    compare(lambda: D.range(1, 6).map(lambda n: tf.fill([n], n)).apply(X.dense_to_sparse_batch(2, [3])))


def test_groups() -> None:
    reducer = X.Reducer(
        lambda key: (key * 100, np.int64(0)), lambda state, x: (state[0] + x, state[1] + 1), lambda s, n: (s, n)
    )
    compare(lambda: numbers(5, 1, 7, 2, -4, 8).apply(X.group_by_reducer(lambda x: x % 3, reducer)))


def csv(tmp_path: Path, text: bytes = TEXT, *, zipped: bool = False) -> str:
    path = tmp_path / ("table.csv.gz" if zipped else "table.csv")
    path.write_bytes(gzip.compress(text) if zipped else text)
    return str(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_tables(tmp_path: Path, zipped: bool) -> None:
    path = csv(tmp_path, zipped=zipped)
    kind = "GZIP" if zipped else None
    found = compare(lambda: X.CsvDataset([path, path], DEFAULTS, compression_type=kind, header=True))
    assert len(found) == 2 * 9


@pytest.mark.parametrize(
    "options",
    [
        {"select_cols": [0, 2], "record_defaults": ["", 0.5]},
        {"select_cols": [1], "record_defaults": [tf.int32]},
        {"na_value": "NA", "record_defaults": ["none", 0, 0.5]},
        {"record_defaults": ["", 0]},
    ],
    ids=str,
)
def test_columns_of_tables(tmp_path: Path, options: dict[str, Any]) -> None:
    path = csv(tmp_path)
    compare(lambda: X.CsvDataset(path, header=True, **options))


def test_columns_that_are_left_out(tmp_path: Path) -> None:
    path = csv(tmp_path)
    compare(lambda: tf.data.experimental.CsvDataset(path, ["", 0.5], header=True, exclude_cols=[1]))


def test_tables_with_another_delimiter(tmp_path: Path) -> None:
    path = csv(tmp_path, b'a;1\r\n"b";2\n\nc"d;3')
    compare(lambda: X.CsvDataset(path, ["", 0], field_delim=";", use_quote_delim=False))
    compare(lambda: X.CsvDataset(path, ["", 0], field_delim=";"))


@pytest.mark.parametrize("seeds", [(3, 4), (7, 0)])
def test_samples(seeds: tuple[int, int]) -> None:
    def build() -> Any:
        types = {"output_types": [tf.int64], "output_shapes": [[]]}
        source = r.RangeDataset(start=np.int64(0), stop=np.int64(40), step=np.int64(1), **types)
        some = r.SamplingDataset(
            input_dataset=source, rate=0.4, seed=np.int64(seeds[0]), seed2=np.int64(seeds[1]), **types
        )
        iterator = r.AnonymousIteratorV3(**types)
        with tf.control_dependencies([r.MakeIterator(dataset=some, iterator=iterator)]):
            first = r.IteratorGetNext(iterator=iterator, **types)[0]
        with tf.control_dependencies([first]):
            second = r.IteratorGetNext(iterator=iterator, **types)[0]
        with tf.control_dependencies([second]):
            return [first, second, r.IteratorGetNext(iterator=iterator, **types)[0]]

    check(build)


TYPES: dict[str, Any] = {"output_types": [tf.int64], "output_shapes": [[]]}


def ranged(stop: int) -> Any:
    return r.RangeDataset(start=np.int64(0), stop=np.int64(stop), step=np.int64(1), **TYPES)


def total(dataset: Any) -> Any:
    """All elements of a dataset of numbers, as one number."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64)] * 2, autograph=False)
    def digits(a: Any, b: Any) -> Any:
        return a * 10 + b

    f = digits.get_concrete_function()
    f.add_to_graph()
    return r.ReduceDataset(input_dataset=dataset, initial_state=[np.int64(0)], other_arguments=[], f=f, **TYPES)[0]


def test_hints_hand_elements_on() -> None:
    def build() -> Any:
        pool = r.ThreadPoolHandle(num_threads=2, display_name="p")
        made = [
            r.ThreadPoolDataset(input_dataset=ranged(5), thread_pool=pool, **TYPES),
            r.SleepDataset(input_dataset=ranged(4), sleep_microseconds=np.int64(1), **TYPES),
            r.ChooseFastestDataset(input_datasets=[ranged(3), ranged(3)], num_experiments=2, **TYPES),
            r.ListDataset(tensors=[np.int64(4), np.int64(2)], **TYPES),
        ]
        return [total(d) for d in made]

    check(build)


@pytest.mark.parametrize("at", [0, 3])
def test_an_element_by_its_number(at: int) -> None:
    check(lambda: r.GetElementAtIndex(dataset=ranged(5), index=np.int64(at), **TYPES))


def test_an_element_that_is_not_there() -> None:
    with tf.Graph().as_default() as g:
        out = r.GetElementAtIndex(dataset=ranged(5), index=np.int64(5), **TYPES)[0]
    with pytest.raises(ExecutionError, match="no element with this number"):
        Session(g.as_graph_def()).run(out.name)


def test_a_table_of_a_dataset() -> None:
    def build() -> Any:
        source = r.TensorSliceDataset(
            components=[np.array([1, 5, 3]), np.array([b"a", b"b", b"c"])], output_shapes=[[], []],
        )  # fmt: skip
        table = r.HashTableV2(key_dtype=tf.int64, value_dtype=tf.string)
        with tf.control_dependencies([r.InitializeTableFromDataset(table_handle=table, dataset=source)]):
            return r.LookupTableFindV2(table_handle=table, keys=np.array([3, 4, 1]), default_value=b"-")

    check(build)


@pytest.mark.parametrize("engine", ["reference", "onnxruntime", "openvino", "xla"])
def test_functions_that_return_the_data_set_they_are_given(engine: str) -> None:
    """Nothing in their dtypes tells data sets from lists, which engines compile."""
    with tf.Graph().as_default() as graph:
        windows = D.range(6).window(2).interleave(lambda window: window, cycle_length=2)
        iterator = tf.compat.v1.data.make_initializable_iterator(windows)
        following = iterator.get_next()
        with tf.compat.v1.Session() as theirs:
            theirs.run(iterator.initializer)
            want = [theirs.run(following) for _ in range(6)]
    ours = Session(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="in memory"), engine)
    ours.run(iterator.initializer.name)
    assert [ours.run(following.name) for _ in range(6)] == want
