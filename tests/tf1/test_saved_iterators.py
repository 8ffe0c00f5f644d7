"""Iterators in a Saver's checkpoints: TensorFlow's nodes and names, and training that resumes with the next batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow

import coldframe.tf1 as cf
from coldframe.checkpoint.reader import open_checkpoint
from tf1_programs import run_both


def test_nodes_are_tensorflows() -> None:
    def program(tf: Any) -> Any:
        data = tf.data if tf is cf else tensorflow.data
        tf.get_variable("v", initializer=3.0)
        dataset = tf.data.Dataset.range(9).batch(2)
        for policy in (None, "warn", "ignore"):
            iterator = tf.data.make_initializable_iterator(dataset, shared_name=policy)
            saveable = data.experimental.make_saveable_from_iterator(iterator, policy)
            tf.add_to_collection(tf.GraphKeys.SAVEABLE_OBJECTS, saveable)
        tf.train.Saver()
        ops = [o for o in tf.get_default_graph().get_operations() if "erialize" in o.type]
        return [
            [(s.name, [(p.name, p.slice_spec, p.tensor.name) for p in s.specs])
             for s in tf.get_collection(tf.GraphKeys.SAVEABLE_OBJECTS)],
            [(o.name, o.type, [i.name for i in o.inputs]) for o in ops],
            [o.get_attr("external_state_policy") for o in ops if o.type == "SerializeIterator"],
        ]  # fmt: skip

    run_both(program)


def test_a_policy_that_is_none() -> None:
    with cf.Graph().as_default():
        iterator = cf.data.make_one_shot_iterator(cf.data.Dataset.range(3))
        with pytest.raises(ValueError, match="Unexpected value for `external_state_policy`: no"):
            cf.data.experimental.make_saveable_from_iterator(iterator, "no")


def training(tf: Any, one_shot: bool) -> tuple[Any, Any, Any, Any]:
    """Return the losses of a step, what must be run first, and a Saver of variables and input."""
    tf.set_random_seed(3)
    x = np.linspace(-1, 1, 50, dtype=np.float32)
    dataset = tf.data.Dataset.from_tensor_slices((x, 3 * x + 1)).shuffle(20).repeat().batch(8).prefetch(2)
    make = tf.data.make_one_shot_iterator if one_shot else tf.data.make_initializable_iterator
    iterator = make(dataset)
    inputs, wanted = iterator.get_next()
    w, b = tf.get_variable("w", initializer=0.0), tf.get_variable("b", initializer=0.0)
    loss = tf.reduce_mean(tf.square(w * tf.nn.dropout(inputs, rate=0.1) + b - wanted))
    step = tf.train.AdamOptimizer(0.05).minimize(loss, global_step=tf.train.get_or_create_global_step())
    tf.add_to_collection(tf.GraphKeys.SAVEABLE_OBJECTS, tf.data.experimental.make_saveable_from_iterator(iterator))
    first = [tf.global_variables_initializer(), *([] if one_shot else [iterator.initializer])]
    return loss, step, first, tf.train.Saver()


@pytest.mark.parametrize("one_shot", [False, True])
def test_training_resumes_with_the_next_batch(tmp_path: Path, one_shot: bool) -> None:
    prefix = str(tmp_path / "model")
    with cf.Graph().as_default():
        loss, step, first, saver = training(cf, one_shot)
        with cf.Session() as sess:
            sess.run(first)
            for _ in range(11):
                sess.run(step)
            saver.save(sess, prefix)
            want = [sess.run([loss, step])[0] for _ in range(10)]
    with open_checkpoint(prefix) as checkpoint:
        assert ("OneShotIterator:0_STATE" if one_shot else "IteratorV2:0_STATE") in checkpoint
    with cf.Graph().as_default():
        loss, step, first, saver = training(cf, one_shot)
        with cf.Session() as sess:
            sess.run(first)
            sess.run(step)
            saver.restore(sess, prefix)
            assert [sess.run([loss, step])[0] for _ in range(10)] == want


def test_a_generator_cannot_be_saved(tmp_path: Path) -> None:
    with cf.Graph().as_default():
        iterator = cf.data.make_one_shot_iterator(cf.data.Dataset.from_generator(lambda: iter([1, 2]), cf.int64))
        element = iterator.get_next()
        saver = cf.train.Saver([cf.data.experimental.make_saveable_from_iterator(iterator)])
        with cf.Session() as sess:
            sess.run(element)
            with pytest.raises(cf.errors.UnimplementedError, match="where a generator stands cannot be saved"):
                saver.save(sess, str(tmp_path / "model"))
    assert not list(tmp_path.iterdir())
