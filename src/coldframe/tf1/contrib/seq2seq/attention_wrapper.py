"""A cell with attention: after each step it looks at a memory, and what it found is part of the next input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import coldframe.tf1 as tf
from coldframe.tf1.framework import nest
from coldframe.tf1.layers.core import Dense
from coldframe.tf1.nn.cells import RNNCell
from coldframe.tf1.tensor_array import TensorArray


class AttentionWrapperState(NamedTuple):
    """The state of an `AttentionWrapper`.

    Attributes:
        cell_state: the cell's.
        attention: what the last look at the memory gave.
        time: the number of the step.
        alignments: the last weights; a tuple of them for several mechanisms.
        alignment_history: all weights so far, if they are kept.
        attention_state: the mechanisms' states.
    """

    cell_state: Any
    attention: Any
    time: Any
    alignments: Any
    alignment_history: Any
    attention_state: Any

    def clone(self, **kwargs: Any) -> AttentionWrapperState:
        """Return the state with other values for some fields: ``clone(cell_state=encoder_state)``."""
        cell_state = kwargs.get("cell_state")
        if cell_state is not None:
            nest.assert_same_structure(cell_state, self.cell_state)
        return self._replace(**kwargs)


class AttentionWrapper(RNNCell):
    """A cell that attends to one or more memories.

    Args:
        cell: the cell.
        attention_mechanism: an `AttentionMechanism`, or a list of them.
        attention_layer_size: the size of a layer over the cell's output and what was found; a list for a list. Without
            one, the attention is what was found.
        alignment_history: whether the weights of all steps are kept.
        cell_input_fn: from inputs and the last attention to the cell's inputs; joined along the last axis otherwise.
        output_attention: whether the output is the attention, rather than the cell's own.
        initial_cell_state: the cell's first state, for `zero_state`.
        attention_layer: the layer itself, in place of its size.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: the lists differ in length.
    """

    def __init__(
        self, cell: Any, attention_mechanism: Any, attention_layer_size: Any = None, alignment_history: bool = False,
        cell_input_fn: Callable[[Any, Any], Any] | None = None, output_attention: bool = True,
        initial_cell_state: Any = None, name: str | None = None, attention_layer: Any = None, attention_fn: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(name=name, dtype=dtype)
        self._is_multi = isinstance(attention_mechanism, (list, tuple))
        self._mechanisms = list(attention_mechanism) if self._is_multi else [attention_mechanism]
        if not all(hasattr(m, "alignments_size") for m in self._mechanisms):
            raise TypeError(f"attention_mechanism must be an AttentionMechanism or a list of them: {self._mechanisms}")
        if cell_input_fn is not None and not callable(cell_input_fn):
            raise TypeError(f"cell_input_fn must be callable, saw type: {type(cell_input_fn).__name__}")
        if attention_layer_size is not None and attention_layer is not None:
            raise ValueError("Only one of attention_layer_size and attention_layer should be set")
        self._attention_layers = self._layers(attention_layer_size, attention_layer)
        self._attention_layer_size = sum(self._sizes())
        self._cell, self._alignment_history, self._output_attention = cell, alignment_history, output_attention
        self._cell_input_fn = cell_input_fn or (lambda inputs, attention: tf.concat([inputs, attention], -1))
        self._attention_fn = attention_fn or compute_attention
        self._initial_cell_state = None
        if initial_cell_state is not None:
            with tf.name_scope(name, "AttentionWrapperInit"):
                self._initial_cell_state = nest.map_structure(
                    lambda s: tf.identity(s, name="check_initial_cell_state"), initial_cell_state
                )

    def _layers(self, sizes: Any, layers: Any) -> list[Any] | None:
        given = sizes if sizes is not None else layers
        if given is None:
            return None
        listed = list(given) if isinstance(given, (list, tuple)) else [given]
        if len(listed) != len(self._mechanisms):
            raise ValueError(
                f"If provided, attention_layer_size must contain exactly one integer per attention_mechanism, saw: "
                f"{len(listed)} vs {len(self._mechanisms)}"
            )
        if sizes is None:
            return listed
        return [Dense(n, name="attention_layer", use_bias=False, dtype=m.dtype) for n, m in
                zip(listed, self._mechanisms, strict=True)]  # fmt: skip

    def _sizes(self) -> list[int]:
        if self._attention_layers is None:
            return [int(m.values.shape[-1].value) for m in self._mechanisms]
        return [int(layer.units) for layer in self._attention_layers]

    def _item_or_tuple(self, items: Any) -> Any:
        found = tuple(items)
        return found if self._is_multi else found[0]

    @property
    def output_size(self) -> Any:
        return self._attention_layer_size if self._output_attention else self._cell.output_size

    @property
    def state_size(self) -> Any:
        return AttentionWrapperState(
            self._cell.state_size, self._attention_layer_size, tf.TensorShape([]),
            self._item_or_tuple(m.alignments_size for m in self._mechanisms),
            self._item_or_tuple(m.alignments_size if self._alignment_history else () for m in self._mechanisms),
            self._item_or_tuple(m.state_size for m in self._mechanisms),
        )  # fmt: skip

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """Return the state to start from."""
        with tf.name_scope(f"{type(self).__name__}ZeroState", values=[batch_size]):
            cell_state = self._initial_cell_state
            if cell_state is None:
                cell_state = self._cell.zero_state(batch_size, dtype)
            starts = [m.initial_alignments(batch_size, dtype) for m in self._mechanisms]
            histories = [_history(dtype, s) if self._alignment_history else () for s in starts]
            return AttentionWrapperState(
                cell_state, _zeros(batch_size, self._attention_layer_size, dtype), tf.zeros([], tf.int32),
                self._item_or_tuple(starts), self._item_or_tuple(histories),
                self._item_or_tuple(m.initial_state(batch_size, dtype) for m in self._mechanisms),
            )  # fmt: skip

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """Return the attention (or the cell's output), and the next state.

        Raises:
            TypeError: `state` is no `AttentionWrapperState`.
        """
        if not isinstance(state, AttentionWrapperState):
            raise TypeError(f"Expected state to be instance of AttentionWrapperState. Received type {type(state)}")
        output, cell_state = self._cell(self._cell_input_fn(inputs, state.attention), state.cell_state)
        listed = [(v,) if not self._is_multi else v
                  for v in (state.attention_state, state.alignment_history)]  # fmt: skip
        found = []
        for i, mechanism in enumerate(self._mechanisms):
            layer = self._attention_layers[i] if self._attention_layers else None
            attention, alignments, after = self._attention_fn(mechanism, output, listed[0][i], layer)
            history = listed[1][i].write(state.time, alignments) if self._alignment_history else ()
            found.append((attention, alignments, history, after))
        attentions, alignments, histories, states = zip(*found, strict=True)
        attention = tf.concat(list(attentions), 1)
        next_state = AttentionWrapperState(
            cell_state, attention, state.time + 1, self._item_or_tuple(alignments), self._item_or_tuple(histories),
            self._item_or_tuple(states),
        )  # fmt: skip
        return (attention if self._output_attention else output), next_state


def compute_attention(mechanism: Any, cell_output: Any, attention_state: Any, attention_layer: Any) -> Any:
    """Return the attention, the weights, and the mechanism's next state."""
    alignments, after = mechanism(cell_output, state=attention_state)
    context = tf.squeeze(tf.matmul(tf.expand_dims(alignments, 1), mechanism.values), [1])
    attention = context if attention_layer is None else attention_layer(tf.concat([cell_output, context], 1))
    return attention, alignments, after


def _history(dtype: Any, like: Any) -> TensorArray:
    return TensorArray(dtype, size=0, dynamic_size=True, element_shape=like.shape)


def _zeros(batch: Any, size: int, dtype: Any) -> Any:
    if isinstance(batch, int):
        return tf.zeros([batch, size], dtype)
    made = tf.zeros(tf.stack([batch, size]), dtype)
    made.set_shape([None, size])
    return made


__all__ = ["AttentionWrapper", "AttentionWrapperState"]
