"""`tf.contrib.legacy_seq2seq`: decoders beside `tf.nn.static_rnn`, losses beside numpy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import coldframe.tf1 as tf

legacy = tf.contrib.legacy_seq2seq
STEPS = [np.random.default_rng(i).normal(size=(2, 3)).astype("f") for i in range(4)]


@pytest.fixture(autouse=True)
def _graph() -> Iterator[None]:
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        yield


def test_a_decoder_runs_the_cell_over_the_steps() -> None:
    cell = tf.nn.rnn_cell.BasicRNNCell(5)
    inputs = [tf.constant(x) for x in STEPS]
    outputs, state = legacy.rnn_decoder(inputs, cell.zero_state(2, tf.float32), cell, scope="rnn")
    with tf.variable_scope("", reuse=True):
        wanted, last = tf.nn.static_rnn(tf.nn.rnn_cell.BasicRNNCell(5), inputs, dtype=tf.float32)
    assert [v.op.name for v in tf.trainable_variables()] == ["rnn/basic_rnn_cell/kernel", "rnn/basic_rnn_cell/bias"]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        got = session.run([*outputs, state, *wanted, last])
    for a, b in zip(got[:5], got[5:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loop_function_makes_the_inputs() -> None:
    cell = tf.nn.rnn_cell.GRUCell(3)
    given = [tf.constant(x) for x in STEPS]
    seen: list[int] = []

    def loop(previous: tf.Tensor, i: int) -> tf.Tensor:
        seen.append(i)
        return previous * 2.0

    outputs, _ = legacy.rnn_decoder(given, cell.zero_state(2, tf.float32), cell, loop_function=loop)
    with tf.variable_scope("rnn_decoder", reuse=True):
        again, _ = cell(outputs[0] * 2.0, outputs[0])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        second, wanted = session.run([outputs[1], again])
    assert seen == [1, 2, 3]
    np.testing.assert_allclose(second, wanted, rtol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_an_encoder_gives_the_decoder_its_state(tied: bool) -> None:
    cell = tf.nn.rnn_cell.BasicLSTMCell(3)
    build = legacy.tied_rnn_seq2seq if tied else legacy.basic_rnn_seq2seq
    inputs = [tf.constant(x) for x in STEPS]
    outputs, state = build(inputs, inputs[:2], cell)
    assert len(outputs) == 2
    assert len(tf.trainable_variables()) == (2 if tied else 4)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        last, hidden = session.run([outputs[-1], state.h])
    np.testing.assert_array_equal(last, hidden)


def test_losses() -> None:
    rng = np.random.default_rng(0)
    logits, targets = [rng.normal(size=(2, 5)).astype("f") for _ in range(3)], [rng.integers(0, 5, 2) for _ in range(3)]
    weights = [np.float32([1, 1]), np.float32([1, 0]), np.float32([0.5, 0])]
    crossed = np.array([
        (np.log(np.exp(x).sum(1)) - x[np.arange(2), t]) * w for x, t, w in zip(logits, targets, weights, strict=True)
    ])  # fmt: skip
    arguments = [[tf.constant(v) for v in part] for part in (logits, targets, weights)]
    with tf.Session() as session:
        by_example, summed, mean = session.run([
            legacy.sequence_loss_by_example(*arguments),
            legacy.sequence_loss_by_example(*arguments, average_across_timesteps=False),
            legacy.sequence_loss(*arguments),
        ])  # fmt: skip
    np.testing.assert_allclose(summed, crossed.sum(0), rtol=1e-5)
    np.testing.assert_allclose(by_example, crossed.sum(0) / np.sum(weights, 0), rtol=1e-5)
    np.testing.assert_allclose(mean, by_example.sum() / 2, rtol=1e-6)
    with pytest.raises(ValueError, match="must be the same 3, 3, 2"):
        legacy.sequence_loss(arguments[0], arguments[1][:2], arguments[2])


def test_what_it_lacks() -> None:
    with pytest.raises(AttributeError, match="no attention"):
        legacy.embedding_attention_seq2seq  # noqa: B018 - looking it up is the test
