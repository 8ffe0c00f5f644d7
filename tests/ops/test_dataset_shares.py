"""Datasets that workers and devices share, files by pattern, databases, records: against TensorFlow."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ColdframeError, ExecutionError, UnsupportedError
from coldframe.runtime.files import AnyFile
from coldframe.runtime.session import Session
from dataset_harness import D, compare
from graph_oracle import check, in_tensorflow
from step_oracle import steps

r, v1 = tf.raw_ops, tf.compat.v1
I64: Any = {"output_types": [tf.int64], "output_shapes": [[]]}
ROWS: Any = {"output_types": [tf.int64], "output_shapes": [[None]]}


def raw(variant: Any, spec: Any) -> Any:
    """The dataset that a node makes."""
    return tf.data.experimental.from_variant(variant, spec)


def of(source: Any, make: Callable[[Any], Any], spec: Any = None) -> Any:
    return raw(make(source._variant_tensor), spec or source.element_spec)


NUMBER, WORD = tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.string)


@pytest.mark.parametrize("name", ["RebatchDataset", "ExperimentalRebatchDataset"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_batches_are_cut_in_pieces(count: int, name: str) -> None:
    def make(d: Any) -> Any:
        return getattr(r, name)(input_dataset=d, num_replicas=count, **ROWS)

    compare(lambda: of(D.range(22).batch(8), make))
    compare(lambda: of(D.range(22).batch(8, drop_remainder=True).repeat(2), make, tf.TensorSpec([None], tf.int64)))


@pytest.mark.parametrize(("policy", "workers", "index"), [
    (-1, 2, 1), (0, 1, 0), (1, 1, 0), (2, 1, 0), (2, 2, 1), (2, 3, 0), (3, 1, 0), (3, 2, 1),
])  # fmt: skip
def test_workers_get_their_shares(policy: int, workers: int, index: int) -> None:
    def make(d: Any) -> Any:
        kinds: Any = {"num_workers": workers, "index": index, **ROWS}
        return r.AutoShardDataset(input_dataset=d, auto_shard_policy=policy, **kinds)

    compare(lambda: of(D.range(7).map(lambda n: n * 2).batch(2), make))


def test_shares_that_hang_on_files_are_refused() -> None:
    def build(index: int) -> Any:
        kinds: Any = {"num_workers": 2, "auto_shard_policy": 1, **I64}
        shard = r.ExperimentalAutoShardDataset(input_dataset=D.range(7)._variant_tensor, index=index, **kinds)
        return r.DatasetCardinality(input_dataset=shard)

    check(lambda: build(5), refused="`index` at .*expected below 2, found 5")
    graph, names, _ = in_tensorflow(lambda: build(0))  # TensorFlow rewrites the graph, where it finds files
    with pytest.raises(UnsupportedError, match="which files a worker reads"):
        Session(graph).run(names)


# --- iterators for devices --------------------------------------------------------------------------------------
def dealt(count: int, devices: int, shards: list[int], incarnation: int | None = None) -> Callable[[], list[Any]]:
    def build() -> list[Any]:
        names = [f"/cpu:{k}" for k in range(devices)]
        handle = r.MultiDeviceIterator(devices=names, shared_name="it", container="", **I64)
        dataset: Any = D.range(count)._variant_tensor
        begin = r.MultiDeviceIteratorInit(dataset=dataset, multi_device_iterator=handle, max_buffer_size=np.int64(20))
        given: Any = np.int64(1 if incarnation is None else incarnation)
        taken = [
            r.MultiDeviceIteratorGetNextFromShard(
                multi_device_iterator=handle, shard_num=k, incarnation_id=given, **I64
            )[0]
            for k in shards
        ]
        return [begin, *taken]

    return build


@pytest.mark.parametrize("shards", [[0, 1, 0, 1], [1, 0, 1, 0], [1, 1, 0, 0, 0]])
def test_devices_take_turns(shards: list[int]) -> None:
    steps(dealt(4, 2, shards))
    steps(dealt(5, 2, [0, 0, 1, 0, 1]))
    steps(dealt(3, 1, [0, 0, 0, 0]))


def test_an_incarnation_that_is_over() -> None:
    steps(dealt(3, 1, [0], incarnation=7))


@pytest.mark.parametrize("new", [False, True])
def test_iterators_for_devices_without_names(new: bool) -> None:
    def build() -> Any:
        if new:
            handle = r.AnonymousMultiDeviceIteratorV3(devices=["/cpu:0"], **I64)
        else:
            handle, deleter = r.AnonymousMultiDeviceIterator(devices=["/cpu:0"], **I64)
        dataset: Any = D.range(3)._variant_tensor
        begin = r.MultiDeviceIteratorInit(dataset=dataset, multi_device_iterator=handle, max_buffer_size=np.int64(20))
        taken = r.MultiDeviceIteratorGetNextFromShard(
            multi_device_iterator=handle, shard_num=0, incarnation_id=begin, **I64
        )
        if new:
            return taken
        with tf.control_dependencies(taken):
            end = r.DeleteMultiDeviceIterator(multi_device_iterator=handle, iterators=[], deleter=deleter)
        with tf.control_dependencies([end]):
            return [tf.identity(taken[0])]

    check(build, runs=2)


def test_iterators_for_devices_by_name() -> None:
    with tf.Graph().as_default() as g:
        begin, first, name = *dealt(3, 1, [0])(), v1.placeholder(tf.string, [], name="name")
        handle = g.get_operation_by_name("MultiDeviceIterator").outputs[0]
        told = r.MultiDeviceIteratorToStringHandle(multi_device_iterator=handle)
        found = r.MultiDeviceIteratorFromStringHandle(string_handle=name)
        second = r.MultiDeviceIteratorGetNextFromShard(
            multi_device_iterator=found, shard_num=0, incarnation_id=np.int64(1), **I64
        )[0]
        wrong = r.MultiDeviceIteratorGetNextFromShard(
            multi_device_iterator=found, shard_num=3, incarnation_id=np.int64(1), **I64
        )[0]
    ours = Session(g.as_graph_def())
    assert [ours.run(begin.name), ours.run(first.name), ours.run(told.name)] == [1, 0, b"it"]
    assert ours.run(second.name, {"name:0": b"it"}) == 1
    with pytest.raises(ExecutionError, match=r"`shard_num` at .*expected 0 to 0, found 3"):
        ours.run(wrong.name, {"name:0": b"it"})
    with pytest.raises(ExecutionError, match="no iterator for devices of this session is called `other`"):
        ours.run(second.name, {"name:0": b"other"})


def test_where_an_iterator_is() -> None:
    check(lambda: r.IteratorGetDevice(resource=v1.data.make_one_shot_iterator(D.range(3))._iterator_resource))


# --- files ------------------------------------------------------------------------------------------------------
def test_files_by_patterns(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.dat", "sub/z.txt", "sub-2/z.txt", ".hidden.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    for patterns in (["*.txt", "c*", "*/*.txt"], ["c*", "*.dat", "a.txt"], ["*"], ["a.txt", "no*"], "?.txt"):
        asked = np.char.add(f"{tmp_path}/", patterns)
        compare(lambda asked=asked: raw(r.MatchingFilesDataset(patterns=asked.tolist()), WORD))


def test_no_file_matches(tmp_path: Path) -> None:
    steps_of(lambda: r.MatchingFilesDataset(patterns=f"{tmp_path}/no*"), [tf.string], "no file matches")


def steps_of(make: Callable[[], Any], types: list[Any], message: str) -> None:
    """Check that the first element of a dataset cannot be made, here and in TensorFlow."""

    def build() -> Any:
        kinds: Any = {"output_types": types, "output_shapes": [[]] * len(types)}
        handle = r.IteratorV2(shared_name="", container="", **kinds)
        with tf.control_dependencies([r.MakeIterator(dataset=make(), iterator=handle)]):
            return r.IteratorGetNext(iterator=handle, **kinds)

    graph, names, want = in_tensorflow(build)
    assert isinstance(want, tf.errors.OpError)
    with pytest.raises(ColdframeError, match=message):
        Session(graph, files=AnyFile()).run(names)


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_elements_as_records(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "records"

    def build() -> Any:
        words: Any = D.from_tensor_slices([b"a", b"", b"\0c"])._variant_tensor
        return r.DatasetToTFRecord(input_dataset=words, filename=str(path), compression_type=compression)

    graph, names, _ = in_tensorflow(build)
    theirs = [t.numpy() for t in tf.data.TFRecordDataset(str(path), compression)]
    path.unlink()
    Session(graph, files=AnyFile()).run(names)
    ours = [t.numpy() for t in tf.data.TFRecordDataset(str(path), compression)]
    assert ours == theirs == [b"a", b"", b"\0c"]
    assert os.listdir(tmp_path) == ["records"]
    with pytest.raises(UnsupportedError, match="may not write files"):
        Session(graph).run(names)


def test_elements_that_are_no_records(tmp_path: Path) -> None:
    with tf.Graph().as_default() as g:
        numbers: Any = D.range(3)._variant_tensor
        r.DatasetToTFRecord(input_dataset=numbers, filename=str(tmp_path / "f"), compression_type="", name="write")
    with pytest.raises(ExecutionError, match=r"an element to write at .*expected one string"):
        Session(g.as_graph_def(), files=AnyFile()).run("write")
    assert not os.listdir(tmp_path)


# --- databases --------------------------------------------------------------------------------------------------
@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "t.db"
    with sqlite3.connect(path) as c:
        c.execute("create table t(a integer, b text, c real, d blob)")
        c.executemany("insert into t values(?, ?, ?, ?)", [
            (1, "x", 1.5, b"\0\1z"), (300, "yé", 2.75, b""), (-7, None, None, None), (70000, " 12abc", 1e30, "3.75e1x"),
            (1 << 40, "-5", -3.0, "0x10"), (0, "1e3", 0.1, b"7"), (-(1 << 62), "9" * 30, -1e-7, "+2"),
            (5, ".5", 123456789012345678.0, "."),
        ])  # fmt: skip
    c.close()
    return str(path)


KINDS = [tf.string, tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.bool, tf.float64]


@pytest.mark.parametrize(("column", "kind"), list(itertools.product("abcd", KINDS)), ids=str)
def test_columns_of_a_database(database: str, column: str, kind: Any) -> None:
    def make() -> Any:
        return raw(
            r.SqlDataset(
                driver_name="sqlite", data_source_name=database, query=f"select {column} from t",
                output_types=[kind], output_shapes=[[]],
            ),
            tf.TensorSpec([], kind),
        )  # fmt: skip

    compare(make)


def test_rows_of_a_database(database: str) -> None:
    query = "with recursive k(n) as (select 1 union all select n + 1 from k where n < 3) select n, upper(b) from k, t"
    kinds: Any = {"output_types": [tf.int32, tf.string], "output_shapes": [[], []]}
    compare(lambda: raw(
        r.ExperimentalSqlDataset(driver_name="sqlite", data_source_name=database, query=query, **kinds),
        (tf.TensorSpec([], tf.int32), WORD),
    ))  # fmt: skip


@pytest.mark.parametrize(("query", "types", "message"), [
    ("selec", [tf.int32], "the query of `.*t.db` at .*found near"),
    ("select q from t", [tf.int32], "no such column"),
    ("select a, b from t", [tf.int32], "columns that the query finds at .*expected 1, found 2"),
])  # fmt: skip
def test_queries_that_fail(database: str, query: str, types: list[Any], message: str) -> None:
    kinds: Any = {"output_types": types, "output_shapes": [[]] * len(types)}
    steps_of(
        lambda: r.SqlDataset(driver_name="sqlite", data_source_name=database, query=query, **kinds), types, message
    )


@pytest.mark.parametrize("query", [
    "insert into t values(1, 2, 3, 4)", "drop table t", "attach database 'other.db' as o", "pragma user_version = 3",
])  # fmt: skip
def test_a_database_is_only_read(database: str, query: str) -> None:
    """TensorFlow does what the query says."""
    before = Path(database).read_bytes()
    found = first_row(database, query, AnyFile())
    assert isinstance(found, ExecutionError)
    assert "not authorized" in str(found)
    assert Path(database).read_bytes() == before
    missing = f"{database}.none"
    assert isinstance(first_row(missing, "select 1", AnyFile()), ExecutionError)
    assert not Path(missing).exists()
    assert isinstance(first_row(database, "select 1", None), UnsupportedError)


def first_row(database: str, query: str, files: Any) -> Any:
    with tf.Graph().as_default() as g:
        kinds: Any = {"output_types": [tf.int32], "output_shapes": [[]]}
        dataset = r.SqlDataset(driver_name="sqlite", data_source_name=database, query=query, **kinds)
        handle = r.IteratorV2(shared_name="", container="", **kinds)
        with tf.control_dependencies([r.MakeIterator(dataset=dataset, iterator=handle)]):
            r.IteratorGetNext(iterator=handle, name="next", **kinds)
    try:
        return Session(g.as_graph_def(), files=files or ()).run("next:0")
    except ColdframeError as e:
        return e


@pytest.mark.parametrize(("driver", "kind", "message"), [
    ("mysql", tf.int32, "`driver_name` at .*expected `sqlite`, found `mysql`"),
    ("sqlite", tf.float32, "the dtype of a column"),
])  # fmt: skip
def test_databases_that_are_refused(database: str, driver: str, kind: Any, message: str) -> None:
    kinds: Any = {"output_types": [kind], "output_shapes": [[]]}
    check(
        lambda: r.DatasetCardinality(
            input_dataset=r.SqlDataset(driver_name=driver, data_source_name=database, query="select 1", **kinds)
        ),
        refused=message,
    )


# --- more sources -----------------------------------------------------------------------------------------------
def test_random_numbers_in_each_pass() -> None:
    def make(again: bool, seed: int = 3) -> Any:
        made = r.RandomDatasetV2(
            seed=np.int64(seed), seed2=np.int64(4), seed_generator=r.DummySeedGenerator(),
            rerandomize_each_iteration=again, **I64,
        )  # fmt: skip
        return raw(made, NUMBER).take(4).repeat(3)

    compare(lambda: make(False))
    compare(lambda: make(True))


def test_elements_that_are_compressed() -> None:
    parts = [np.arange(3, dtype=np.float32), np.array([b"a", b"bcd"]), np.int32(4), np.array(True)]
    kinds = [tf.float32, tf.string, tf.int32, tf.bool]

    def build(kinds: list[Any]) -> Any:
        packed = r.CompressElement(components=parts)
        return r.UncompressElement(compressed=packed, output_types=kinds, output_shapes=[[3], [2], [], []])

    check(lambda: build(kinds))
    check(lambda: build([*kinds[:3], tf.int32]), refused="the components of a compressed element")


def test_compressed_elements_in_datasets() -> None:
    def make() -> Any:
        packed = D.range(5).map(lambda n: r.CompressElement(components=[n, tf.as_string(n)]))
        kinds: Any = {"output_types": [tf.int64, tf.string], "output_shapes": [[], []]}
        return packed.map(lambda v: tuple(r.UncompressElement(compressed=v, **kinds)))

    compare(make)


def test_features_of_examples() -> None:
    def example(n: int) -> bytes:
        feature = tf.train.Feature(int64_list=tf.train.Int64List(value=[n, n + 1]))
        return tf.train.Example(features=tf.train.Features(feature={"a": feature})).SerializeToString()

    def make() -> Any:
        source = D.from_tensor_slices([example(n) for n in range(6)]).batch(2)
        return of(
            source,
            lambda d: r.ExperimentalParseExampleDataset(
                input_dataset=d, num_parallel_calls=np.int64(1), dense_defaults=[np.zeros(0, np.int64)],
                sparse_keys=[], dense_keys=["a"], sparse_types=[], dense_shapes=[[2]], output_types=[tf.int64],
                output_shapes=[[None, 2]],
            ),
            tf.TensorSpec([None, 2], tf.int64),
        )  # fmt: skip

    compare(make)


def test_statistics_are_not_kept() -> None:
    def make() -> Any:
        source: Any = D.range(5)._variant_tensor
        for name in ("ExperimentalBytesProducedStatsDataset", "ExperimentalLatencyStatsDataset"):
            source = getattr(r, name)(input_dataset=source, tag="t", **I64)
        handles = [r.StatsAggregatorHandle(), r.StatsAggregatorHandleV2(), r.ExperimentalStatsAggregatorHandle()]
        for aggregator in handles:
            source = r.ExperimentalSetStatsAggregatorDataset(
                input_dataset=source, stats_aggregator=aggregator, tag="q", counter_prefix="p", **I64
            )
        return raw(source, NUMBER)

    compare(make)


# --- groups of one ----------------------------------------------------------------------------------------------
def collectives(size: int) -> list[Any]:
    x: Any = np.array([[1, 2], [3, 4]], np.float32)
    how: Any = {"merge_op": "Add", "final_op": "Div"}
    keys = ({"group_size": size, "group_key": 1, "instance_key": k} for k in itertools.count(100 * size))
    return [
        r.CollectiveReduce(input=x, subdiv_offsets=[0], **how, **next(keys)),
        r.CollectiveReduceV2(input=x, ordering_token=[], **how, **next(keys)),
        r.CollectiveGather(input=x, shape=[2, 2], **next(keys)),
        r.CollectiveGatherV2(input=x, ordering_token=[], **next(keys)),
        r.CollectiveBcastSend(input=x, shape=[2, 2], **next(keys)),
        r.CollectiveBcastSendV2(input=x, **next(keys)),
    ]


def test_a_group_of_one_has_its_own_tensors() -> None:
    check(lambda: collectives(1))


def test_groups_of_several_are_refused() -> None:
    with tf.Graph().as_default() as g:
        names = [t.name for t in collectives(2)]
    for name in names:
        with pytest.raises(UnsupportedError, match=r"(?s)a group of several devices.*found 2"):
            Session(g.as_graph_def()).run(name)
