"""Small programs of each kind that people train, written once as functions of `tf`, and every optimizer for them.

A program runs with coldframe.tf1 and with TensorFlow alike. No loss reads a variable that the gradients do not: with
TensorFlow's reference variables such a read may come before or after the update of the same step.

Sizes and learning rates are such that a loss falls, but stays well above zero: near zero, and where a learning rate
makes a loss jump about, rounding of the last bit grows into differences that say nothing about either side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Batch = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Model:
    """A program to train.

    Attributes:
        build: called with `tf` and a float dtype, inside a graph; returns the loss.
        batch: what to feed by placeholder name, drawn from a random generator; floats are cast.
        pace: by how much learning rates are multiplied.
        engine: the engine of coldframe to test optimizers with.
    """

    build: Callable[[Any, Any], Any]
    batch: Callable[[np.random.Generator], Batch]
    pace: float = 1.0
    engine: str = "auto"


def _dense(tf: Any, x: Any, units: int, name: str, activation: Any = None) -> Any:
    with tf.variable_scope(name):
        w = tf.get_variable("kernel", [x.get_shape().as_list()[-1], units], x.dtype)
        b = tf.get_variable("bias", [units], x.dtype, initializer=tf.zeros_initializer())
    y = tf.nn.bias_add(tf.matmul(x, w), b)
    return y if activation is None else activation(y)


# --- a classifier -------------------------------------------------------------------------------------------------
def mlp(tf: Any, dtype: Any, dropped: float = 0.0) -> Any:
    x = tf.placeholder(dtype, [None, 6], name="x")
    label = tf.placeholder(tf.int32, [None], name="label")
    hidden = _dense(tf, x, 10, "hidden", tf.nn.relu)
    if dropped:
        hidden = tf.nn.dropout(hidden, rate=dropped)
    logits = _dense(tf, hidden, 4, "logits")
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=logits))


def mlp_with_dropout(tf: Any, dtype: Any) -> Any:
    return mlp(tf, dtype, dropped=0.4)


def mlp_batch(random: np.random.Generator) -> Batch:
    x = random.normal(size=(16, 6))
    noise = random.normal(size=(16, 4))
    return {"x": x, "label": np.argmax(x[:, :4] - x[:, 2:] + noise, axis=1)}


# --- images -------------------------------------------------------------------------------------------------------
def cnn(tf: Any, dtype: Any) -> Any:
    image = tf.placeholder(dtype, [None, 6, 6, 2], name="image")
    label = tf.placeholder(tf.int64, [None], name="label")
    kernel = tf.get_variable("conv/kernel", [3, 3, 2, 4], dtype)
    x = tf.nn.conv2d(image, kernel, strides=[1, 1, 1, 1], padding="SAME")
    x = tf.nn.relu(_batch_norm(tf, x))
    x = tf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    logits = _dense(tf, tf.reshape(x, [-1, 3 * 3 * 4]), 3, "logits")
    losses = tf.nn.softmax_cross_entropy_with_logits_v2(labels=tf.one_hot(label, 3, dtype=dtype), logits=logits)
    return tf.reduce_mean(losses)


def _batch_norm(tf: Any, x: Any) -> Any:
    """Normalise with the batch's moments, and follow them with moving averages, as layers do it."""
    channels = x.get_shape().as_list()[-1]
    with tf.variable_scope("batch_norm"):
        gamma = tf.get_variable("gamma", [channels], x.dtype, initializer=tf.ones_initializer())
        beta = tf.get_variable("beta", [channels], x.dtype, initializer=tf.zeros_initializer())
        mean = tf.get_variable("moving_mean", [channels], x.dtype, tf.zeros_initializer(), trainable=False)
        variance = tf.get_variable("moving_variance", [channels], x.dtype, tf.ones_initializer(), trainable=False)
        if x.dtype.base_dtype.name == "float64":  # the fused op has no kernel for it
            batch_mean, batch_variance = tf.nn.moments(x, [0, 1, 2])
            y = tf.nn.batch_normalization(x, batch_mean, batch_variance, beta, gamma, 1e-3)
        else:
            y, batch_mean, batch_variance = tf.nn.fused_batch_norm(x, gamma, beta, epsilon=1e-3)
        for moving, moment in ((mean, batch_mean), (variance, batch_variance)):
            tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, tf.assign_sub(moving, (moving - moment) * 0.1))
    return y


def cnn_batch(random: np.random.Generator) -> Batch:
    label = random.integers(0, 3, 8)
    image = random.normal(size=(8, 6, 6, 2))
    image[np.arange(8), 2 * label, :, 0] += 1.0
    return {"image": image, "label": label}


# --- sequences ----------------------------------------------------------------------------------------------------
class LSTM:
    """A cell for `tf.nn.dynamic_rnn`, which asks for no base class. (TensorFlow's own cells went with Keras 2.)"""

    def __init__(self, tf: Any, units: int, dtype: Any) -> None:
        self.tf, self.units, self.dtype = tf, units, dtype
        self.state_size, self.output_size = (units, units), units

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return (self.tf.zeros([batch_size, self.units], dtype), self.tf.zeros([batch_size, self.units], dtype))

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        tf = self.tf
        c, h = state
        with tf.variable_scope(scope or "lstm"):
            width = inputs.get_shape().as_list()[-1] + self.units
            kernel = tf.get_variable("kernel", [width, 4 * self.units], self.dtype)
            bias = tf.get_variable("bias", [4 * self.units], self.dtype, initializer=tf.zeros_initializer())
        gates = tf.nn.bias_add(tf.matmul(tf.concat([inputs, h], 1), kernel), bias)
        i, j, f, o = tf.split(value=gates, num_or_size_splits=4, axis=1)
        c = c * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
        h = tf.tanh(c) * tf.sigmoid(o)
        return h, (c, h)


def lstm(tf: Any, dtype: Any) -> Any:
    x = tf.placeholder(dtype, [None, 7, 3], name="x")
    length = tf.placeholder(tf.int32, [None], name="length")
    wanted = tf.placeholder(dtype, [None, 2], name="wanted")
    _, (_, h) = tf.nn.dynamic_rnn(LSTM(tf, 6, dtype), x, sequence_length=length, dtype=dtype)
    return tf.reduce_mean(tf.square(_dense(tf, h, 2, "out") - wanted))


def lstm_batch(random: np.random.Generator) -> Batch:
    x = random.normal(size=(6, 7, 3))
    wanted = x[:, 0, :2] + 0.3 * random.normal(size=(6, 2))
    return {"x": x, "length": random.integers(2, 8, 6), "wanted": wanted}


# --- recommendations ----------------------------------------------------------------------------------------------
USERS, ITEMS, RANK = 13, 9, 4


def recommender(tf: Any, dtype: Any) -> Any:
    """Factors of a table of ratings: ids repeat within a batch, the users' table lies in three parts."""
    user = tf.placeholder(tf.int32, [None], name="user")
    item = tf.placeholder(tf.int64, [None], name="item")
    rating = tf.placeholder(dtype, [None], name="rating")
    start = tf.truncated_normal_initializer(stddev=0.5, dtype=dtype)
    users = tf.get_variable("users", [USERS, RANK], dtype, start, partitioner=tf.fixed_size_partitioner(3))
    items = tf.get_variable("items", [ITEMS, RANK], dtype, start)
    bias = tf.get_variable("bias", [ITEMS], dtype, tf.zeros_initializer())
    p = tf.nn.embedding_lookup(users, user, partition_strategy="div")
    q = tf.nn.embedding_lookup(items, item)
    error = tf.reduce_sum(p * q, 1) + tf.gather(bias, item) - rating
    return tf.reduce_mean(tf.square(error)) + 0.01 * (tf.nn.l2_loss(p) + tf.nn.l2_loss(q))


def recommender_batch(random: np.random.Generator) -> Batch:
    user, item = random.integers(0, USERS, 12), random.integers(0, ITEMS, 12)
    return {"user": user, "item": item, "rating": np.cos(user * 0.9) * np.sin(item) + 0.3 * random.normal(size=12)}


# --- sequence to sequence -----------------------------------------------------------------------------------------
WORDS, STEPS, SIZE = 11, 5, 6


def seq2seq(tf: Any, dtype: Any) -> Any:
    """An encoder, and a decoder with attention that is fed the right words; one embedding for both."""
    source = tf.placeholder(tf.int32, [None, STEPS], name="source")
    target = tf.placeholder(tf.int32, [None, STEPS], name="target")
    mask = tf.placeholder(dtype, [None, STEPS], name="mask")
    embedding = tf.get_variable("embedding", [WORDS, SIZE], dtype)
    with tf.variable_scope("encoder"):
        memory, state = tf.nn.dynamic_rnn(LSTM(tf, SIZE, dtype), tf.nn.embedding_lookup(embedding, source), dtype=dtype)
    fed = tf.pad(target[:, :-1], [[0, 0], [1, 0]])
    words = tf.unstack(tf.nn.embedding_lookup(embedding, fed), axis=1)
    logits = []
    with tf.variable_scope("decoder") as scope:
        cell, context = LSTM(tf, SIZE, dtype), tf.zeros_like(memory[:, 0])
        for t, word in enumerate(words):
            if t:
                scope.reuse_variables()
            h, state = cell(tf.concat([word, context], 1), state)
            scores = tf.nn.softmax(tf.reduce_sum(memory * tf.expand_dims(h, 1), 2))
            context = tf.reduce_sum(memory * tf.expand_dims(scores, -1), 1)
            logits.append(_dense(tf, tf.concat([h, context], 1), WORDS, "words"))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=tf.stack(logits, 1))
    return tf.reduce_sum(losses * mask) / tf.reduce_sum(mask)


def seq2seq_batch(random: np.random.Generator) -> Batch:
    source = np.minimum(random.geometric(0.3, (6, STEPS)), WORDS) - 1  # some words are more frequent than others
    lengths = random.integers(2, STEPS + 1, 6)
    return {
        "source": source,
        "target": source[:, ::-1].copy(),
        "mask": (np.arange(STEPS) < lengths[:, None]).astype(np.float64),
    }


MODELS = {
    "mlp": Model(mlp, mlp_batch),
    "cnn": Model(cnn, cnn_batch),
    "lstm": Model(lstm, lstm_batch),
    "recommender": Model(recommender, recommender_batch),
    "seq2seq": Model(seq2seq, seq2seq_batch, pace=3.0, engine="onnxruntime"),  # XLA compiles it for seconds
}

OPTIMIZERS: dict[str, Callable[[Any, float], Any]] = {
    "gradient descent": lambda tf, pace: tf.train.GradientDescentOptimizer(0.1 * pace),
    "momentum": lambda tf, pace: tf.train.MomentumOptimizer(0.03 * pace, 0.9),
    "nesterov": lambda tf, pace: tf.train.MomentumOptimizer(0.03 * pace, 0.9, use_nesterov=True),
    "adagrad": lambda tf, pace: tf.train.AdagradOptimizer(0.05 * pace),
    "adadelta": lambda tf, pace: tf.train.AdadeltaOptimizer(1.0 * pace, rho=0.9, epsilon=1e-4),
    "rmsprop": lambda tf, pace: tf.train.RMSPropOptimizer(0.01 * pace, momentum=0.5, epsilon=1e-3),
    "centered rmsprop": lambda tf, pace: tf.train.RMSPropOptimizer(0.005 * pace, epsilon=1e-2, centered=True),
    "adam": lambda tf, pace: tf.train.AdamOptimizer(0.01 * pace),
    "ftrl": lambda tf, pace: tf.train.FtrlOptimizer(
        0.1 * pace, l1_regularization_strength=0.001, l2_regularization_strength=0.01
    ),
    "proximal adagrad": lambda tf, pace: tf.train.ProximalAdagradOptimizer(
        0.05 * pace, l1_regularization_strength=0.001, l2_regularization_strength=0.01
    ),
    "proximal gradient descent": lambda tf, pace: tf.train.ProximalGradientDescentOptimizer(
        0.1 * pace, l1_regularization_strength=0.001, l2_regularization_strength=0.01
    ),
}
