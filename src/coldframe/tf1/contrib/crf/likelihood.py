"""How likely tag sequences are: ``score(tags) - log(sum of exp(score) over all sequences)``.

The score of a sequence adds up what each tag gets from its inputs and what each pair of neighbours gets from the
transitions. The sum over all sequences takes one step per tag, by the forward algorithm.
"""

from __future__ import annotations

from typing import Any

import coldframe.tf1 as tf
from coldframe.tf1.nn.cells import RNNCell


def crf_sequence_score(inputs: Any, tag_indices: Any, sequence_lengths: Any, transition_params: Any) -> Any:
    """Return the scores ``[batch]`` of tag sequences, before normalisation.

    Args:
        inputs: what each tag gets at each step, float ``[batch, time, tags]``.
        tag_indices: the tags, int ``[batch, time]``.
        sequence_lengths: how many steps count, int ``[batch]``.
        transition_params: what each tag gets after each other one, float ``[tags, tags]``.
    """
    unary = crf_unary_score(tag_indices, sequence_lengths, inputs)
    return unary + crf_binary_score(tag_indices, sequence_lengths, transition_params)


def crf_multitag_sequence_score(inputs: Any, tag_bitmap: Any, sequence_lengths: Any, transition_params: Any) -> Any:
    """Return the logarithms ``[batch]`` of the summed scores of all sequences that `tag_bitmap` allows.

    Args:
        inputs, sequence_lengths, transition_params: as `crf_sequence_score`.
        tag_bitmap: which tags are allowed, bool ``[batch, time, tags]``.
    """
    closed = tf.fill(tf.shape(inputs), tf.constant(float("-inf"), inputs.dtype))
    return crf_log_norm(tf.where(tag_bitmap, inputs, closed), sequence_lengths, transition_params)


def crf_unary_score(tag_indices: Any, sequence_lengths: Any, inputs: Any) -> Any:
    """Return what the tags of sequences get from their inputs, ``[batch]``; see `crf_sequence_score`."""
    chosen = tf.one_hot(tf.cast(tag_indices, tf.int32), tf.shape(inputs)[2], dtype=inputs.dtype)
    scores = tf.reduce_sum(inputs * chosen, 2)
    return tf.reduce_sum(scores * _mask(sequence_lengths, tf.shape(tag_indices)[1], inputs.dtype), 1)


def crf_binary_score(tag_indices: Any, sequence_lengths: Any, transition_params: Any) -> Any:
    """Return what neighbouring tags of sequences get from the transitions, ``[batch]``; see `crf_sequence_score`."""
    tags = tf.cast(tag_indices, tf.int32)
    count = tf.shape(transition_params)[0]
    pairs = tags[:, :-1] * count + tags[:, 1:]
    scores = tf.gather(tf.reshape(transition_params, [-1]), pairs)
    steps = tf.shape(tags)[1] - 1
    return tf.reduce_sum(scores * _mask(_less_one(sequence_lengths), steps, transition_params.dtype), 1)


def crf_log_norm(inputs: Any, sequence_lengths: Any, transition_params: Any) -> Any:
    """Return the logarithms ``[batch]`` of the summed scores of all tag sequences; 0 for empty sequences."""
    cell = CrfForwardRnnCell(transition_params)
    rest = _less_one(sequence_lengths)
    _, alphas = tf.nn.dynamic_rnn(cell, inputs[:, 1:], sequence_length=rest, initial_state=inputs[:, 0])
    norm = tf.reduce_logsumexp(alphas, [1])
    return tf.where(tf.less_equal(sequence_lengths, 0), tf.zeros_like(norm), norm)


def crf_log_likelihood(
    inputs: Any, tag_indices: Any, sequence_lengths: Any, transition_params: Any = None
) -> tuple[Any, Any]:
    """Return the logarithms of the likelihoods of tag sequences, ``[batch]``, and the transitions.

    Args:
        inputs, tag_indices, sequence_lengths: as `crf_sequence_score`.
        transition_params: as there; the variable ``transitions`` otherwise.
    """
    inputs = tf.convert_to_tensor(inputs)
    sequence_lengths = tf.convert_to_tensor(sequence_lengths)
    if transition_params is None:
        count = inputs.shape[2].value
        transition_params = tf.get_variable("transitions", [count, count], dtype=inputs.dtype)
    score = crf_sequence_score(inputs, tf.convert_to_tensor(tag_indices), sequence_lengths, transition_params)
    return score - crf_log_norm(inputs, sequence_lengths, transition_params), transition_params


class CrfForwardRnnCell(RNNCell):
    """One step of the forward algorithm: the state is the logarithm of the summed scores, by the last tag."""

    def __init__(self, transition_params: Any) -> None:
        super().__init__()
        self._transition_params = tf.expand_dims(transition_params, 0)
        self._num_tags = transition_params.shape[0].value

    @property
    def state_size(self) -> Any:
        return self._num_tags

    @property
    def output_size(self) -> Any:
        return self._num_tags

    def __call__(self, inputs: Any, state: Any, scope: Any = None, *args: Any, **kwargs: Any) -> Any:
        new = inputs + tf.reduce_logsumexp(tf.expand_dims(state, 2) + self._transition_params, [1])
        return new, new


def _less_one(lengths: Any) -> Any:
    lengths = tf.convert_to_tensor(lengths)
    return tf.maximum(tf.zeros([], lengths.dtype), lengths - 1)


def _mask(lengths: Any, steps: Any, dtype: Any) -> Any:
    return tf.sequence_mask(lengths, maxlen=steps, dtype=dtype)


__all__ = [
    "CrfForwardRnnCell", "crf_binary_score", "crf_log_likelihood", "crf_log_norm", "crf_multitag_sequence_score",
    "crf_sequence_score", "crf_unary_score",
]  # fmt: skip
