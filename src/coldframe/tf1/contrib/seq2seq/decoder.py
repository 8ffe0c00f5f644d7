"""Decoders, and the loop that runs them until all sequences are finished.

::

    initialize() ─► inputs, state ─► step(time, inputs, state) ─► outputs, state, inputs, finished ─► finalize
                                       └───────────── again, until all are finished ────────────┘
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import coldframe.tf1 as tf
from coldframe.tf1.framework import nest
from coldframe.tf1.framework.convert import constant_value
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.tensor_array import TensorArray
from coldframe.tf1.variable_scope import variable_scope
from coldframe.tf1.while_loop import while_loop


class Decoder:
    """What `dynamic_decode` runs; programs derive their own from it."""

    @property
    def batch_size(self) -> Any:
        """How many sequences there are: a scalar."""
        raise NotImplementedError

    @property
    def output_size(self) -> Any:
        """Shapes of a step's outputs, without the batch."""
        raise NotImplementedError

    @property
    def output_dtype(self) -> Any:
        """Dtypes of a step's outputs."""
        raise NotImplementedError

    @property
    def tracks_own_finished(self) -> bool:
        """Whether `step` tells all that are finished, rather than those that end in the step."""
        return False

    def initialize(self, name: str | None = None) -> tuple[Any, Any, Any]:
        """Return which sequences are finished, the first inputs, and the first state."""
        raise NotImplementedError

    def step(self, time: Any, inputs: Any, state: Any, name: str | None = None) -> tuple[Any, Any, Any, Any]:
        """Return a step's outputs, the next state, the next inputs, and which sequences are finished."""
        raise NotImplementedError

    def finalize(self, outputs: Any, final_state: Any, sequence_lengths: Any) -> tuple[Any, Any]:
        """Return the outputs and the state that `dynamic_decode` returns, from those of the last step."""
        raise NotImplementedError


class BasicDecoderOutput(NamedTuple):
    """What `BasicDecoder` gives at each step: the cell's output, and the ids that were sampled from it."""

    rnn_output: Any
    sample_id: Any


class BasicDecoder(Decoder):
    """Runs a cell on inputs that a helper chooses.

    Args:
        cell: an `RNNCell`.
        helper: a `Helper`.
        initial_state: the cell's first state.
        output_layer: applied to the cell's outputs.
    """

    def __init__(self, cell: Any, helper: Any, initial_state: Any, output_layer: Any = None) -> None:
        self._cell, self._helper, self._initial_state, self._output_layer = cell, helper, initial_state, output_layer

    @property
    def batch_size(self) -> Any:
        return self._helper.batch_size

    @property
    def output_size(self) -> Any:
        return BasicDecoderOutput(layered_size(self._cell, self._output_layer), self._helper.sample_ids_shape)

    @property
    def output_dtype(self) -> Any:
        dtype = nest.flatten(self._initial_state)[0].dtype
        sizes = layered_size(self._cell, self._output_layer)
        return BasicDecoderOutput(_map_shapes(lambda _: dtype, sizes), self._helper.sample_ids_dtype)

    def initialize(self, name: str | None = None) -> tuple[Any, Any, Any]:
        finished, inputs = self._helper.initialize()
        return finished, inputs, self._initial_state

    def step(self, time: Any, inputs: Any, state: Any, name: str | None = None) -> tuple[Any, Any, Any, Any]:
        with tf.name_scope(name, "BasicDecoderStep", [time]):
            outputs, state = self._cell(inputs, state)
            if self._output_layer is not None:
                outputs = self._output_layer(outputs)
            ids = self._helper.sample(time=time, outputs=outputs, state=state)
            finished, inputs, state = self._helper.next_inputs(time=time, outputs=outputs, state=state, sample_ids=ids)
        return BasicDecoderOutput(outputs, ids), state, inputs, finished


def layered_size(cell: Any, layer: Any) -> Any:
    """Return the shape of what `layer` makes of a cell's output, without the batch; of the output where it is None."""
    if layer is None:
        return cell.output_size
    with_batch = nest.map_structure(lambda n: TensorShape([None]).concatenate(n), cell.output_size)
    return nest.map_structure(lambda s: layer.compute_output_shape(s)[1:], with_batch)


def _map_shapes(fn: Any, sizes: Any) -> Any:
    """Apply `fn` to shapes or numbers in a structure."""
    if isinstance(sizes, (list, tuple)):
        items = [_map_shapes(fn, s) for s in sizes]
        return type(sizes)(*items) if hasattr(sizes, "_fields") else type(sizes)(items)
    return fn(sizes)


# --- the loop ---------------------------------------------------------------------------------------------------
def dynamic_decode(
    decoder: Any, output_time_major: bool = False, impute_finished: bool = False, maximum_iterations: Any = None,
    parallel_iterations: int = 32, swap_memory: bool = False, scope: Any = None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Run a decoder until all sequences are finished.

    Args:
        decoder: a `Decoder`.
        output_time_major: return outputs ``[time, batch, ...]`` rather than ``[batch, time, ...]``.
        impute_finished: keep the states of finished sequences, and make their outputs zero.
        maximum_iterations: stop after so many steps.
        parallel_iterations, swap_memory: accepted for compatibility.
        scope: the variable scope; ``decoder`` otherwise.

    Returns:
        The outputs of all steps, the last state, and the sequences' lengths, int32 ``[batch]``.

    Raises:
        TypeError: `decoder` is none.
        ValueError: `maximum_iterations` is no scalar.
    """
    if not isinstance(decoder, Decoder):
        raise TypeError(f"Expected decoder to be type Decoder, but saw: {type(decoder).__name__}")
    with variable_scope(scope, "decoder"):
        limit = None
        if maximum_iterations is not None:
            limit = tf.convert_to_tensor(maximum_iterations, tf.int32, name="maximum_iterations")
            if limit.shape.ndims != 0:
                raise ValueError("maximum_iterations must be a scalar")
        finished, inputs, state = decoder.initialize()
        if limit is not None:
            finished = tf.logical_or(finished, tf.greater_equal(0, limit))
        zeros = _zero_outputs(decoder)
        loop = _Loop(decoder, impute_finished, zeros)
        arrays = nest.map_structure(_array, zeros)
        lengths = tf.zeros_like(finished, dtype=tf.int32)
        start = (tf.constant(0, tf.int32), arrays, state, inputs, finished, lengths)
        _, arrays, state, _, _, lengths = while_loop(
            lambda _t, _o, _s, _i, done, _l: tf.logical_not(tf.reduce_all(done)), loop.body, start,
            shape_invariants=_invariants(start), parallel_iterations=parallel_iterations,
            maximum_iterations=limit, swap_memory=swap_memory,
        )  # fmt: skip
        outputs = nest.map_structure(lambda a: a.stack(), arrays)
        with contextlib.suppress(NotImplementedError):  # most decoders have nothing to add
            outputs, state = decoder.finalize(outputs, state, lengths)
        if not output_time_major:
            outputs = nest.map_structure(_batch_major, outputs)
        return outputs, state, lengths


class _Loop:
    """The body of the loop."""

    def __init__(self, decoder: Any, impute: bool, zeros: Any) -> None:
        self.decoder, self.impute, self.zeros = decoder, impute, zeros

    def body(self, time: Any, arrays: Any, state: Any, inputs: Any, finished: Any, lengths: Any) -> tuple[Any, ...]:
        outputs, new_state, new_inputs, ended = self.decoder.step(time, inputs, state)
        new_state = nest.pack_sequence_as(state, nest.flatten(new_state))
        done = ended if self.decoder.tracks_own_finished else tf.logical_or(ended, finished)
        counted = tf.where(tf.logical_not(finished), tf.fill(tf.shape(lengths), time + 1), lengths)
        if self.impute:
            outputs = nest.map_structure(lambda o, z: tf.where(finished, z, o), outputs, self.zeros)
            new_state = nest.map_structure(lambda n, o: _kept(finished, n, o), new_state, state)
        arrays = nest.map_structure(lambda a, o: a.write(time, o), arrays, outputs)
        return time + 1, arrays, new_state, new_inputs, done, counted


def _kept(finished: Any, new: Any, old: Any) -> Any:
    """Return the old state of finished sequences; what has no batch goes on."""
    if hasattr(new, "stack") or new.shape.ndims == 0:
        return new
    new.set_shape(old.shape)
    return tf.where(finished, old, new)


def _zero_outputs(decoder: Any) -> Any:
    sizes, dtypes = decoder.output_size, decoder.output_dtype
    flat_dtypes = nest.flatten(dtypes)
    flat_sizes: list[Any] = []
    _map_shapes(flat_sizes.append, sizes)
    made = [_zeros(decoder.batch_size, s, d) for s, d in zip(flat_sizes, flat_dtypes, strict=True)]
    return nest.pack_sequence_as(dtypes, made)


def _zeros(batch: Any, size: Any, dtype: Any) -> Any:
    dims = TensorShape(size).as_list()
    known = constant_value(tf.convert_to_tensor(batch))
    if known is not None:
        return tf.zeros([int(known), *dims], dtype)
    made = tf.zeros(tf.stack([batch, *dims]), dtype)
    made.set_shape([None, *dims])
    return made


def _array(zero: Any) -> TensorArray:
    return TensorArray(zero.dtype, size=0, dynamic_size=True, element_shape=zero.shape)


def _invariants(start: Any) -> Any:
    """Leave the batch of all loop variables open where it is not known, and everything about arrays."""
    return nest.map_structure(lambda v: None if hasattr(v, "stack") else v.shape, start)


def _batch_major(x: Any) -> Any:
    """Return ``[batch, time, ...]`` for ``[time, batch, ...]``."""
    if not hasattr(x, "shape") or hasattr(x, "stack"):
        return x
    rank = x.shape.ndims
    return x if rank is not None and rank < 2 else tf.transpose(x, [1, 0, *range(2, rank)])


__all__ = ["BasicDecoder", "BasicDecoderOutput", "Decoder", "dynamic_decode"]
