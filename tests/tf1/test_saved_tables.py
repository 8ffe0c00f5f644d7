"""Tables in checkpoints: TensorFlow's files, nodes and keys, by names and by objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow

import coldframe.tf1 as cf
from coldframe.checkpoint.reader import open_checkpoint
from tf1_programs import run_both

v1 = tensorflow.compat.v1
BOTH = {"tensorflow": v1, "coldframe": cf}
HANDOVER = [("tensorflow", "coldframe"), ("coldframe", "tensorflow"), ("coldframe", "coldframe")]


def made(tf: Any, tables: Any, scope: str | None = "inner") -> tuple[Any, Any, Any]:
    """Return a variable and two tables."""
    v = tf.get_variable("v", [2], initializer=tf.constant_initializer(3.0), use_resource=True)
    with tf.name_scope(scope):
        words = tables.MutableHashTable(tf.string, tf.int64, -1, name="vocabulary")
    rows = tables.MutableHashTable(tf.int64, tf.float32, [0.0, 0.0], name="rows")
    return v, words, rows


def filled(tf: Any, words: Any, rows: Any) -> list[Any]:
    return [words.insert(tf.constant(["x", "y", "zebra"]), tf.constant([1, 2, 26], tf.int64)),
            rows.insert(tf.constant([5, 7], tf.int64), [[1.0, 2.0], [3.0, 4.0]])]  # fmt: skip


def asked(tf: Any, words: Any, rows: Any) -> list[Any]:
    return [words.lookup(tf.constant(["zebra", "x", "none"])), rows.lookup(tf.constant([7, 1], tf.int64)),
            words.size(), rows.size()]  # fmt: skip


def right(values: list[Any]) -> None:
    for found, wanted in zip(values, ([26, 1, -1], [[3.0, 4.0], [0.0, 0.0]], 3, 2), strict=True):
        np.testing.assert_array_equal(found, wanted)


def tables_of(tf: Any) -> Any:
    return tf.lookup.experimental if tf is cf else tensorflow.lookup.experimental


def test_nodes_are_tensorflows() -> None:
    def program(tf: Any) -> Any:
        _, words, rows = made(tf, tables_of(tf))
        inserts = filled(tf, words, rows)
        results = asked(tf, words, rows)
        removed = words.remove(tf.constant(["x"]))
        saver = tf.train.Saver()
        saveables = [(s.name, [p.name for p in s.specs]) for s in tf.get_collection("saveable_objects")]
        with tf.Session() as sess:
            sess.run([tf.global_variables_initializer(), *inserts])
            first = sess.run(results)
            sess.run(removed)
            return [first, sess.run(results), saveables, saver.as_saver_def().restore_op_name]

    run_both(program, graph=True)


@pytest.mark.parametrize(("first", "second"), HANDOVER)
def test_by_names(first: str, second: str, tmp_path: Path) -> None:
    path = str(tmp_path / "model.ckpt")
    tf = BOTH[first]
    with tf.Graph().as_default(), tf.Session() as sess:
        _, words, rows = made(tf, tables_of(tf))
        sess.run([tf.global_variables_initializer(), *filled(tf, words, rows)])
        tf.train.Saver().save(sess, path)
    names = {"v", "vocabulary-keys", "vocabulary-values", "rows-keys", "rows-values"}
    assert set(open_checkpoint(path).specs) - {"_COLDFRAME_RANDOM_STATE"} == names
    tf = BOTH[second]
    with tf.Graph().as_default(), tf.Session() as sess:
        v, words, rows = made(tf, tables_of(tf))
        results = asked(tf, words, rows)
        sess.run(words.insert(tf.constant(["gone"]), tf.constant([9], tf.int64)))
        tf.train.Saver().restore(sess, path)
        right(sess.run(results))
        np.testing.assert_array_equal(sess.run(v), [3.0, 3.0])


def test_from_a_meta_graph_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "model.ckpt")
    with v1.Graph().as_default(), v1.Session() as sess:
        _, words, rows = made(v1, tables_of(v1), None)  # names of nodes, or TensorFlow cannot read them either
        results = asked(v1, words, rows)
        fetches = [t.name for t in results]
        sess.run([v1.global_variables_initializer(), *filled(v1, words, rows)])
        v1.train.Saver().save(sess, path)
    with cf.Graph().as_default(), cf.Session() as session:
        saver = cf.train.import_meta_graph(f"{path}.meta")
        saver.restore(session, path)
        right(session.run(fetches))
        again = str(tmp_path / "again")
        saver.save(session, again)
    with v1.Graph().as_default(), v1.Session() as sess:
        v1.train.import_meta_graph(f"{again}.meta").restore(sess, again)
        right(sess.run(fetches))
    with cf.Graph().as_default(), cf.Session() as session:
        cf.train.import_meta_graph(f"{path}.meta")
        fresh = cf.train.Saver()
        fresh.restore(session, path)
        right(session.run(fetches))


def test_tables_in_scopes_go_to_tensorflow(tmp_path: Path) -> None:
    path = str(tmp_path / "model.ckpt")
    with cf.Graph().as_default(), cf.Session() as session:
        _, words, rows = made(cf, cf.lookup)
        fetches = [t.name for t in asked(cf, words, rows)]
        session.run([cf.global_variables_initializer(), *filled(cf, words, rows)])
        cf.train.Saver().save(session, path)
    with v1.Graph().as_default(), v1.Session() as sess:
        v1.train.import_meta_graph(f"{path}.meta").restore(sess, path)
        right(sess.run(fetches))


@pytest.mark.parametrize(("first", "second"), HANDOVER)
def test_by_objects(first: str, second: str, tmp_path: Path) -> None:
    tf = BOTH[first]
    with tf.Graph().as_default(), tf.Session() as sess:
        v, words, rows = made(tf, tables_of(tf))
        sess.run([tf.global_variables_initializer(), *filled(tf, words, rows)])
        checkpoint = tf.train.Checkpoint(v=v, text={"words": words}, rows=rows)
        sess.run(checkpoint.save_counter.initializer)
        path = checkpoint.save(str(tmp_path / "ckpt"))
    specs = open_checkpoint(path).specs
    assert {"text/words/.ATTRIBUTES/table-keys", "rows/.ATTRIBUTES/table-values"} < set(specs)
    tf = BOTH[second]
    with tf.Graph().as_default(), tf.Session() as sess:
        v, words, rows = made(tf, tables_of(tf))
        results = asked(tf, words, rows)
        checkpoint = tf.train.Checkpoint(v=v, text={"words": words}, rows=rows)
        checkpoint.restore(path).assert_consumed().run_restore_ops()
        right(sess.run(results))


def test_what_a_checkpoint_lacks_is_told(tmp_path: Path) -> None:
    with cf.Graph().as_default(), cf.Session() as session:
        v, words, rows = made(cf, cf.lookup)
        session.run(cf.global_variables_initializer())
        path = cf.train.Checkpoint(v=v, rows=rows).write(str(tmp_path / "ckpt"))
        status = cf.train.Checkpoint(v=v, words=words).read(path)
        with pytest.raises(AssertionError, match=r"`words` \(MutableHashTable `vocabulary`\)"):
            status.assert_existing_objects_matched()
        status.initialize_or_restore(session)
        assert session.run(words.size()) == 0


def test_tables_that_are_not_saved_and_names_that_clash() -> None:
    with cf.Graph().as_default():
        cf.lookup.MutableHashTable(cf.string, cf.int64, -1, checkpoint=False)
        assert not cf.get_collection("saveable_objects")
        for _ in range(2):
            cf.lookup.MutableHashTable(cf.string, cf.int64, -1, name="same")
        with pytest.raises(ValueError, match="same"):
            cf.train.Saver()
