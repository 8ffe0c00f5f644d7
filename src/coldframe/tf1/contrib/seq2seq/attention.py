"""Attention: how much each step of a memory counts for a query.

A mechanism turns the memory into keys once, and then, for each query, scores the keys and makes weights of the scores;
steps beyond a sequence's end weigh nothing. Variables have TensorFlow's names: ``memory_layer/kernel``,
``bahdanau_attention/attention_v`` and so on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import coldframe.tf1 as tf
from coldframe.tf1.framework import nest
from coldframe.tf1.layers.core import Dense
from coldframe.tf1.variable_scope import variable_scope


class AttentionMechanism:
    """Base of what `AttentionWrapper` takes."""

    @property
    def alignments_size(self) -> Any:
        """How many steps the memory has."""
        raise NotImplementedError

    @property
    def state_size(self) -> Any:
        raise NotImplementedError


class _BaseAttentionMechanism(AttentionMechanism):
    """A memory with keys.

    Args:
        query_layer, memory_layer: applied to queries, and to the memory to get keys; None: as they are.
        memory: ``[batch, time, depth]``, an encoder's outputs.
        probability_fn: from scores ``[batch, time]`` to weights.
        memory_sequence_length: how many steps count, int ``[batch]``.
        check_inner_dims_defined: refuse a memory whose depth is not known.
        score_mask_value: the score of steps that do not count.
    """

    def __init__(
        self, query_layer: Any, memory: Any, probability_fn: Callable[..., Any], memory_sequence_length: Any = None,
        memory_layer: Any = None, check_inner_dims_defined: bool = True, score_mask_value: float | None = None,
        name: str | None = None,
    ) -> None:  # fmt: skip
        if not callable(probability_fn):
            raise TypeError(f"probability_fn must be callable, saw type: {type(probability_fn).__name__}")
        self._query_layer, self._memory_layer = query_layer, memory_layer
        self.dtype = memory_layer.dtype if memory_layer is not None else nest.flatten(memory)[0].dtype
        self._probability_fn, self._mask_value = probability_fn, score_mask_value
        self._lengths = None
        if memory_sequence_length is not None:
            self._lengths = tf.convert_to_tensor(memory_sequence_length, name="memory_sequence_length")
        with tf.name_scope(name, "BaseAttentionMechanismInit", nest.flatten(memory)):
            self._values = self._prepared(tf.convert_to_tensor(memory, name="memory"), check_inner_dims_defined)
            self._keys = self._values if memory_layer is None else memory_layer(self._values)
            self._batch_size = self._keys.shape[0].value or tf.shape(self._keys)[0]
            self._alignments_size = self._keys.shape[1].value or tf.shape(self._keys)[1]

    def _prepared(self, memory: Any, check: bool) -> Any:
        if check and not memory.shape[2:].is_fully_defined():
            raise ValueError(f"Expected memory {memory.name} to have fully defined inner dims, but saw {memory.shape}")
        if self._lengths is None:
            return memory
        mask = tf.sequence_mask(self._lengths, maxlen=tf.shape(memory)[1], dtype=memory.dtype)
        for _ in range(memory.shape.ndims - 2):
            mask = tf.expand_dims(mask, -1)
        return memory * mask

    @property
    def memory_layer(self) -> Any:
        return self._memory_layer

    @property
    def query_layer(self) -> Any:
        return self._query_layer

    @property
    def values(self) -> Any:
        """The memory, zero beyond the sequences' ends."""
        return self._values

    @property
    def keys(self) -> Any:
        return self._keys

    @property
    def batch_size(self) -> Any:
        return self._batch_size

    @property
    def alignments_size(self) -> Any:
        return self._alignments_size

    @property
    def state_size(self) -> Any:
        return self._alignments_size

    def initial_alignments(self, batch_size: Any, dtype: Any) -> Any:
        """Return the weights to start from: zeros ``[batch, time]``."""
        known = isinstance(batch_size, int) and isinstance(self._alignments_size, int)
        made = tf.zeros([batch_size, self._alignments_size] if known else tf.stack([batch_size, self._alignments_size]),
                        dtype)  # fmt: skip
        if not known:
            size = self._alignments_size if isinstance(self._alignments_size, int) else None
            made.set_shape([batch_size if isinstance(batch_size, int) else None, size])
        return made

    def initial_state(self, batch_size: Any, dtype: Any) -> Any:
        return self.initial_alignments(batch_size, dtype)

    def _weights(self, score: Any) -> Any:
        if self._lengths is not None:
            value = -math.inf if self._mask_value is None else self._mask_value
            mask = tf.sequence_mask(self._lengths, maxlen=tf.shape(score)[1])
            score = tf.where(mask, score, tf.fill(tf.shape(score), tf.constant(value, score.dtype)))
        return self._probability_fn(score)


class LuongAttention(_BaseAttentionMechanism):
    """Scores are products of the query and the keys (https://arxiv.org/abs/1508.04025).

    Args:
        num_units: the depth of keys and queries.
        memory, memory_sequence_length, probability_fn, score_mask_value: as for all; softmax makes the weights.
        scale: multiply scores by a variable.
    """

    def __init__(
        self, num_units: int, memory: Any, memory_sequence_length: Any = None, scale: bool = False,
        probability_fn: Callable[..., Any] | None = None, score_mask_value: float | None = None, dtype: Any = None,
        custom_key_value_fn: Any = None, name: str = "LuongAttention",
    ) -> None:  # fmt: skip
        layer = Dense(num_units, name="memory_layer", use_bias=False, dtype=dtype or tf.float32)
        super().__init__(
            None, memory, probability_fn or tf.nn.softmax, memory_sequence_length, layer,
            score_mask_value=score_mask_value, name=name,
        )  # fmt: skip
        if custom_key_value_fn is not None:
            self._keys, self._values = custom_key_value_fn(self._keys, self._values)
        self._num_units, self._scale, self._name = num_units, scale, name

    def __call__(self, query: Any, state: Any) -> tuple[Any, Any]:
        """Return the weights ``[batch, time]`` for a query ``[batch, depth]``, and the next state, which they are."""
        with variable_scope(None, "luong_attention", [query]):
            depth, units = query.shape[-1].value, self._keys.shape[-1].value
            if depth != units:
                raise ValueError(
                    f"Incompatible or unknown inner dimensions between query and keys. Query ({query}) has units: "
                    f"{depth}. Keys ({self._keys}) have units: {units}. Perhaps you need to set num_units to the "
                    f"keys' dimension ({units})?"
                )
            score = tf.squeeze(tf.matmul(tf.expand_dims(query, 1), self._keys, transpose_b=True), [1])
            if self._scale:
                score = score * tf.get_variable("attention_g", [], query.dtype, tf.ones_initializer())
            alignments = self._weights(score)
        return alignments, alignments


class BahdanauAttention(_BaseAttentionMechanism):
    """Scores are made by a layer of the query and the keys (https://arxiv.org/abs/1409.0473).

    Args:
        num_units: the depth of that layer.
        memory, memory_sequence_length, probability_fn, score_mask_value: as for all; softmax makes the weights.
        normalize: with normalised weights (https://arxiv.org/abs/1602.07868).
    """

    def __init__(
        self, num_units: int, memory: Any, memory_sequence_length: Any = None, normalize: bool = False,
        probability_fn: Callable[..., Any] | None = None, score_mask_value: float | None = None, dtype: Any = None,
        custom_key_value_fn: Any = None, name: str = "BahdanauAttention",
    ) -> None:  # fmt: skip
        dtype = dtype or tf.float32
        super().__init__(
            Dense(num_units, name="query_layer", use_bias=False, dtype=dtype), memory,
            probability_fn or tf.nn.softmax, memory_sequence_length,
            Dense(num_units, name="memory_layer", use_bias=False, dtype=dtype),
            score_mask_value=score_mask_value, name=name,
        )  # fmt: skip
        if custom_key_value_fn is not None:
            self._keys, self._values = custom_key_value_fn(self._keys, self._values)
        self._num_units, self._normalize, self._name = num_units, normalize, name

    def __call__(self, query: Any, state: Any) -> tuple[Any, Any]:
        """Return the weights ``[batch, time]`` for a query ``[batch, depth]``, and the next state, which they are."""
        with variable_scope(None, "bahdanau_attention", [query]):
            units, dtype = self._num_units, query.dtype
            inner = self._keys + tf.expand_dims(self._query_layer(query), 1)
            v = tf.get_variable("attention_v", [units], dtype)
            if self._normalize:
                start = tf.constant_initializer(math.sqrt(1.0 / units))
                g = tf.get_variable("attention_g", [], dtype, start)
                b = tf.get_variable("attention_b", [units], dtype, tf.zeros_initializer())
                v = g * v * tf.rsqrt(tf.reduce_sum(tf.square(v)))
                inner = inner + b
            alignments = self._weights(tf.reduce_sum(v * tf.tanh(inner), [2]))
        return alignments, alignments


__all__ = ["AttentionMechanism", "BahdanauAttention", "LuongAttention"]
