"""The most likely tag sequence, by the Viterbi algorithm: in the graph for batches, in numpy for one sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

import coldframe.tf1 as tf
from coldframe.tf1.nn.cells import RNNCell
from coldframe.tf1.variable_scope import variable_scope


def viterbi_decode(score: Any, transition_params: Any) -> tuple[list[int], Any]:
    """Return the tags with the highest score, and the score, of one sequence of arrays.

    Args:
        score: what each tag gets at each step, ``[time, tags]``.
        transition_params: what each tag gets after each other one, ``[tags, tags]``.
    """
    score, transitions = np.asarray(score), np.asarray(transition_params)
    best = score[0]
    before = []
    for step in score[1:]:
        options = best[:, np.newaxis] + transitions
        before.append(np.argmax(options, 0))
        best = step + np.max(options, 0)
    tags = [int(np.argmax(best))]
    for pointers in reversed(before):
        tags.append(int(pointers[tags[-1]]))
    return tags[::-1], np.max(best)


def crf_decode(potentials: Any, transition_params: Any, sequence_length: Any) -> tuple[Any, Any]:
    """Return the tags with the highest scores, int32 ``[batch, time]``, and the scores, ``[batch]``.

    Args:
        potentials: what each tag gets at each step, float ``[batch, time, tags]``.
        transition_params: what each tag gets after each other one, float ``[tags, tags]``.
        sequence_length: how many steps count, int ``[batch]``; beyond them tags are 0.
    """
    potentials = tf.convert_to_tensor(potentials)
    lengths = tf.cast(sequence_length, tf.int64)
    rest = tf.maximum(tf.constant(0, tf.int64), lengths - 1)
    forward = CrfDecodeForwardRnnCell(transition_params)
    with variable_scope("crf_fwd"):
        pointers, last = tf.nn.dynamic_rnn(
            forward, potentials[:, 1:], sequence_length=rest, initial_state=potentials[:, 0], dtype=tf.int32
        )
    end = tf.expand_dims(tf.cast(tf.argmax(last, 1), tf.int32), 1)
    with variable_scope("crf_bwd"):
        found, _ = tf.nn.dynamic_rnn(
            CrfDecodeBackwardRnnCell(forward.output_size), tf.reverse_sequence(pointers, rest, seq_axis=1),
            sequence_length=rest, initial_state=end, dtype=tf.int32,
        )  # fmt: skip
    tags = tf.reverse_sequence(tf.concat([end, tf.squeeze(found, [2])], 1), tf.maximum(lengths, 1), seq_axis=1)
    return tags, tf.reduce_max(last, 1)


class CrfDecodeForwardRnnCell(RNNCell):
    """One step forwards: the state is the best score by the last tag, the output is the tag before each."""

    def __init__(self, transition_params: Any) -> None:
        super().__init__()
        transition_params = tf.convert_to_tensor(transition_params)
        self._transition_params = tf.expand_dims(transition_params, 0)
        self._num_tags = transition_params.shape[0].value

    @property
    def state_size(self) -> Any:
        return self._num_tags

    @property
    def output_size(self) -> Any:
        return self._num_tags

    def __call__(self, inputs: Any, state: Any, scope: Any = None, *args: Any, **kwargs: Any) -> Any:
        scores = tf.expand_dims(state, 2) + self._transition_params
        return tf.cast(tf.argmax(scores, 1), tf.int32), inputs + tf.reduce_max(scores, [1])


class CrfDecodeBackwardRnnCell(RNNCell):
    """One step backwards: from the tag after, ``[batch, 1]``, and the tags before each, to the tag."""

    def __init__(self, num_tags: int) -> None:
        super().__init__()
        self._num_tags = num_tags

    @property
    def state_size(self) -> Any:
        return 1

    @property
    def output_size(self) -> Any:
        return 1

    def __call__(self, inputs: Any, state: Any, scope: Any = None, *args: Any, **kwargs: Any) -> Any:
        chosen = tf.one_hot(tf.squeeze(state, [1]), self._num_tags, dtype=inputs.dtype)
        new = tf.expand_dims(tf.reduce_sum(inputs * chosen, 1), 1)
        return new, new


__all__ = ["CrfDecodeBackwardRnnCell", "CrfDecodeForwardRnnCell", "crf_decode", "viterbi_decode"]
