"""Datasets and iterators against TensorFlow: GraphDefs that its own `tf.data` makes, element by element."""

from __future__ import annotations

import gc
import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import CancelledError, EndOfInputError, ExecutionError, NotInitializedError
from coldframe.runtime.files import AnyFile
from coldframe.runtime.session import Session
from dataset_harness import D, Make, X, compare, elements, pairs
from graph_oracle import check

v1 = tf.compat.v1


def adding(number: Any) -> Any:
    return pairs().map(lambda a, b: a + number)


CASES: dict[str, Make] = {
    "tensors": lambda: D.from_tensors((1, "two", [3.0, 4.0])),
    "slices": lambda: D.from_tensor_slices({"a": np.arange(6).reshape(3, 2), "b": (["x", "y", "z"], [1.0, 2.0, 3.0])}),
    "sparse": lambda: D.from_tensor_slices(tf.sparse.from_dense([[0, 1, 0], [0, 0, 0], [2, 0, 3]])),
    "range": lambda: D.range(3, 20, 4),
    "range down": lambda: D.range(5, -5, -3),
    "map": lambda: pairs().map(lambda a, b: (a * 2 + 1, tf.strings.join([b, "!"]))),
    "parallel map": lambda: pairs().map(lambda a, b: tf.square(a), num_parallel_calls=4),
    "map with a captured tensor": lambda: adding(tf.constant(5.0)),
    "flat map": lambda: D.range(4).flat_map(lambda n: D.range(n)),
    "filter": lambda: D.range(20).filter(lambda n: tf.equal(n % 3, 1)),
    "take, skip": lambda: D.range(20).skip(3).take(5).concatenate(D.range(3).take(-1)).concatenate(D.range(9).skip(-1)),
    "repeat": lambda: D.range(3).repeat(3),
    "repeat for ever": lambda: D.range(3).repeat(),
    "repeat nothing": lambda: D.range(0).repeat(),
    "shard": lambda: D.range(11).shard(3, 1),
    "zip": lambda: D.zip((D.range(5), {"x": pairs()})),
    "batch": lambda: pairs().batch(4),
    "batch, no rest": lambda: pairs().batch(4, drop_remainder=True),
    "batch of nothing": lambda: D.range(0).batch(3),
    "ragged batch": lambda: D.range(6).map(lambda n: tf.fill([n // 2], n)).batch(2),
    "padded batch": lambda: D.range(1, 8).map(lambda n: (tf.fill([n % 4], n), tf.as_string(n))).padded_batch(
        3, ([None], [])
    ),
    "padded batch to sizes": lambda: D.range(1, 8).map(lambda n: tf.fill([n % 4, 2], tf.as_string(n))).padded_batch(
        3, [4, 3], "?", drop_remainder=True
    ),
    "padded batch too small": lambda: D.range(1, 8).map(lambda n: tf.fill([n % 4], n)).padded_batch(2, [2]),
    "unbatch": lambda: pairs().batch(4).apply(X.unbatch()),
    "map and batch": lambda: pairs().apply(X.map_and_batch(lambda a, b: (a + 1, b), 3)),
    "prefetch": lambda: D.range(10).map(lambda n: n * n).prefetch(3),
    "prefetch as you like": lambda: D.range(10).prefetch(-1).repeat(2).prefetch(1),
    "cache": lambda: D.range(5).map(lambda n: n + 1).cache().repeat(2),
    "interleave": lambda: D.range(1, 7).interleave(lambda n: D.range(n).map(lambda m: 10 * n + m), 3, 2),
    "interleave wide": lambda: D.range(3).interleave(lambda n: D.from_tensors(n).repeat(5), 7, 1),
    "parallel interleave": lambda: D.range(1, 7).interleave(
        lambda n: D.range(n).map(lambda m: 10 * n + m), 3, 2, num_parallel_calls=2, deterministic=True
    ),
    "old parallel interleave": lambda: D.range(1, 7).apply(
        X.parallel_interleave(lambda n: D.range(n).map(lambda m: 10 * n + m), 3, 2)
    ),
    "shuffle": lambda: D.range(20).shuffle(7, seed=3),
    "shuffle all": lambda: D.range(20).shuffle(100, seed=3).repeat(3),
    "shuffle seeded by the graph": lambda: D.range(20).shuffle(5),
    "shuffle the same way": lambda: D.range(10).shuffle(4, seed=5, reshuffle_each_iteration=False).repeat(3),
    "shuffle and repeat": lambda: D.range(9).apply(X.shuffle_and_repeat(5, 4, seed=11)),
    "shuffle and repeat all": lambda: D.range(5).apply(X.shuffle_and_repeat(50, 5, seed=11)),
    "shuffle and repeat for ever": lambda: D.range(4).apply(X.shuffle_and_repeat(3, seed=11)),
    "shuffle twice": lambda: D.range(12).shuffle(4, seed=1).batch(2).shuffle(3, seed=2).repeat(2),
    "scan": lambda: D.range(6).apply(X.scan(tf.constant(1, tf.int64), lambda s, n: (s + n, s * 10 + n))),
    "take while": lambda: D.range(9).apply(X.take_while(lambda n: n < 5)),
    "errors": lambda: D.from_tensor_slices([1.0, 0.0, 4.0]).map(lambda x: tf.debugging.check_numerics(1 / x, "bad")),
    "errors ignored": lambda: D.from_tensor_slices([1.0, 0.0, 4.0]).map(
        lambda x: tf.debugging.check_numerics(1 / x, "bad")
    ).apply(X.ignore_errors()),
    "errors in batches": lambda: D.from_tensor_slices([1.0, 2.0, 3.0, 0.0, 4.0, 5.0]).map(
        lambda x: tf.debugging.check_numerics(1 / x, "bad")
    ).batch(2).prefetch(2),
    "windows": lambda: D.range(10).window(3, 2, 2).flat_map(lambda w: w.batch(3)),
    "windows apart": lambda: D.range(12).window(2, 5, drop_remainder=True).flat_map(lambda w: w.batch(2)),
    "groups": lambda: D.range(17).apply(X.group_by_window(lambda n: n % 3, lambda k, w: w.batch(4), 4)),
    "by length": lambda: D.range(1, 12).map(lambda n: tf.fill([n % 5 + 1], n)).apply(
        X.bucket_by_sequence_length(lambda x: tf.shape(x)[0], [3, 5], [2, 3, 2])
    ),
    "chosen": lambda: X.choose_from_datasets([D.range(3), D.range(10, 15)], D.range(2).repeat(6)),
    "reduce": lambda: D.from_tensors(D.range(5).reduce(tf.constant(0, tf.int64), lambda s, n: s + n)),
    "single element": lambda: D.from_tensors(X.get_single_element(D.range(5).skip(4))),
    "sizes": lambda: D.from_tensors(tf.stack([X.cardinality(d) for d in (
        D.range(7).batch(2), D.range(7).batch(2, drop_remainder=True), D.range(3).repeat(), D.range(3).repeat(2),
        D.range(3).filter(lambda n: n > 1), D.range(9).skip(2).take(20), D.zip((D.range(3), D.range(4))),
        D.range(3).concatenate(D.range(4)), D.range(5).shuffle(3).prefetch(1).cache(),
    )])),
    "sizes of groups": lambda: D.from_tensors(tf.stack([X.cardinality(d) for source in (
        D.range(5), D.range(5).repeat(), D.range(5).filter(lambda n: n > 2), D.range(0),
    ) for d in (
        *(source.window(n, by, every, drop) for n, by, every, drop in (
            (2, 1, 1, True), (2, 2, 1, True), (2, 2, 1, False), (2, 3, 2, True), (7, 1, 1, True), (7, 1, 1, False),
        )),
        source.apply(X.group_by_window(lambda n: n % 2, lambda k, w: w.batch(4), 4)), source.map(lambda n: n),
        source.interleave(D.from_tensors, 2), source.interleave(D.from_tensors, 2, num_parallel_calls=2),
        source.apply(X.parallel_interleave(D.from_tensors, 2)), source.apply(X.map_and_batch(lambda n: n, 2)),
        source.batch(2).apply(X.unbatch()), X.choose_from_datasets([source, D.range(2)], D.range(2)),
        tf.data.Dataset.map(source, lambda n: n), tf.data.Dataset.map(source, lambda n: n, num_parallel_calls=2),
    )])),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_elements(name: str) -> None:
    compare(CASES[name])


@pytest.mark.parametrize("name", ["map", "flat map", "shuffle all", "padded batch", "cache", "prefetch"])
def test_elements_of_a_one_shot_iterator(name: str) -> None:
    compare(CASES[name], one_shot=True)


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_files(tmp_path: Path, compression: str) -> None:
    for k in range(3):
        with tf.io.TFRecordWriter(str(tmp_path / f"r{k}"), compression) as w:
            for r in range(k + 1):
                w.write(f"record {r} of {k}".encode())
    paths = [str(tmp_path / f"r{k}") for k in range(3)]
    compare(lambda: v1.data.TFRecordDataset(paths, compression))
    compare(lambda: D.list_files(f"{tmp_path}/r*", shuffle=False).flat_map(
        lambda f: v1.data.TFRecordDataset(f, compression)
    ))  # fmt: skip
    compare(lambda: D.list_files(f"{tmp_path}/r*", seed=3).interleave(
        lambda f: v1.data.TFRecordDataset(f, compression), 2
    ))  # fmt: skip


def test_a_file_that_cannot_be_read_is_left_behind(tmp_path: Path) -> None:
    paths = []
    for k in range(3):
        paths.append(str(tmp_path / f"r{k}"))
        with tf.io.TFRecordWriter(paths[-1]) as w:
            w.write(b"first")
            w.write(b"second")
    data = bytearray((tmp_path / "r1").read_bytes())
    data[-6] ^= 1
    (tmp_path / "r1").write_bytes(data)
    found = compare(lambda: v1.data.TFRecordDataset(paths))
    seen = [f if isinstance(f, str) else f[0] for f in found]
    assert seen[:6] == [b"first", b"second", b"first", "error", b"first", b"second"]
    (tmp_path / "r1").unlink()  # TensorFlow would ask for it for ever
    with tf.Graph().as_default() as g:
        name = v1.data.make_one_shot_iterator(v1.data.TFRecordDataset(paths).apply(X.ignore_errors())).get_next().name
    session = Session(g.as_graph_def(), files=AnyFile())
    assert elements(lambda: session.run(name)) == [b"first", b"second", b"first", b"second", "end"]


def test_lines_and_records_of_one_size(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"one\r\ntwo\n\nthree")
    (tmp_path / "e").write_bytes(b"")
    paths = [str(tmp_path / n) for n in "tet"]
    compare(lambda: v1.data.TextLineDataset(paths).skip(1))
    compare(lambda: v1.data.FixedLengthRecordDataset(paths[:1], 3, 1, 2))


def test_an_iterator_needs_a_dataset_and_ends() -> None:
    with tf.Graph().as_default() as g:
        iterator = v1.data.make_initializable_iterator(D.range(2))
        name, init = iterator.get_next().name, iterator.initializer.name
    session = Session(g.as_graph_def())
    with pytest.raises(NotInitializedError, match=r"has no dataset yet at node `IteratorGetNext`"):
        session.run(name)
    session.run(init)
    assert [session.run(name) for _ in range(2)] == [0, 1]
    for _ in range(2):
        with pytest.raises(EndOfInputError, match=r"End of sequence of iterator `IteratorV2"):
            session.run(name)


def test_an_iterator_for_several_datasets() -> None:
    with tf.Graph().as_default() as g:
        iterator = v1.data.Iterator.from_structure(tf.int64, [])
        inits = [iterator.make_initializer(D.range(n, n + 3)).name for n in (10, 20)]
        name = iterator.get_next().name
    session = Session(g.as_graph_def())
    found = []
    for init in inits:
        session.run(init)
        found += [int(session.run(name)) for _ in range(2)]
    assert found == [10, 11, 20, 21]


def test_a_fed_string_chooses_the_iterator() -> None:
    with tf.Graph().as_default() as g:
        handle = v1.placeholder(tf.string, [], name="handle")
        chosen = v1.data.Iterator.from_string_handle(handle, tf.int64, []).get_next().name
        sources = [v1.data.make_one_shot_iterator(D.range(n, n + 9)) for n in (10, 20)]
        strings = [s.string_handle().name for s in sources]
    session = Session(g.as_graph_def())
    keys = [session.run(s) for s in strings]
    assert [int(session.run(chosen, {"handle:0": keys[k]})) for k in (0, 1, 0, 0, 1)] == [10, 20, 11, 12, 21]
    with pytest.raises(ExecutionError, match="no iterator of this session is called `zzz`"):
        session.run(chosen, {"handle:0": "zzz"})


def test_datasets_see_variables() -> None:
    with tf.Graph().as_default() as g:
        v = v1.get_variable("v", initializer=np.int64(100), use_resource=True)
        iterator = v1.data.make_initializable_iterator(D.range(3).map(lambda n: n + v))
        name, init = iterator.get_next().name, iterator.initializer.name
        add, start = v.assign_add(1000, read_value=False).name, v.initializer.name
    session = Session(g.as_graph_def())
    session.run(start)
    session.run(init)
    assert session.run(name) == 100
    session.run(add)
    assert session.run(name) == 1101


def threads() -> int:
    return sum(t.name == "coldframe-prefetch" for t in threading.enumerate())


def wait_for_threads(count: int) -> None:
    deadline = threading.Event()
    for _ in range(200):
        gc.collect()
        if threads() <= count:
            return
        deadline.wait(0.02)
    raise AssertionError(f"{threads()} threads, expected {count}")


def test_threads_end_with_their_pipeline() -> None:
    before = threads()
    with tf.Graph().as_default() as g:
        endless = D.range(5).prefetch(2).take(2).repeat().prefetch(3)
        iterator = v1.data.make_initializable_iterator(endless)
        name, init = iterator.get_next().name, iterator.initializer.name
    session = Session(g.as_graph_def())
    for _ in range(3):
        session.run(init)
        assert [int(session.run(name)) for _ in range(10)] == [0, 1] * 5
    assert threads() > before
    session.state.close()
    wait_for_threads(before)
    with pytest.raises(CancelledError):
        session.run(name)
    other = Session(g.as_graph_def())
    other.run(init)
    other.run(name)
    del other
    wait_for_threads(before)


def test_several_threads_share_an_iterator() -> None:
    with tf.Graph().as_default() as g:
        iterator = v1.data.make_one_shot_iterator(D.range(200).prefetch(4))
        name = iterator.get_next().name
    session = Session(g.as_graph_def())
    found: list[list[int]] = [[] for _ in range(4)]

    def take(mine: list[int]) -> None:
        try:
            while True:
                mine.append(int(session.run(name)))
        except EndOfInputError:
            pass

    team = [threading.Thread(target=take, args=(f,)) for f in found]
    for t in team:
        t.start()
    for t in team:
        t.join(20)
    assert sorted(itertools.chain(*found)) == list(range(200))


def test_the_end_of_a_dataset_as_an_optional_without_value() -> None:
    def build() -> Any:
        iterator = v1.data.make_one_shot_iterator(D.range(5, 8).batch(2))
        handle = iterator._iterator_resource
        kinds: dict[str, Any] = {"output_types": [tf.int64], "output_shapes": [tf.TensorShape([None])]}
        found = tf.raw_ops.IteratorGetNextAsOptional(iterator=handle, **kinds)
        has = tf.raw_ops.OptionalHasValue(optional=found)
        return has, tf.cond(
            has, lambda: tf.raw_ops.OptionalGetValue(optional=found, **kinds)[0], lambda: tf.constant([-1], tf.int64)
        )

    check(build, runs=4)


def _example(k: int) -> bytes:
    feature = {
        "size": tf.train.Feature(float_list=tf.train.FloatList(value=[k, k + 0.5])),
        "words": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"w"] * k)),
        "at": tf.train.Feature(int64_list=tf.train.Int64List(value=range(k))),
    }
    return bytes(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


PARSED = {
    "dense": {"size": tf.io.FixedLenFeature([2], tf.float32), "other": tf.io.FixedLenFeature([], tf.int64, 9)},
    "sparse": {"words": tf.io.VarLenFeature(tf.string), "size": tf.io.FixedLenFeature([2], tf.float32)},
    "ragged": {"at": tf.io.RaggedFeature(tf.int64), "words": tf.io.VarLenFeature(tf.string)},
}


@pytest.mark.parametrize("name", PARSED)
def test_parsed_examples(name: str) -> None:
    assert len(compare(lambda: D.from_tensor_slices([_example(k) for k in (2, 0, 3, 1)]).batch(2).apply(
        tf.data.experimental.parse_example_dataset(PARSED[name])))) > 1  # fmt: skip
