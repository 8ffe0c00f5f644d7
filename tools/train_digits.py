"""Train the classifier in examples/digits with TensorFlow, as TF1 programs did, and keep what TensorFlow answers.

Run with TensorFlow and scikit-learn installed: ``python tools/train_digits.py``. It writes, into examples/digits:

- ``model.ckpt-<step>.{index,data-*,meta}`` and ``checkpoint``: the last training checkpoint with Adam's slots;
- ``test.npz``: ``images`` (360, 8, 8, 1) float32 in 0..16, ``labels`` (360,) int64, and TensorFlow's ``probabilities``;
- ``train.npz``: the 1,437 images and labels it was trained on, so that training can be resumed;
- ``answers.json``: the names of the tensors, the step, TensorFlow's accuracy and the loss on the test set.

The network is what a TF1 graph of 2017 holds: reference variables, fused batch norms under ``tf.cond`` (Switch, Merge)
with moving averages in UPDATE_OPS, max pooling, dropout by a placeholder, and Adam.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from sklearn.datasets import load_digits

v1 = tf.compat.v1
TARGET = Path(__file__).parents[1] / "examples" / "digits"
SEED, EPOCHS, BATCH, HELD_OUT = 20, 20, 64, 360


@dataclass(frozen=True, slots=True)
class Digits:
    """Images (n, 8, 8, 1) float32 in 0..16 and labels (n,) int64."""

    images: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]

    def __getitem__(self, rows: Any) -> Digits:
        return Digits(self.images[rows], self.labels[rows])


@dataclass(frozen=True, slots=True)
class Network:
    """The tensors and ops of the graph that a program feeds and fetches."""

    image: tf.Tensor
    label: tf.Tensor
    is_training: tf.Tensor
    dropout_rate: tf.Tensor
    probabilities: tf.Tensor
    loss: tf.Tensor
    accuracy: tf.Tensor
    global_step: tf.Tensor
    train: tf.Operation


def load() -> tuple[Digits, Digits]:
    """scikit-learn's digits, shuffled and split into what is trained on and what is held out."""
    raw = load_digits()
    order = np.random.default_rng(SEED).permutation(len(raw.target))
    data = Digits(raw.images.astype(np.float32)[..., None], raw.target.astype(np.int64))[order]
    return data[HELD_OUT:], data[:HELD_OUT]


def _variable(name: str, shape: list[int], initializer: Any, *, trainable: bool = True) -> tf.Tensor:
    return v1.get_variable(name, shape, tf.float32, initializer, trainable=trainable)


def _batch_norm(x: tf.Tensor, is_training: tf.Tensor, *, momentum: float = 0.9) -> tf.Tensor:
    """A fused batch norm that learns its moving averages while `is_training`, and uses them otherwise."""
    with v1.variable_scope("batch_norm"):
        depth = [x.shape[-1]]
        gamma = _variable("gamma", depth, v1.ones_initializer())
        beta = _variable("beta", depth, v1.zeros_initializer())
        mean = _variable("moving_mean", depth, v1.zeros_initializer(), trainable=False)
        variance = _variable("moving_variance", depth, v1.ones_initializer(), trainable=False)
        y, batch_mean, batch_variance = v1.cond(
            is_training,
            lambda: v1.nn.fused_batch_norm(x, gamma, beta, epsilon=1e-3, is_training=True),
            lambda: v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, epsilon=1e-3, is_training=False),
        )
        rate = v1.cond(is_training, lambda: tf.constant(1 - momentum), lambda: tf.constant(0.0))
        for moving, batch in ((mean, batch_mean), (variance, batch_variance)):
            update = v1.assign_sub(moving, (moving - batch) * rate)
            v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, update)
        return y


def _convolution(x: tf.Tensor, name: str, depth: int, is_training: tf.Tensor) -> tf.Tensor:
    with v1.variable_scope(name):
        kernel = _variable("kernel", [3, 3, x.shape[-1], depth], v1.glorot_uniform_initializer(seed=SEED))
        y = tf.nn.relu(_batch_norm(tf.nn.conv2d(x, kernel, strides=1, padding="SAME"), is_training))
        return tf.nn.max_pool2d(y, ksize=2, strides=2, padding="SAME")


def _dense(x: tf.Tensor, name: str, width: int) -> tf.Tensor:
    with v1.variable_scope(name):
        kernel = _variable("kernel", [x.shape[-1], width], v1.glorot_uniform_initializer(seed=SEED))
        return tf.nn.bias_add(x @ kernel, _variable("bias", [width], v1.zeros_initializer()))


def build() -> Network:
    """The graph, in the default graph: about 40,000 parameters."""
    image = v1.placeholder(tf.float32, [None, 8, 8, 1], "image")
    label = v1.placeholder(tf.int64, [None], "label")
    is_training = v1.placeholder_with_default(tf.constant(False), [], "is_training")
    dropout_rate = v1.placeholder_with_default(tf.constant(0.0), [], "dropout_rate")

    y = image * (1 / 16)
    y = _convolution(y, "conv1", 16, is_training)
    y = _convolution(y, "conv2", 48, is_training)
    y = tf.reshape(y, [-1, 2 * 2 * 48])
    y = tf.nn.relu(_dense(y, "dense", 160))
    y = v1.nn.dropout(y, rate=dropout_rate, seed=SEED)
    logits = tf.identity(_dense(y, "output", 10), "logits")
    probabilities = tf.nn.softmax(logits, name="probabilities")

    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=logits)
    loss = tf.reduce_mean(losses, name="loss")
    right = tf.equal(tf.argmax(logits, 1), label)
    accuracy = tf.reduce_mean(tf.cast(right, tf.float32), name="accuracy")
    global_step = v1.train.get_or_create_global_step()
    with tf.control_dependencies(v1.get_collection(v1.GraphKeys.UPDATE_OPS)):
        train = v1.train.AdamOptimizer(2e-3).minimize(loss, global_step=global_step, name="train")
    return Network(image, label, is_training, dropout_rate, probabilities, loss, accuracy, global_step, train)


def train(session: Any, net: Network, data: Digits) -> None:
    rng = np.random.default_rng(SEED)
    for _ in range(EPOCHS):
        order = rng.permutation(len(data.labels))
        for start in range(0, len(order), BATCH):
            batch = data[order[start : start + BATCH]]
            feeds = {net.image: batch.images, net.label: batch.labels, net.is_training: True, net.dropout_rate: 0.4}
            session.run(net.train, feeds)


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    for old in [*TARGET.glob("model.ckpt*"), TARGET / "checkpoint"]:
        old.unlink(missing_ok=True)
    training, test = load()
    v1.disable_v2_behavior()
    v1.set_random_seed(SEED)
    net = build()
    saver = v1.train.Saver(save_relative_paths=True)
    one_thread = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)  # to be reproducible
    with v1.Session(config=one_thread) as session:
        session.run(v1.global_variables_initializer())
        train(session, net, training)
        saver.save(session, str(TARGET / "model.ckpt"), global_step=net.global_step)
        fetches = [net.probabilities, net.accuracy, net.loss, net.global_step]
        probabilities, accuracy, loss, step = session.run(fetches, {net.image: test.images, net.label: test.labels})

    np.savez_compressed(TARGET / "train.npz", images=training.images, labels=training.labels)
    np.savez_compressed(TARGET / "test.npz", images=test.images, labels=test.labels, probabilities=probabilities)
    answers = {
        "tensorflow": tf.__version__,
        "checkpoint": f"model.ckpt-{step}",
        "global_step": int(step),
        "input": net.image.name,
        "output": net.probabilities.name,
        "label": net.label.name,
        "is_training": net.is_training.name,
        "dropout_rate": net.dropout_rate.name,
        "loss": net.loss.name,
        "train": net.train.name,
        "test_accuracy": float(accuracy),
        "test_loss": float(loss),
    }
    (TARGET / "answers.json").write_text(json.dumps(answers, indent=2) + "\n")
    print(f"step {step}: accuracy {accuracy:.4f}, loss {loss:.4f} on {HELD_OUT} held-out images")


if __name__ == "__main__":
    main()
