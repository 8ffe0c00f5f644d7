"""Beam search: of all continuations of the best few sequences, the best few go on.

Scores are logarithms of probabilities, divided by a penalty for length. A sequence that has ended keeps its score and
goes on with its end token alone. States are ``[batch, beams, ...]`` here and ``[batch * beams, ...]`` in the cell.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import coldframe.tf1 as tf
from coldframe.tf1.cond import cond
from coldframe.tf1.contrib.seq2seq.beams import chosen, gather_tree, merged, split
from coldframe.tf1.contrib.seq2seq.decoder import Decoder
from coldframe.tf1.contrib.seq2seq.helpers import embedding_function
from coldframe.tf1.framework import nest
from coldframe.tf1.tensor_array import TensorArray


class BeamSearchDecoderState(NamedTuple):
    """What a step hands on: the cell's state, the beams' scores, which have ended, their lengths, their attention."""

    cell_state: Any
    log_probs: Any
    finished: Any
    lengths: Any
    accumulated_attention_probs: Any


class BeamSearchDecoderOutput(NamedTuple):
    """What a step gives: scores, ids, and which beams of the step before they go on from."""

    scores: Any
    predicted_ids: Any
    parent_ids: Any


class FinalBeamSearchDecoderOutput(NamedTuple):
    """The whole beams, best first, ``[batch, time, beams]``, and what each step gave."""

    predicted_ids: Any
    beam_search_decoder_output: Any


class BeamSearchDecoder(Decoder):
    """Finds the most likely sequences.

    Args:
        cell: an `RNNCell`; if it attends to a memory, that and the initial state are `tile_batch`-ed.
        embedding: a table ``[ids, size]``, or a function from ids to embeddings.
        start_tokens: the first ids, int32 ``[batch]``.
        end_token: the id that ends a sequence.
        initial_state: the cell's first state, ``[batch * beam_width, ...]``.
        beam_width: how many sequences go on.
        output_layer: applied to the cell's outputs.
        length_penalty_weight: above 0, longer sequences are preferred (https://arxiv.org/abs/1609.08144).
        coverage_penalty_weight: above 0, sequences that look at all of the memory are preferred.
        reorder_tensor_arrays: whether histories of attention are sorted as the beams are at the end.

    Raises:
        ValueError: shapes do not fit.
    """

    def __init__(
        self, cell: Any, embedding: Any, start_tokens: Any, end_token: Any, initial_state: Any, beam_width: int,
        output_layer: Any = None, length_penalty_weight: float = 0.0, coverage_penalty_weight: float = 0.0,
        reorder_tensor_arrays: bool = True,
    ) -> None:  # fmt: skip
        self._cell, self._output_layer, self._beam_width = cell, output_layer, beam_width
        self._length_penalty, self._coverage_penalty = length_penalty_weight, coverage_penalty_weight
        self._reorder = reorder_tensor_arrays
        self._embedding_fn = embedding_function(embedding)
        self._start_tokens = tf.convert_to_tensor(start_tokens, tf.int32, name="start_tokens")
        self._end_token = tf.convert_to_tensor(end_token, tf.int32, name="end_token")
        if self._start_tokens.shape.ndims != 1:
            raise ValueError("start_tokens must be a vector")
        if self._end_token.shape.ndims != 0:
            raise ValueError("end_token must be a scalar")
        self._batch_size = tf.size(self._start_tokens)
        self._initial_cell_state = nest.map_structure(lambda s: split(s, beam_width), initial_state)
        tokens = tf.tile(tf.expand_dims(self._start_tokens, 1), [1, beam_width])
        self._start_inputs = self._embedding_fn(tokens)
        self._memory_steps = _memory_steps(initial_state) if coverage_penalty_weight else None

    @property
    def batch_size(self) -> Any:
        return self._batch_size

    @property
    def tracks_own_finished(self) -> bool:
        """Beams change places, so that only the decoder knows which have ended."""
        return True

    @property
    def output_size(self) -> Any:
        shape = tf.TensorShape([self._beam_width])
        return BeamSearchDecoderOutput(shape, shape, shape)

    @property
    def output_dtype(self) -> Any:
        return BeamSearchDecoderOutput(nest.flatten(self._initial_cell_state)[0].dtype, tf.int32, tf.int32)

    def initialize(self, name: str | None = None) -> tuple[Any, Any, Any]:
        beams = self._beam_width
        zeros = tf.zeros(tf.stack([self._batch_size]), tf.int32)
        finished = tf.one_hot(zeros, beams, on_value=False, off_value=True, dtype=tf.bool)
        dtype = nest.flatten(self._initial_cell_state)[0].dtype
        log_probs = tf.one_hot(zeros, beams, on_value=0.0, off_value=-math.inf, dtype=dtype)
        lengths = tf.zeros(tf.stack([self._batch_size, beams]), tf.int64)
        lengths.set_shape(finished.shape)
        attended: Any = ()
        if self._memory_steps is not None:
            attended = tf.zeros(tf.stack([self._batch_size, beams, self._memory_steps]), dtype)
            attended.set_shape([None, beams, None])
        state = BeamSearchDecoderState(self._initial_cell_state, log_probs, finished, lengths, attended)
        return finished, self._start_inputs, state

    def step(self, time: Any, inputs: Any, state: Any, name: str | None = None) -> tuple[Any, Any, Any, Any]:
        beams = self._beam_width
        with tf.name_scope(name, "BeamSearchDecoderStep", [time]):
            cell_state = nest.map_structure(_with_shape_of, nest.map_structure(merged, state.cell_state),
                                            _merged_shapes(self._initial_cell_state))  # fmt: skip
            outputs, after = self._cell(nest.map_structure(merged, inputs), cell_state)
            after = nest.map_structure(lambda s: split(s, beams), after)
            if self._output_layer is not None:
                outputs = self._output_layer(outputs)
            found, new = self._search(split(outputs, beams), after, state)
            next_inputs = cond(
                tf.reduce_all(new.finished), lambda: self._start_inputs, lambda: self._embedding_fn(found.predicted_ids)
            )
        return found, new, next_inputs, new.finished

    def _search(self, logits: Any, cell_state: Any, state: BeamSearchDecoderState) -> tuple[Any, Any]:
        """Return what a step gives, and the next state."""
        beams, words = self._beam_width, logits.shape[-1].value or tf.shape(logits)[-1]
        end = tf.one_hot(self._end_token, words, on_value=True, off_value=False, dtype=tf.bool)
        ended = tf.expand_dims(state.finished, 2)
        steps = tf.nn.log_softmax(logits)
        only_end = tf.where(end, tf.zeros_like(end, logits.dtype),
                            tf.fill(tf.shape(end), tf.constant(_lowest(logits.dtype), logits.dtype)))  # fmt: skip
        steps = _select(ended, only_end, steps)
        totals = tf.expand_dims(state.log_probs, 2) + steps
        goes_on = tf.logical_not(tf.logical_or(ended, end))
        lengths = tf.expand_dims(state.lengths, 2) + tf.cast(goes_on, tf.int64)
        attended = self._attended(cell_state, state)
        scores = self._scores(totals, lengths, state.finished, attended)
        flat = tf.reshape(scores, tf.stack([-1, beams * words]))
        best, places = tf.nn.top_k(flat, k=beams)
        best.set_shape([None, beams])
        places.set_shape([None, beams])
        ids, parents = places % words, places // words
        picked = tf.stack([parents, ids], -1)
        log_probs = tf.gather_nd(totals, tf.concat([_batch_numbers(picked), picked], -1))
        log_probs.set_shape(state.log_probs.shape)
        was = chosen(state.finished, parents)
        finished = tf.logical_or(was, tf.equal(ids, self._end_token))
        counted = chosen(state.lengths, parents) + tf.cast(tf.logical_not(was), tf.int64)
        moved = nest.map_structure(lambda s: s if _stays(s) else chosen(s, parents), cell_state)
        kept: Any = () if isinstance(attended, tuple) else chosen(attended, parents)
        output = BeamSearchDecoderOutput(best, ids, parents)
        return output, BeamSearchDecoderState(moved, log_probs, finished, counted, kept)

    def _scores(self, log_probs: Any, lengths: Any, finished: Any, attended: Any) -> Any:
        scores = log_probs
        if self._length_penalty:
            scores = log_probs / _length_penalty(tf.cast(lengths, log_probs.dtype), self._length_penalty)
        if self._coverage_penalty:
            covered = tf.log(tf.minimum(attended, tf.ones_like(attended)))
            scores = scores + self._coverage_penalty * tf.expand_dims(tf.reduce_sum(covered, -1), -1)
        return scores

    def _attended(self, cell_state: Any, state: BeamSearchDecoderState) -> Any:
        if self._memory_steps is None:
            return ()
        more = tf.where(state.finished, tf.zeros_like(state.log_probs), tf.ones_like(state.log_probs))
        return state.accumulated_attention_probs + tf.expand_dims(more, 2) * cell_state.alignments

    def finalize(self, outputs: Any, final_state: Any, sequence_lengths: Any) -> tuple[Any, Any]:
        longest = tf.cast(tf.reduce_max(final_state.lengths, axis=1), tf.int32)
        ids = gather_tree(outputs.predicted_ids, outputs.parent_ids, longest, self._end_token)
        if self._reorder:
            cell_state = nest.map_structure(lambda s: self._sorted(s, outputs, longest), final_state.cell_state)
            final_state = final_state._replace(cell_state=cell_state)
        return FinalBeamSearchDecoderOutput(ids, outputs), final_state

    def _sorted(self, value: Any, outputs: Any, longest: Any) -> Any:
        """Return a history ``[time, batch * beams, ...]`` with each beam's own steps; other values as they are."""
        if not isinstance(value, TensorArray):
            return value
        stacked = value.stack()
        beams = self._beam_width
        shape = tf.shape(outputs.parent_ids)
        numbers = tf.zeros_like(outputs.parent_ids) + tf.range(beams)
        way = gather_tree(numbers, outputs.parent_ids, longest, beams + 1)
        way = tf.where(tf.less(way, beams), way, numbers)
        by_beam = tf.reshape(stacked, tf.concat([shape, tf.shape(stacked)[2:]], 0))
        places = tf.stack(tf.meshgrid(tf.range(shape[0]), tf.range(shape[1]), indexing="ij"), -1)
        places = tf.tile(tf.expand_dims(places, 2), tf.stack([1, 1, beams, 1]))
        moved = tf.gather_nd(by_beam, tf.concat([places, tf.expand_dims(way, -1)], -1))
        return tf.reshape(moved, tf.shape(stacked))


def _length_penalty(lengths: Any, weight: float) -> Any:
    """The penalty of https://arxiv.org/abs/1609.08144: ((5 + length) / 6) ^ weight."""
    return tf.pow((5.0 + lengths) / 6.0, weight)


def _lowest(dtype: Any) -> float:
    return float(np.finfo(dtype.as_numpy_dtype).min)


def _select(condition: Any, a: Any, b: Any) -> Any:
    """Choose between tensors that are broadcast to the shape of `b`."""
    shape = tf.shape(b)
    made = tf.where(tf.broadcast_to(condition, shape), tf.broadcast_to(a, shape), b)
    made.set_shape(b.shape)
    return made


def _batch_numbers(picked: Any) -> Any:
    shape = tf.shape(picked)
    return tf.tile(tf.reshape(tf.range(shape[0]), [-1, 1, 1]), tf.stack([1, shape[1], 1]))


def _stays(value: Any) -> bool:
    return hasattr(value, "stack") or value.shape.ndims < 2


def _merged_shapes(state: Any) -> Any:
    return nest.map_structure(lambda s: None if _stays(s) else tf.TensorShape([None]).concatenate(s.shape[2:]), state)


def _with_shape_of(value: Any, shape: Any) -> Any:
    if shape is not None:
        value.set_shape(shape)
    return value


def _memory_steps(state: Any) -> Any:
    alignments = getattr(state, "alignments", None)
    if alignments is None or isinstance(alignments, tuple):
        raise ValueError("coverage_penalty_weight needs a cell with attention to one memory")
    return alignments.shape[1].value or tf.shape(alignments)[1]


__all__ = [
    "BeamSearchDecoder", "BeamSearchDecoderOutput", "BeamSearchDecoderState", "FinalBeamSearchDecoderOutput",
]  # fmt: skip
