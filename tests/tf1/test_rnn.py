"""Recurrent networks: names of variables as in TensorFlow 1, numbers against plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf

BATCH, TIME, DEPTH, UNITS = 3, 4, 2, 5
DATA = np.sin(np.arange(BATCH * TIME * DEPTH, dtype=np.float32)).reshape(BATCH, TIME, DEPTH)
LENGTHS = np.array([4, 2, 1], np.int32)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def lstm(x: Any, state: Any, w: dict[str, Any]) -> Any:
    c, h = state
    i, j, f, o = np.split(np.concatenate([x, h], 1) @ w["kernel"] + w["bias"], 4, 1)
    c = c * sigmoid(f + 1) + sigmoid(i) * np.tanh(j)
    h = np.tanh(c) * sigmoid(o)
    return h, (c, h)


def gru(x: Any, h: Any, w: dict[str, Any]) -> Any:
    r, u = np.split(sigmoid(np.concatenate([x, h], 1) @ w["gates/kernel"] + w["gates/bias"]), 2, 1)
    c = np.tanh(np.concatenate([x, r * h], 1) @ w["candidate/kernel"] + w["candidate/bias"])
    h = u * h + (1 - u) * c
    return h, h


def basic(x: Any, h: Any, w: dict[str, Any]) -> Any:
    h = np.tanh(np.concatenate([x, h], 1) @ w["kernel"] + w["bias"])
    return h, h


def unrolled(step: Any, x: Any, state: Any, w: dict[str, Any], lengths: Any) -> Any:
    """Return the outputs [batch, time, units] and the last state, frozen beyond each row's length."""
    outputs = []
    for t in range(x.shape[1]):
        out, following = step(x[:, t], state, w)
        alive = (t < lengths)[:, None]
        outputs.append(np.where(alive, out, 0))
        if isinstance(state, tuple):
            state = tuple(np.where(alive, a, b) for a, b in zip(following, state, strict=True))
        else:
            state = np.where(alive, following, state)
    return np.stack(outputs, 1), state


ZERO = np.zeros((BATCH, UNITS), np.float32)
CELLS: dict[str, tuple[Any, Any, Any, list[str]]] = {
    "lstm": (lambda: tf.nn.rnn_cell.LSTMCell(UNITS), lstm, (ZERO, ZERO), ["lstm_cell/kernel", "lstm_cell/bias"]),
    "basic lstm": (lambda: tf.nn.rnn_cell.BasicLSTMCell(UNITS), lstm, (ZERO, ZERO),
                   ["basic_lstm_cell/kernel", "basic_lstm_cell/bias"]),
    "contrib lstm": (lambda: tf.contrib.rnn.BasicLSTMCell(UNITS), lstm, (ZERO, ZERO),
                     ["basic_lstm_cell/kernel", "basic_lstm_cell/bias"]),
    "gru": (lambda: tf.nn.rnn_cell.GRUCell(UNITS), gru, ZERO,
            ["gru_cell/gates/kernel", "gru_cell/gates/bias", "gru_cell/candidate/kernel", "gru_cell/candidate/bias"]),
    "basic": (lambda: tf.nn.rnn_cell.BasicRNNCell(UNITS), basic, ZERO, ["basic_rnn_cell/kernel", "basic_rnn_cell/bias"]),  # noqa: E501
}  # fmt: skip


def _weights(sess: Any) -> dict[str, Any]:
    return {v.op.name.partition("_cell/")[2]: sess.run(v) for v in tf.global_variables()}


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("name", CELLS)
def test_dynamic_rnn_gives_the_numbers_of_plain_numpy(name: str, lengths: Any) -> None:
    make, step, first, names = CELLS[name]
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.float32, [None, TIME, DEPTH])
        outputs, state = tf.nn.dynamic_rnn(make(), x, sequence_length=lengths, dtype=tf.float32)
        sess.run(tf.global_variables_initializer())
        assert [v.op.name for v in tf.trainable_variables()] == [f"rnn/{n}" for n in names]
        counts = np.full(BATCH, TIME) if lengths is None else lengths
        want, last = unrolled(step, DATA, first, _weights(sess), counts)
        got, final = sess.run([outputs, state], {x: DATA})
        assert outputs.shape.as_list() == [None, TIME, UNITS]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(np.array(final), np.array(last), rtol=1e-4, atol=1e-6)


def test_static_rnn_agrees_with_dynamic_rnn_and_with_time_first() -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.constant(DATA)
        with tf.variable_scope("net"):
            dynamic, _ = tf.nn.dynamic_rnn(tf.nn.rnn_cell.GRUCell(UNITS), x, LENGTHS, dtype=tf.float32)
        with tf.variable_scope("net", reuse=True):
            steps, last = tf.nn.static_rnn(tf.nn.rnn_cell.GRUCell(UNITS), tf.unstack(x, axis=1), dtype=tf.float32,
                                           sequence_length=LENGTHS)  # fmt: skip
        with tf.variable_scope("net", reuse=True):
            major, final = tf.nn.dynamic_rnn(tf.nn.rnn_cell.GRUCell(UNITS), tf.transpose(x, [1, 0, 2]), LENGTHS,
                                             dtype=tf.float32, time_major=True)  # fmt: skip
        sess.run(tf.global_variables_initializer())
        a, b, c, s, t = sess.run([dynamic, tf.stack(steps, 1), tf.transpose(major, [1, 0, 2]), last, final])
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(s, t, rtol=1e-5, atol=1e-6)


def test_both_directions_and_their_names() -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        cells = [tf.nn.rnn_cell.LSTMCell(UNITS) for _ in range(2)]
        outputs, _ = tf.nn.bidirectional_dynamic_rnn(*cells, tf.constant(DATA), LENGTHS, dtype=tf.float32)
        sess.run(tf.global_variables_initializer())
        assert [v.op.name for v in tf.trainable_variables()] == [
            "bidirectional_rnn/fw/lstm_cell/kernel", "bidirectional_rnn/fw/lstm_cell/bias",
            "bidirectional_rnn/bw/lstm_cell/kernel", "bidirectional_rnn/bw/lstm_cell/bias",
        ]  # fmt: skip
        w = {v.op.name.rpartition("/")[2]: sess.run(v) for v in tf.trainable_variables() if "/bw/" in v.name}
        flipped = np.stack([np.concatenate([row[:n][::-1], row[n:]]) for row, n in zip(DATA, LENGTHS, strict=True)])
        want, _ = unrolled(lstm, flipped, (ZERO, ZERO), w, LENGTHS)
        back = np.stack([np.concatenate([row[:n][::-1], row[n:]]) for row, n in zip(want, LENGTHS, strict=True)])
        np.testing.assert_allclose(sess.run(outputs[1]), back, rtol=1e-4, atol=1e-6)


def test_stacked_cells_and_wrappers() -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        keep = tf.placeholder_with_default(1.0, [])
        layers = [
            tf.nn.rnn_cell.DropoutWrapper(tf.nn.rnn_cell.BasicLSTMCell(UNITS), output_keep_prob=keep) for _ in range(2)
        ]
        cell = tf.nn.rnn_cell.MultiRNNCell(layers)
        outputs, state = tf.nn.dynamic_rnn(cell, tf.constant(DATA), initial_state=cell.zero_state(BATCH, tf.float32))
        loss = tf.reduce_mean(tf.square(outputs - 1.0))
        train = tf.train.AdamOptimizer(0.05).minimize(loss)
        sess.run(tf.global_variables_initializer())
        assert [v.op.name for v in tf.trainable_variables()] == [
            f"rnn/multi_rnn_cell/cell_{i}/basic_lstm_cell/{n}" for i in (0, 1) for n in ("kernel", "bias")
        ]
        assert [type(s).__name__ for s in sess.run(state)] == ["LSTMStateTuple"] * 2
        before = sess.run(loss)
        for _ in range(5):
            sess.run(train, {keep: 0.8})
        assert sess.run(loss) < before


def test_gradients_of_an_lstm_agree_with_finite_differences() -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.float64, [1, 3, 2])
        outputs, _ = tf.nn.dynamic_rnn(tf.nn.rnn_cell.LSTMCell(3, use_peepholes=True, num_proj=2), x, dtype=tf.float64)
        loss = tf.reduce_sum(outputs * outputs)
        g = tf.gradients(loss, x)[0]
        sess.run(tf.global_variables_initializer())
        at, d = np.linspace(-1, 1, 6).reshape(1, 3, 2), 1e-6
        numeric = [
            (sess.run(loss, {x: at + d * e}) - sess.run(loss, {x: at - d * e})) / (2 * d)
            for e in np.eye(6).reshape(6, 1, 3, 2)
        ]
        np.testing.assert_allclose(sess.run(g, {x: at}).ravel(), numeric, rtol=1e-5, atol=1e-9)
