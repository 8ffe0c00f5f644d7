"""Decoders: a recurrent cell, run over a list of steps from a state that an encoder left."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import coldframe.tf1 as tf
from coldframe import dtypes

Outputs = tuple[list[Any], Any]
"""The outputs of all steps, each ``[batch, size]``, and the last state."""


def rnn_decoder(
    decoder_inputs: Sequence[Any], initial_state: Any, cell: Any,
    loop_function: Callable[[Any, int], Any] | None = None, scope: Any = None,
) -> Outputs:  # fmt: skip
    """Run `cell` over `decoder_inputs`, each ``[batch, size]``.

    Args:
        decoder_inputs: the inputs; with `loop_function` only the first of them is used.
        initial_state: the state to begin with.
        cell: the cell.
        loop_function: makes the next input of an output and its number.
        scope: the variable scope; `rnn_decoder` otherwise.
    """
    with tf.variable_scope(scope or "rnn_decoder"):
        state, outputs = initial_state, []
        previous = None
        for i, given in enumerate(decoder_inputs):
            step = given
            if loop_function is not None and previous is not None:
                with tf.variable_scope("loop_function", reuse=True):
                    step = loop_function(previous, i)
            if i > 0:
                tf.get_variable_scope().reuse_variables()
            output, state = cell(step, state)
            outputs.append(output)
            if loop_function is not None:
                previous = output
    return outputs, state


def basic_rnn_seq2seq(
    encoder_inputs: Sequence[Any], decoder_inputs: Sequence[Any], cell: Any, dtype: Any = dtypes.float32,
    scope: Any = None,
) -> Outputs:  # fmt: skip
    """Read `encoder_inputs` with a copy of `cell`, then decode with `cell` from the state that it ends in."""
    with tf.variable_scope(scope or "basic_rnn_seq2seq"):
        _, state = tf.nn.static_rnn(copy.deepcopy(cell), encoder_inputs, dtype=dtype)
        return rnn_decoder(decoder_inputs, state, cell)


def tied_rnn_seq2seq(
    encoder_inputs: Sequence[Any], decoder_inputs: Sequence[Any], cell: Any,
    loop_function: Callable[[Any, int], Any] | None = None, dtype: Any = dtypes.float32, scope: Any = None,
) -> Outputs:  # fmt: skip
    """Read and decode with the same cell, the variables shared."""
    with tf.variable_scope("combined_tied_rnn_seq2seq"):
        name = scope or "tied_rnn_seq2seq"
        _, state = tf.nn.static_rnn(cell, encoder_inputs, dtype=dtype, scope=name)
        tf.get_variable_scope().reuse_variables()
        return rnn_decoder(decoder_inputs, state, cell, loop_function=loop_function, scope=name)


__all__ = ["basic_rnn_seq2seq", "rnn_decoder", "tied_rnn_seq2seq"]
