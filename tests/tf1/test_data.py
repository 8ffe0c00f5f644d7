"""Programs with `tf.data`: the same elements as TensorFlow's, the same static shapes, and pipelines in sessions."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow

import coldframe.tf1 as OURS  # noqa: N812 - beside TensorFlow's
from coldframe.errors import UnsupportedError
from coldframe.runtime.session import Session as Runtime
from data_programs import compare, v1

Pair = namedtuple("Pair", "x y")  # noqa: PYI024 - programs write it so


def pairs(tf: Any) -> Any:
    return tf.data.Dataset.from_tensor_slices((np.arange(10, dtype=np.float32), [f"s{i}" for i in range(10)]))


def numbers(tf: Any, n: int) -> Any:
    return tf.data.Dataset.range(n)


def filled(tf: Any) -> Callable[[Any], Any]:
    return lambda n: tf.raw_ops.Fill(dims=tf.raw_ops.Reshape(tensor=n % 4, shape=[1]), value=n)


def sparse(tf: Any) -> Any:
    return tf.SparseTensor(indices=[[0, 1], [2, 0], [2, 2]], values=[1, 2, 3], dense_shape=[3, 3])


def generator() -> Iterator[Any]:
    for i in range(4):
        yield i, [float(i)] * (i % 3)


CASES: dict[str, Callable[[Any], Any]] = {
    "tensors": lambda tf: tf.data.Dataset.from_tensors((1, "two", [3.0, 4.0])),
    "slices": lambda tf: tf.data.Dataset.from_tensor_slices(
        {"b": (["x", "y", "z"], [1.0, 2.0, 3.0]), "a": np.arange(6).reshape(3, 2)}
    ),
    "named": lambda tf: tf.data.Dataset.from_tensor_slices(Pair([1, 2], ["a", "b"])).map(lambda p: Pair(p.y, p.x)),
    "sparse tensors": lambda tf: tf.data.Dataset.from_tensors(sparse(tf)).repeat(2),
    "sparse slices": lambda tf: tf.data.Dataset.from_tensor_slices({"s": sparse(tf)}).batch(2),
    "sparse map": lambda tf: numbers(tf, 3).map(
        lambda n: tf.SparseTensor(indices=[[0]], values=tf.raw_ops.Reshape(tensor=n, shape=[1]), dense_shape=[4])
    ).batch(2),
    "ranges": lambda tf: tf.data.Dataset.range(3, 20, 4).concatenate(tf.data.Dataset.range(2, 5)),
    "map": lambda tf: pairs(tf).map(lambda a, b: {"twice": a * 2 + 1, "text": b}),
    "map to a list": lambda tf: pairs(tf).map(lambda a, b: [a, b]),
    "map with a capture": lambda tf: (lambda c: numbers(tf, 4).map(lambda n: n + c))(tf.constant(5, tf.int64)),
    "parallel map": lambda tf: pairs(tf).map(lambda a, b: (a, b), num_parallel_calls=4),
    "flat map": lambda tf: numbers(tf, 4).flat_map(lambda n: tf.data.Dataset.range(n)),
    "nested capture": lambda tf: numbers(tf, 4).flat_map(lambda n: tf.data.Dataset.range(3).map(lambda m: 10 * n + m)),
    "filter": lambda tf: numbers(tf, 20).filter(lambda n: tf.raw_ops.Equal(x=n % 3, y=np.int64(1))),
    "interleave": lambda tf: numbers(tf, 5).interleave(lambda n: tf.data.Dataset.from_tensors(n).repeat(3), 2, 2),
    "parallel interleave": lambda tf: numbers(tf, 5).interleave(
        lambda n: tf.data.Dataset.from_tensors(n).repeat(3), 2, 2, num_parallel_calls=2
    ),
    "old parallel interleave": lambda tf: numbers(tf, 5).apply(tf.data.experimental.parallel_interleave(
        lambda n: tf.data.Dataset.from_tensors(n).repeat(3), 2, 2
    )),
    "shuffle": lambda tf: numbers(tf, 20).shuffle(7, seed=3),
    "shuffle by the graph": lambda tf: numbers(tf, 20).shuffle(7).repeat(2).batch(6),
    "shuffle the same way": lambda tf: numbers(tf, 6).shuffle(6, seed=3, reshuffle_each_iteration=False).repeat(3),
    "shuffle and repeat": lambda tf: numbers(tf, 9).apply(tf.data.experimental.shuffle_and_repeat(5, 2, seed=11)),
    "batch": lambda tf: pairs(tf).batch(4),
    "batch, no rest": lambda tf: pairs(tf).batch(4, drop_remainder=True),
    "padded batch": lambda tf: numbers(tf, 8).map(filled(tf)).padded_batch(3, [None]),
    "padded batch of a dict": lambda tf: numbers(tf, 8).map(lambda n: {"n": n, "f": filled(tf)(n)}).padded_batch(
        3, {"n": [], "f": [5]}, {"n": np.int64(0), "f": np.int64(-1)}, drop_remainder=True
    ),
    "unbatch": lambda tf: pairs(tf).batch(4).apply(tf.data.experimental.unbatch()),
    "map and batch": lambda tf: pairs(tf).apply(tf.data.experimental.map_and_batch(lambda a, b: (b, a + 1), 3)),
    "prefetch, cache": lambda tf: numbers(tf, 5).cache().repeat(2).prefetch(2).prefetch(-1),
    "take, skip, shard": lambda tf: numbers(tf, 20).skip(3).take(9).shard(2, 1),
    "zip": lambda tf: tf.data.Dataset.zip((numbers(tf, 5), {"x": pairs(tf)})),
    "enumerate": lambda tf: pairs(tf).apply(tf.data.experimental.enumerate_dataset(5)),
    "windows": lambda tf: numbers(tf, 10).window(3, 2, 2).flat_map(lambda w: w.batch(3)),
    "errors ignored": lambda tf: tf.data.Dataset.from_tensor_slices([1.0, 0.0, 4.0]).map(
        lambda x: tf.raw_ops.CheckNumerics(tensor=1 / x, message="bad")
    ).apply(tf.data.experimental.ignore_errors()),
    "errors": lambda tf: tf.data.Dataset.from_tensor_slices([1.0, 0.0, 4.0]).map(
        lambda x: tf.raw_ops.CheckNumerics(tensor=1 / x, message="bad")
    ),
    "scan": lambda tf: numbers(tf, 6).apply(tf.data.experimental.scan(np.int64(1), lambda s, n: (s + n, s * 10 + n))),
    "take while": lambda tf: numbers(tf, 9).apply(tf.data.experimental.take_while(
        lambda n: tf.raw_ops.Less(x=n, y=np.int64(5))
    )),
    "groups": lambda tf: numbers(tf, 17).apply(
        tf.data.experimental.group_by_window(lambda n: n % 3, lambda k, w: w.batch(4), 4)
    ),
    "buckets": lambda tf: numbers(tf, 12).map(filled(tf)).apply(tf.data.experimental.bucket_by_sequence_length(
        lambda x: tf.raw_ops.Size(input=x), [2, 3], [2, 3, 2]
    )),
    "chosen": lambda tf: tf.data.experimental.choose_from_datasets(
        [numbers(tf, 3), numbers(tf, 5)], numbers(tf, 2).repeat(6)
    ),
    "reduce": lambda tf: tf.data.Dataset.from_tensors(numbers(tf, 5).reduce(np.int64(0), lambda s, n: s + n)),
    "single": lambda tf: tf.data.Dataset.from_tensors(tf.data.experimental.get_single_element(numbers(tf, 5).skip(4))),
    "random numbers": lambda tf: tf.data.Dataset.zip(tuple(numbers(tf, 4).map(lambda n, k=k: tf.raw_ops.RandomUniform(
        shape=[2], seed=5, seed2=k, dtype=tf.float32
    )) for k in (1, 2, 1))),
    "random numbers, repeated": lambda tf: numbers(tf, 3).map(lambda n: tf.raw_ops.RandomUniform(
        shape=[2], seed=5, seed2=6, dtype=tf.float32
    )).repeat(3),
    "generator": lambda tf: tf.data.Dataset.from_generator(
        generator, (tf.int64, tf.float32), ((), (None,))
    ).repeat(2),
    "generator with arguments": lambda tf: tf.data.Dataset.from_generator(
        lambda n, s: ({"t": s, "i": i} for i in range(n)), {"t": tf.string, "i": tf.int32}, {"t": [], "i": []},
        args=(3, "text"),
    ),
    "generator of other shapes": lambda tf: tf.data.Dataset.from_generator(lambda: [[1, 2], [3]], tf.int32, [2]),
    "Python functions": lambda tf: numbers(tf, 3).map(lambda n: tuple(tf.py_func(
        lambda x: (x * 2, np.array(b"s%d" % x)), [n], [tf.int64, tf.string]
    ))),
}  # fmt: skip
_STATEFUL = ("generator", "Python functions", "reduce", "single")


@pytest.mark.parametrize("name", CASES)
def test_elements(name: str) -> None:
    compare(CASES[name])


@pytest.mark.parametrize("name", ["slices", "map", "nested capture", "shuffle", "padded batch", "zip", "generator"])
def test_elements_of_a_one_shot_iterator(name: str) -> None:
    compare(CASES[name], one_shot=True)


def test_files(tmp_path: Path) -> None:
    for k in range(3):
        (tmp_path / f"{k}.csv").write_text("x,y\n" + "".join(f"{k},{i * 0.5}\n" for i in range(4)))
        with tensorflow.io.TFRecordWriter(str(tmp_path / f"{k}.rec"), "GZIP") as w:
            for i in range(k + 1):
                w.write(f"{i}/{k}".encode())
    names = [str(tmp_path / f"{k}") for k in range(3)]

    def csv(tf: Any) -> Any:
        files = tf.data.Dataset.list_files(f"{tmp_path}/*.csv", seed=2)
        lines = files.interleave(lambda f: tf.data.TextLineDataset(f).skip(1), cycle_length=2)
        return lines.map(lambda line: tuple(tf.decode_csv(line, [[0], [0.0]]))).batch(3)

    compare(csv)
    compare(lambda tf: tf.data.TFRecordDataset([f"{n}.rec" for n in names], compression_type="GZIP"))
    compare(lambda tf: tf.data.TFRecordDataset(
        tf.data.Dataset.from_tensor_slices([f"{n}.rec" for n in names]), "GZIP"
    ))  # fmt: skip
    compare(lambda tf: tf.data.TFRecordDataset([f"{n}.rec" for n in names], "GZIP", num_parallel_reads=2))
    compare(lambda tf: tf.data.FixedLengthRecordDataset([f"{names[0]}.csv"], 4, 3, 1))
    for tf in (OURS, v1):
        with tf.Graph().as_default(), tf.Session() as sess:
            none = tf.data.make_initializable_iterator(tf.data.Dataset.list_files(f"{tmp_path}/*.none"))
            with pytest.raises(tf.errors.InvalidArgumentError, match=r"No files matched pattern: .*none"):
                sess.run(none.initializer)


def test_iterators_that_change_their_dataset() -> None:
    for tf in (OURS, v1):
        with tf.Graph().as_default():
            d = tf.data.Dataset
            iterator = tf.data.Iterator.from_structure((tf.int64, tf.float32), ([], [2]))
            inits = [
                iterator.make_initializer(d.zip((d.range(n, n + 3), d.from_tensors([1.0, 2.0]).repeat())))
                for n in (10, 20)
            ]
            with pytest.raises((TypeError, ValueError)):
                iterator.make_initializer(d.range(3))
            n, x = iterator.get_next()
            assert x.get_shape().as_list() == [2]
            with tf.Session() as sess:
                found = []
                for init in inits:
                    sess.run(init)
                    found += [int(sess.run(n)) for _ in range(2)]
                assert found == [10, 11, 20, 21]


def test_a_fed_handle_chooses_the_iterator() -> None:
    for tf in (OURS, v1):
        with tf.Graph().as_default():
            handle = tf.placeholder(tf.string, [])
            chosen = tf.data.Iterator.from_string_handle(handle, tf.int64, []).get_next()
            train = tf.data.make_one_shot_iterator(tf.data.Dataset.range(10, 19).repeat())
            test = tf.data.make_initializable_iterator(tf.data.Dataset.range(20, 29))
            with tf.Session() as sess:
                a, b = sess.run([train.string_handle(), test.string_handle()])
                sess.run(test.initializer)
                assert [int(sess.run(chosen, {handle: h})) for h in (a, b, a, a, b)] == [10, 20, 11, 12, 21]


def test_a_dataset_of_fed_tensors() -> None:
    for tf in (OURS, v1):
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, [None, 2])
            dataset = tf.data.Dataset.from_tensor_slices(x).batch(2)
            iterator = tf.data.make_initializable_iterator(dataset)
            element = iterator.get_next()
            assert element.get_shape().as_list() == [None, 2]
            with pytest.raises(ValueError, match=r"Cannot capture a placeholder \(name:Placeholder"):
                tf.data.make_one_shot_iterator(dataset)
            with tf.Session() as sess:
                with pytest.raises(tf.errors.FailedPreconditionError):
                    sess.run(element)
                sess.run(iterator.initializer, {x: np.arange(6).reshape(3, 2)})
                assert sess.run(element).tolist() == [[0, 1], [2, 3]]
                assert sess.run(element).tolist() == [[4, 5]]
                with pytest.raises(tf.errors.OutOfRangeError):
                    sess.run(element)


def test_variables_are_seen_by_functions_of_datasets() -> None:
    with OURS.Graph().as_default():  # TensorFlow would have made the second element ahead of time
        for resource in (True, False):
            v = OURS.Variable(np.int64(100), use_resource=resource)
            iterator = OURS.data.make_initializable_iterator(OURS.data.Dataset.range(9).map(lambda n, v=v: n + v))
            element = iterator.get_next()
            add = v.assign_add(np.int64(1000))
            with OURS.Session() as sess:
                sess.run(OURS.global_variables_initializer())
                sess.run(iterator.initializer)
                assert sess.run(element) == 100
                sess.run(add)
                assert sess.run(element) == (1101 if resource else 101)  # a reference is read by the initializer


def test_what_datasets_refuse() -> None:
    with OURS.Graph().as_default():
        d = OURS.data.Dataset.range(3)
        with pytest.raises(TypeError, match="must return tensors"):
            d.map(lambda n: None)
        with pytest.raises(TypeError, match="must return a `Dataset`"):
            d.flat_map(lambda n: n)
        with pytest.raises(ValueError, match="convertible to a scalar boolean tensor"):
            d.filter(lambda n: n)
        with pytest.raises(TypeError, match="different types"):
            d.concatenate(OURS.data.Dataset.from_tensors("x"))
        with pytest.raises(TypeError, match="callable"):
            OURS.data.Dataset.from_generator([1], OURS.int32)
        with pytest.raises(ValueError, match="does not have an initializer"):
            _ = OURS.data.make_one_shot_iterator(d).initializer


def test_python_functions_as_nodes() -> None:
    other: Any = None
    for tf in (OURS, v1):
        with tf.Graph().as_default() as g:
            x = tf.constant([1.0, 2.0])
            doubled = tf.py_func(lambda a: a * 2, [x], tf.float32)
            several = tf.py_func(lambda a: (a.sum(), b"text"), [x], [tf.float32, tf.string])
            shown = tf.py_function(lambda a: a.numpy() + 1, [x], tf.float32)
            assert doubled.op.type == "PyFunc"
            assert shown.op.type == "EagerPyFunc"
            with tf.Session() as sess:
                assert sess.run(doubled).tolist() == [2, 4]
                assert sess.run(several) == [3.0, b"text"]
                assert sess.run(shown).tolist() == [2, 3]
            other = g.as_graph_def() if tf is OURS else other
    with pytest.raises(UnsupportedError, match="calls the Python function `pyfunc_"):
        Runtime(other).run("PyFunc:0")
