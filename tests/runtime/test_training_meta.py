"""Training that goes on from TensorFlow's own .meta and checkpoint: the weights become those of TensorFlow going on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe.runtime.session import Session

tf1 = tf.compat.v1
BEFORE, AFTER = 2, 4  # steps before and after the checkpoint
Feeds = dict[str, np.ndarray[Any, Any]]


def weights(name: str, *shape: int) -> Any:
    return tf1.get_variable(name, shape, initializer=tf1.random_normal_initializer(stddev=0.3, seed=len(name)))


def dense(x: Any, n: int, name: str) -> Any:
    return tf.nn.bias_add(tf.matmul(x, weights(f"{name}/w", int(x.shape[-1]), n)), weights(f"{name}/b", n))


def classified(logits: Any) -> Any:
    labels = tf1.placeholder(tf.int64, [None], name="labels")
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def perceptron(rng: np.random.Generator) -> tuple[Any, Callable[[], Feeds]]:
    x = tf1.placeholder(tf.float32, [None, 12], name="x")
    loss = classified(dense(tf.nn.relu(dense(x, 16, "first")), 4, "second"))
    return loss, lambda: {"x:0": rng.normal(size=(8, 12)).astype("f"), "labels:0": rng.integers(0, 4, 8)}


def convolutional(rng: np.random.Generator) -> tuple[Any, Callable[[], Feeds]]:
    """Convolution, batch normalization that keeps moving averages, pooling."""
    x = tf1.placeholder(tf.float32, [None, 8, 8, 2], name="x")
    h = tf.nn.conv2d(x, weights("kernel", 3, 3, 2, 4), 1, "SAME")
    ones, zeros = tf1.ones_initializer(), tf1.zeros_initializer()
    gamma, beta = (tf1.get_variable(n, [4], initializer=i) for n, i in (("gamma", ones), ("beta", zeros)))
    h, mean, variance = tf1.nn.fused_batch_norm(h, gamma, beta, is_training=True)
    for name, value, start in (("moving_mean", mean, zeros), ("moving_variance", variance, ones)):
        moving = tf1.get_variable(name, [4], initializer=start, trainable=False)
        tf1.add_to_collection(tf1.GraphKeys.UPDATE_OPS, tf1.assign_sub(moving, (moving - value) * 0.1))
    h = tf.nn.max_pool2d(tf.nn.relu(h), 2, 2, "SAME")
    loss = classified(dense(tf.reshape(h, [-1, 64]), 3, "out"))
    return loss, lambda: {"x:0": rng.normal(size=(6, 8, 8, 2)).astype("f"), "labels:0": rng.integers(0, 3, 6)}


class Lstm:
    """The least that `dynamic_rnn` asks of a cell."""

    def __init__(self, size: int) -> None:
        self.output_size, self.state_size = size, (size, size)

    def zero_state(self, batch: Any, dtype: Any) -> Any:
        return tuple(tf.zeros([batch, n], dtype) for n in self.state_size)

    def get_initial_state(self, inputs: Any = None, batch_size: Any = None, dtype: Any = None) -> Any:
        return self.zero_state(batch_size, dtype)

    def __call__(self, x: Any, state: Any, scope: Any = None) -> Any:
        c, h = state
        with tf1.variable_scope("cell", reuse=tf1.AUTO_REUSE):
            i, j, f, o = tf.split(dense(tf.concat([x, h], 1), 4 * self.output_size, "gates"), 4, 1)
        c = c * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
        h = tf.tanh(c) * tf.sigmoid(o)
        return h, (c, h)


def recurrent(rng: np.random.Generator) -> tuple[Any, Callable[[], Feeds]]:
    """A V1 while loop with its gradient, over sequences of several lengths."""
    x = tf1.placeholder(tf.float32, [None, 5, 3], name="x")
    lengths = tf1.placeholder(tf.int32, [None], name="lengths")
    _, (_, h) = tf1.nn.dynamic_rnn(Lstm(4), x, sequence_length=lengths, dtype=tf.float32)
    loss = classified(dense(h, 3, "out"))
    return loss, lambda: {
        "x:0": rng.normal(size=(4, 5, 3)).astype("f"),
        "lengths:0": rng.integers(1, 6, 4).astype("i"),
        "labels:0": rng.integers(0, 3, 4),
    }


def recommender(rng: np.random.Generator) -> tuple[Any, Callable[[], Feeds]]:
    """Rows of tables, some of them twice in a batch: sparse updates."""
    users, items = (tf1.placeholder(tf.int64, [None], name=n) for n in ("users", "items"))
    score = tf1.placeholder(tf.float32, [None], name="score")
    picked = [tf.nn.embedding_lookup(weights(f"{n}_table", 20, 4), i) for n, i in (("user", users), ("item", items))]
    loss = tf.reduce_mean(tf.square(dense(tf.concat(picked, 1), 1, "out")[:, 0] - score))
    return loss, lambda: {
        "users:0": rng.integers(0, 20, 12),
        "items:0": rng.integers(0, 6, 12),
        "score:0": rng.normal(size=12).astype("f"),
    }


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "GradientDescent": lambda: tf1.train.GradientDescentOptimizer(0.1),
    "Momentum": lambda: tf1.train.MomentumOptimizer(0.05, 0.9),
    "Adam": lambda: tf1.train.AdamOptimizer(0.02),
    "RMSProp": lambda: tf1.train.RMSPropOptimizer(0.01),
    "Adagrad": lambda: tf1.train.AdagradOptimizer(0.1),
}
CASES = [
    *[(perceptron, o, r) for o in OPTIMIZERS for r in (False, True)],
    (convolutional, "Momentum", False), (convolutional, "Adam", True),
    (recurrent, "Adam", False), (recurrent, "GradientDescent", True),
    *[(recommender, o, o == "Momentum") for o in OPTIMIZERS],
]  # fmt: skip


@dataclasses.dataclass
class Trained:
    """A checkpoint of TensorFlow's, and what TensorFlow made of it in the steps after.

    Attributes:
        prefix: of the checkpoint; its graph is beside it.
        feeds: of each step.
        losses: of each step, before its update.
        variables: all variables at the end, by name.
    """

    prefix: str
    feeds: list[Feeds]
    losses: list[float]
    variables: dict[str, Any]


def train(folder: Path, model: Callable[..., Any], optimizer: str, resources: bool) -> Trained:
    """Train with TensorFlow, save, go on."""
    with tf1.Graph().as_default(), tf1.variable_scope("", use_resource=resources):
        tf1.disable_control_flow_v2()
        loss, batch = model(np.random.default_rng(7))
        step = tf1.train.get_or_create_global_step()
        with tf.control_dependencies(tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)):
            op = OPTIMIZERS[optimizer]().minimize(loss, global_step=step, name="train")
        tf.identity(loss, name="loss")
        saver = tf1.train.Saver()
        with tf1.Session() as session:
            session.run(tf1.global_variables_initializer())
            for _ in range(BEFORE):
                session.run(op, batch())
            prefix = saver.save(session, str(folder / "model.ckpt"), global_step=step)
            feeds = [batch() for _ in range(AFTER)]
            losses = [float(session.run([op, "loss:0"], f)[1]) for f in feeds]
            variables = {v.op.name: session.run(v) for v in tf1.global_variables()}
    return Trained(prefix, feeds, losses, variables)


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[0].__name__}-{c[1]}-{'resource' if c[2] else 'ref'}")
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("trained"), *request.param)


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_training_goes_on(trained: Trained, engine: str) -> None:
    session = Session(f"{trained.prefix}.meta", engine, checkpoint=trained.prefix)
    losses = [session.run(["train", "loss:0"], f)[1] for f in trained.feeds]
    np.testing.assert_allclose(losses, trained.losses, rtol=2e-4, atol=1e-6)
    for name, want in trained.variables.items():
        np.testing.assert_allclose(session.state.value(name), want, rtol=2e-3, atol=2e-5, err_msg=name)
    assert session.state.value("global_step") == BEFORE + AFTER


def test_a_failed_step_changes_nothing(tmp_path: Path) -> None:
    """Neither rows that were changed in place before it failed, nor anything else."""
    made = train(tmp_path, recommender, "Adagrad", False)
    session = Session(f"{made.prefix}.meta", checkpoint=made.prefix)
    session.run("train", made.feeds[0])
    before = {name: session.state.value(name).copy() for name in made.variables}
    bad = made.feeds[1] | {"train/update_item_table/UnsortedSegmentSum:0": np.ones((1, 4), "f")}
    with pytest.raises(cf.ExecutionError, match="does not fit"):
        session.run(["train/update_user_table/SparseApplyAdagrad", "train"], bad)
    for name, want in before.items():
        np.testing.assert_array_equal(session.state.value(name), want, err_msg=name)


def test_fetched_values_stay_as_they_were(tmp_path: Path) -> None:
    """Although rows of the table change in place afterwards."""
    made = train(tmp_path, recommender, "Adagrad", False)
    session = Session(f"{made.prefix}.meta", checkpoint=made.prefix)
    session.run("train", made.feeds[0])
    got = session.run("user_table:0")
    kept, held = got.copy(), session.state.value("user_table")
    session.run("train", made.feeds[1])
    np.testing.assert_array_equal(got, kept)
    np.testing.assert_array_equal(held, kept)
    assert (session.run("user_table:0") != kept).any()
