"""Lookup tables against TensorFlow, over several runs of one session, and the files they may be filled from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe.errors import ExecutionError, UnsupportedError
from coldframe.runtime.session import Session
from graph_oracle import OldGraph, in_tensorflow, same

r = tf.raw_ops
WORDS = [b"apple", b"", b"kiwi"]


def steps(build: Callable[[], list[Any]], refused: str = "", files: Any = ()) -> None:
    """Run the tensors (or ops) that `build` makes one after the other in one session, here and in TensorFlow.

    Where `refused` is given, the last one is refused by both.
    """
    made: list[str] = []

    def record() -> Any:
        out = build()
        made.extend(o.name for o in out)
        return tf.no_op()

    graph, _, _ = in_tensorflow(record)
    with tf.Graph().as_default() as g:
        tf.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=g) as session:
            run = [g.as_graph_element(name) for name in made]
            want = [session.run(e) for e in (run[:-1] if refused else run)]
            if refused:
                with pytest.raises(tf.errors.OpError):
                    session.run(run[-1])
    for engine in ("reference", "auto"):
        ours = Session(graph, engine, files=files)
        for name, w in zip(made, want, strict=False):
            same(ours.run(name), w, 0.0, f"{name} on {engine}")
        if refused:
            with pytest.raises(ExecutionError, match=refused):
                ours.run(made[-1])


def static(keys: Any = tf.string, values: Any = tf.int64, name: str = "t") -> Any:
    return r.HashTableV2(key_dtype=keys, value_dtype=values, shared_name=name)


def find(t: Any, keys: Any, default: Any) -> Any:
    return r.LookupTableFindV2(table_handle=t, keys=tf.convert_to_tensor(keys), default_value=default)


def put(t: Any, keys: Any, values: Any) -> Any:
    return r.LookupTableInsertV2(table_handle=t, keys=keys, values=values)


def size(t: Any) -> Any:
    return r.LookupTableSizeV2(table_handle=t)


def fill(t: Any, keys: Any, values: Any) -> Any:
    return r.InitializeTableV2(table_handle=t, keys=keys, values=values)


def i64(value: Any) -> Any:
    return tf.constant(value, tf.int64)


PAIRS = [
    ("string", "int64"), ("string", "float32"), ("string", "string"), ("int64", "string"), ("int64", "int64"),
    ("int32", "float32"), ("int64", "float32"), ("string", "bool"), ("int32", "string"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), PAIRS)
def test_tables_that_are_initialized(key: str, value: str) -> None:
    def of(dtype: str, numbers: Any) -> Any:
        a = np.array(numbers)
        return a.astype("S").astype(object) if dtype == "string" else a.astype(dtype)

    def build() -> list[Any]:
        t = static(tf.as_dtype(key), tf.as_dtype(value))
        other = static(tf.as_dtype(key), tf.as_dtype(value))  # the same table: it has the same shared name
        keys = of(key, [[1, 7], [3, 1]])
        default = of(value, [0])[0]
        return [
            fill(t, of(key, [1, 2, 3]), of(value, [10, 20, 30])), find(t, keys, default), size(other),
            find(other, of(key, [2])[0], default), fill(t, of(key, [1, 2, 3]), of(value, [10, 20, 30])),
        ]  # fmt: skip

    steps(build)


def test_a_default_for_each_key() -> None:
    def build() -> list[Any]:
        t = r.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="m")
        first = static()  # of these TensorFlow takes the first default for all
        keys, defaults = [b"x", b"kiwi", b"y"], i64([7, 8, 9])
        return [
            put(t, WORDS, i64([1, 2, 3])), find(t, keys, defaults),
            fill(first, WORDS, i64([1, 2, 3])), find(first, keys, defaults),
        ]  # fmt: skip

    steps(build)


REFUSALS: dict[str, Callable[[], list[Any]]] = {
    "table `t` is not initialized": lambda: [find(static(), WORDS, i64(0))],
    "table `t` is initialized with other entries": lambda: [
        fill(static(), WORDS, i64([1, 2, 3])), fill(static(), WORDS[:1], i64([1]))
    ],
    "has two values": lambda: [fill(static(), [b"a", b"a"], i64([1, 2]))],
    "cannot be changed": lambda: [fill(t := static(), WORDS, i64([1, 2, 3])), put(t, WORDS, i64([1, 2, 3]))],
    "has other dtypes": lambda: [fill(t := static(), WORDS, i64([1, 2, 3])), find(t, [1], i64(0))],
    "a default of another shape": lambda: [fill(t := static(), WORDS, i64([1, 2, 3])), find(t, WORDS, i64([1, 2]))],
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message: str) -> None:
    steps(REFUSALS[message], refused=message)


def test_tables_that_change() -> None:
    def build() -> list[Any]:
        t = r.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="m")
        export = r.LookupTableExportV2(table_handle=t, Tkeys=tf.string, Tvalues=tf.int64)
        look = find(t, WORDS, i64(-1))
        return [
            size(t), look, put(t, WORDS, i64([1, 2, 3])), look, put(t, WORDS[:1], i64([9])), look, size(t),
            tf.sort(export.values), r.LookupTableRemoveV2(table_handle=t, keys=[b"kiwi", b"none"]), look,
            find(t, [b"kiwi", b""], i64([5, 6])),
            r.LookupTableImportV2(table_handle=t, keys=[b"new"], values=i64([4])), look, export.keys, export.values,
        ]  # fmt: skip

    steps(build)


def test_tables_of_tensors() -> None:
    def build() -> list[Any]:
        t = r.MutableHashTableOfTensorsV2(key_dtype=tf.int64, value_dtype=tf.float32, value_shape=[2], shared_name="v")
        look = find(t, i64([[3], [1]]), tf.constant([0.5, -1.0]))
        return [look, put(t, i64([1, 2]), [[1.0, 2.0], [3.0, 4.0]]), look, size(t)]

    steps(build)


@pytest.mark.parametrize("key", [-1, [-1, -1]])
def test_dense_tables(key: Any) -> None:
    def build() -> list[Any]:
        empty, deleted = i64(key), i64(np.array(key) - 1)
        t = r.MutableDenseHashTableV2(
            empty_key=empty, deleted_key=deleted, value_dtype=tf.float32, value_shape=[2], shared_name="d"
        )
        keys = i64([5, 6] if key == -1 else [[5, 5], [6, 7]])
        look = find(t, keys, tf.constant([0.5, -1.0]))
        return [
            look, put(t, keys, [[1.0, 2.0], [3.0, 4.0]]), look, size(t),
            r.LookupTableRemoveV2(table_handle=t, keys=keys[:1]), look, size(t),
        ]  # fmt: skip

    steps(build)


def export(t: Any, key: Any, value: Any) -> list[Any]:
    return list(r.LookupTableExportV2(table_handle=t, Tkeys=key, Tvalues=value))


@pytest.mark.parametrize("places", [4, 8, 64])
def test_dense_tables_export_all_places(places: int) -> None:
    """TensorFlow goes on looking for keys where they lie in what it loads."""

    def build() -> list[Any]:
        size = {"initial_num_buckets": places}
        numbers = r.MutableDenseHashTableV2(
            empty_key=i64(0), deleted_key=i64(-1), value_dtype=tf.float32, value_shape=[2], shared_name="n", **size
        )
        words = r.MutableDenseHashTableV2(
            empty_key=b"", deleted_key=b"x", value_dtype=tf.int64, shared_name="w", max_load_factor=0.5, **size
        )
        pairs = r.MutableDenseHashTableV2(
            empty_key=i64([0, 0]), deleted_key=i64([-1, 0]), value_dtype=tf.int64, shared_name="p", **size
        )
        text = [b"a", b"bc", b"hello", "a longer string, b\u00fcl".encode()]
        out: list[Any] = [*export(numbers, tf.int64, tf.float32)]
        out += [put(numbers, i64([5, 9, 13, -7]), np.arange(8.0, dtype=np.float32).reshape(4, 2))]
        out += [put(words, text, i64([1, 2, 3, 4])), put(pairs, i64([[1, 2], [3, 4], [-5, 6]]), i64([1, 2, 3]))]
        out += [*export(numbers, tf.int64, tf.float32), *export(words, tf.string, tf.int64)]
        return [*out, *export(pairs, tf.int64, tf.int64)]

    steps(build)


def test_dense_tables_import_what_they_export() -> None:
    def build() -> list[Any]:
        t = r.MutableDenseHashTableV2(
            empty_key=i64(0), deleted_key=i64(-1), value_dtype=tf.float32, value_shape=[2], initial_num_buckets=4
        )
        values = np.arange(8, dtype=np.float32).reshape(4, 2) * [[0], [1], [1], [0]]
        keys = tf.compat.v1.placeholder_with_default(i64([[0], [5], [9], [0]]), None)  # of no rank that could be wrong
        filled = r.LookupTableImportV2(table_handle=t, keys=keys, values=values.astype(np.float32))
        return [filled, size(t), find(t, i64([5, 9, 13]), tf.constant([0.5, -1.0])), *export(t, tf.int64, tf.float32)]

    steps(build)


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"initial_num_buckets": 6}, "the number of places .*: expected a power of 2 of at least 4, found 6"),
        ({"initial_num_buckets": 2}, "the number of places"),
        ({"max_load_factor": 1.5}, "`max_load_factor` .*: expected a number between 0 and 1, found 1.5"),
    ],
)
def test_dense_tables_of_no_size(attrs: dict[str, Any], message: str) -> None:
    def build() -> list[Any]:
        return [size(r.MutableDenseHashTableV2(empty_key=i64(0), deleted_key=i64(1), value_dtype=tf.int64, **attrs))]

    steps(build, refused=message)


def test_dense_tables_keep_two_keys_for_themselves() -> None:
    def build() -> list[Any]:
        t = r.MutableDenseHashTableV2(empty_key=i64(-1), deleted_key=i64(-2), value_dtype=tf.float32, shared_name="d")
        return [put(t, i64([-1]), [1.0])]

    steps(build, refused="the key that marks free places")


def test_anonymous_tables_are_new_in_each_run() -> None:
    def build() -> list[Any]:
        t = r.AnonymousMutableHashTable(key_dtype=tf.string, value_dtype=tf.int64)
        before = size(t)
        with tf.control_dependencies([before]):
            inserted = put(t, WORDS, i64([1, 2, 3]))
        with tf.control_dependencies([inserted]):
            total = tf.stack([before, size(t)])
        return [total, total]

    steps(build)


def test_the_first_generation() -> None:
    g = OldGraph(1087)
    g.node("t", "HashTable", key_dtype=tf.string, value_dtype=tf.int64, shared_name=b"old")
    g.const("keys", np.array(WORDS, object))
    g.node("init", "InitializeTable", "t", "keys", g.const("values", np.arange(3)), Tkey=tf.string, Tval=tf.int64)
    g.node("find", "LookupTableFind", "t", "keys", g.const("no", np.int64(-1)), Tin=tf.string, Tout=tf.int64)
    session = Session(g.graph)
    session.run("init")
    assert session.run("find:0").tolist() == [0, 1, 2]
    assert Session(g.graph, "reference").run(["init"]) == [None]


# --- files ------------------------------------------------------------------------------------------------------
TEXT = b"apple\t1\t0.5\r\nkiwi\t20\t-3e2\n\t-7\t1\n"


def from_file(t: Any, path: Any, key: int, value: int, **kwargs: Any) -> Any:
    return r.InitializeTableFromTextFileV2(
        table_handle=t, filename=str(path), key_index=key, value_index=value, **kwargs
    )


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(TEXT)
    return path


@pytest.mark.parametrize(
    ("key", "value", "dtypes", "keys"),
    [
        (-2, -1, ("string", "int64"), [b"apple\t1\t0.5", b"\t-7\t1", b"x"]),
        (-1, -2, ("int64", "string"), np.arange(4)),
        (0, 1, ("string", "int64"), [b"apple", b"kiwi", b""]),
        (1, 0, ("int64", "string"), np.array([20, -7])),
        (0, 2, ("string", "float32"), [b"apple", b"kiwi", b""]),
    ],
)
def test_files(text: Path, key: int, value: int, dtypes: tuple[str, str], keys: Any) -> None:
    k, v = (tf.as_dtype(d) for d in dtypes)

    def build() -> list[Any]:
        t = static(k, v)
        default = tf.constant(b"?") if v == tf.string else tf.cast(-1, v)
        return [from_file(t, text, key, value), find(t, keys, default), size(t)]

    steps(build, files=[text])


def test_files_with_an_offset_a_size_and_a_delimiter(text: Path) -> None:
    def build() -> list[Any]:
        t = static()
        filled = from_file(t, text, 0, -1, vocab_size=2, offset=5, delimiter="e")
        return [filled, find(t, [b"appl", b"kiwi\t20\t-3"], i64(-1))]

    steps(build, files=[text])


@pytest.mark.parametrize(
    ("message", "key", "value", "kwargs"),
    [
        ("the number of lines", -2, -1, {"vocab_size": 9}),
        ("expected 10 columns, found 3", 9, -1, {}),
        ("the value in line 0 .*expected int64, found b'0.5'", 0, 2, {}),
        ("a table whose key is the line number has another dtype", -1, -1, {}),
    ],
)
def test_files_that_do_not_fit(text: Path, message: str, key: int, value: int, kwargs: Any) -> None:
    steps(lambda: [from_file(static(), text, key, value, **kwargs)], refused=message, files=[text])


def test_no_other_files_are_read(text: Path) -> None:
    graph, _, _ = in_tensorflow(lambda: from_file(static(), text, -2, -1))
    name = graph.node[-1].name
    with pytest.raises(UnsupportedError, match=r"graphs may read only the files that belong to their model") as e:
        Session(graph).run(name)
    assert "Session(graph, files=[...])" in str(e.value)
    with pytest.raises(UnsupportedError, match="graphs may read only"):
        Session(graph, files=[text.parent, str(text) + "x"]).run(name)
    Session(graph, files=[text]).run(name)
    text.unlink()
    with pytest.raises(ExecutionError, match=r"cannot read .*found No such file"):
        Session(graph, files=[text]).run(name)


def test_a_saved_model_reads_its_own_assets(tmp_path: Path, text: Path) -> None:
    class Words(tf.Module):
        def __init__(self) -> None:
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.TextFileInitializer(str(text), tf.string, 0, tf.int64, 1), -1
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
        def __call__(self, words: Any) -> Any:
            return {"ids": self.table.lookup(words)}

    module = Words()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.__call__)
    text.unlink()
    model = cf.load(tmp_path / "model")
    assert model.run({"words": [b"kiwi", b"?", b"apple"]})["ids"].tolist() == [20, -1, 1]


def test_a_run_that_fails_changes_no_table() -> None:
    def build() -> Any:
        t = r.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="m")
        inserted = put(t, WORDS, i64([1, 2, 3]))
        with tf.control_dependencies([inserted]):
            tf.raw_ops.Assert(condition=tf.constant(False), data=[tf.constant(1)], name="fail")
        return size(t)

    with tf.Graph().as_default() as g:
        total = build().name
        session = Session(g.as_graph_def())
    with pytest.raises(ExecutionError, match="assertion failed"):
        session.run("fail")
    assert session.run(total) == 0
