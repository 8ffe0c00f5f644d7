"""tf.lookup and tf.contrib.lookup: nodes and values are TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tensorflow.python.ops import lookup_ops

import coldframe.tf1 as tf
from tf1_graphs import IGNORED, flat, oracle, same_graph

OURS = SimpleNamespace(tf=tf, lookup=tf.lookup, tables=tf.contrib.lookup)
THEIRS = SimpleNamespace(tf=oracle, lookup=oracle.lookup, tables=lookup_ops)


def _words(n: Any) -> Any:
    return n.tf.constant([["b", "x"], ["a", "yy"]])


def _static(n: Any, _: str) -> Any:
    table = n.lookup.StaticHashTable(n.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2]), -1)
    return table.lookup(_words(n)), table.size()


def _vocabulary(n: Any, _: str) -> Any:
    filling = n.lookup.KeyValueTensorInitializer(["a", "b"], [0, 1], value_dtype=n.tf.int64)
    table = n.lookup.StaticVocabularyTable(filling, 3)
    return table.lookup(_words(n)), table.size()


def _file(n: Any, path: str) -> Any:
    where = n.lookup.TextFileIndex
    filling = n.lookup.TextFileInitializer(path, n.tf.string, where.WHOLE_LINE, n.tf.int64, where.LINE_NUMBER)
    return n.lookup.StaticHashTable(filling, -1, name="words").lookup(_words(n))


def _sparse(n: Any, _: str) -> Any:
    keys = n.tf.SparseTensor([[0, 1], [1, 0]], n.tf.constant(["b", "x"]), [2, 2])
    return n.tables.index_table_from_tensor(["a", "b"]).lookup(keys)


CASES: dict[str, Callable[[Any, str], Any]] = {
    "static": _static,
    "vocabulary": _vocabulary,
    "file": _file,
    "sparse keys": _sparse,
    "ids by hash": lambda n, _: n.tables.index_table_from_tensor(["a", "b"], num_oov_buckets=4).lookup(_words(n)),
    "ids of ints": lambda n, _: n.tables.index_table_from_tensor([5, 7], 2, dtype=n.tf.int32).lookup(
        n.tf.constant([7, 6], n.tf.int32)
    ),
    "ids from a file": lambda n, path: n.tables.index_table_from_file(path, 2).lookup(_words(n)),
    "words": lambda n, _: n.tables.index_to_string_table_from_tensor(["a", "b"]).lookup(
        n.tf.constant([1, 2], n.tf.int64)
    ),
    "words from a file": lambda n, path: n.tables.index_to_string_table_from_file(path).lookup(
        n.tf.constant([1, 2], n.tf.int64)
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_nodes_and_values(case: Callable[[Any, str], Any], tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("a\nb\n")
    graphs, values = [], []
    for n in (OURS, THEIRS):
        with n.tf.Graph().as_default() as graph:
            results = flat([case(n, str(path))])
            initialise = n.tf.tables_initializer()
            graphs.append(graph.as_graph_def())
            with n.tf.Session(graph=graph) as session:
                session.run(initialise)
                values.append(session.run(results))
            assert len(graph.get_collection(n.tf.GraphKeys.TABLE_INITIALIZERS)) == 1
    same_graph(graphs[0], graphs[1], {*IGNORED, "shared_name"})  # names of tables are random
    for ours, theirs in zip(*values, strict=True):
        assert np.array_equal(ours, theirs)


def test_a_table_that_changes() -> None:
    with tf.Graph().as_default():
        table = tf.contrib.lookup.MutableHashTable(tf.string, tf.int64, -1)
        insert = table.insert(tf.constant(["a", "b"]), tf.constant([1, 2], tf.int64))
        found, size, (keys, values) = table.lookup(tf.constant(["a", "c"])), table.size(), table.export()
        remove = table.remove(tf.constant(["a"]))
        assert found.shape.as_list() == [2]
        with tf.Session() as session:
            session.run(insert)
            assert session.run([found, size])[0].tolist() == [1, -1]
            assert dict(zip(*(v.tolist() for v in session.run([keys, values])), strict=True)) == {b"a": 1, b"b": 2}
            session.run(remove)
            assert session.run(found).tolist() == [-1, -1]


def test_errors() -> None:
    with tf.Graph().as_default():
        filling = tf.lookup.KeyValueTensorInitializer(["a"], [1])
        table = tf.lookup.StaticHashTable(filling, -1)
        with pytest.raises(TypeError, match="Keys must be dtype string, got int32"):
            table.lookup(tf.constant([1]))
        with pytest.raises(ValueError, match="oov_buckets must be > 0"):
            tf.lookup.StaticVocabularyTable(filling, 0)
        with pytest.raises(ValueError, match="Invalid vocab_size 0"):
            tf.lookup.TextFileInitializer("f", tf.string, -2, tf.int64, -1, vocab_size=0)
        with pytest.raises(ValueError, match="must be dtype int64, got int32"):
            tf.lookup.TextFileInitializer("f", tf.string, -2, tf.int32, -1)
        found = table.lookup(tf.constant(["a"]))
        with tf.Session() as session, pytest.raises(tf.errors.FailedPreconditionError, match="not initialized"):
            session.run(found)
