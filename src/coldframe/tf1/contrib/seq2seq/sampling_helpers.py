"""Helpers that draw: ids from the outputs' probabilities, or whether to read an output in place of an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import coldframe.tf1 as tf
from coldframe.tf1.cond import cond
from coldframe.tf1.contrib.seq2seq.helpers import GreedyEmbeddingHelper, Helper, TrainingHelper, embedding_function
from coldframe.tf1.distributions import Bernoulli, Categorical
from coldframe.tf1.framework.shape import TensorShape


class SampleEmbeddingHelper(GreedyEmbeddingHelper):
    """Draws ids from the outputs' probabilities, and reads their embeddings.

    Args:
        embedding, start_tokens, end_token: as `GreedyEmbeddingHelper`.
        softmax_temperature: above 1, ids are more random; below, less.
        seed: of the draws.
    """

    def __init__(
        self, embedding: Any, start_tokens: Any, end_token: Any, softmax_temperature: Any = None,
        seed: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(embedding, start_tokens, end_token)
        self._softmax_temperature, self._seed = softmax_temperature, seed

    def sample(self, time: Any, outputs: Any, state: Any, name: str | None = None) -> Any:
        if not isinstance(outputs, tf.Tensor):
            raise TypeError(f"Expected outputs to be a single Tensor, got: {type(outputs)}")
        logits = outputs if self._softmax_temperature is None else outputs / self._softmax_temperature
        return Categorical(logits=logits).sample(seed=self._seed)


class InferenceHelper(Helper):
    """Reads what was sampled by a function, which need not be ids.

    Args:
        sample_fn: from outputs to samples.
        sample_shape, sample_dtype: of a sample, without the batch.
        start_inputs: the first inputs, ``[batch, ...]``.
        end_fn: from samples to a bool for each sequence: whether it ends.
        next_inputs_fn: from samples to the next inputs; the samples themselves otherwise.
    """

    def __init__(
        self, sample_fn: Callable[[Any], Any], sample_shape: Any, sample_dtype: Any, start_inputs: Any,
        end_fn: Callable[[Any], Any], next_inputs_fn: Callable[[Any], Any] | None = None,
    ) -> None:  # fmt: skip
        self._sample_fn, self._end_fn, self._next_inputs_fn = sample_fn, end_fn, next_inputs_fn
        self._shape, self._dtype = TensorShape(sample_shape), sample_dtype
        self._start_inputs = tf.convert_to_tensor(start_inputs, name="start_inputs")
        self._batch_size = tf.shape(self._start_inputs)[0]

    @property
    def batch_size(self) -> Any:
        return self._batch_size

    @property
    def sample_ids_shape(self) -> Any:
        return self._shape

    @property
    def sample_ids_dtype(self) -> Any:
        return self._dtype

    def initialize(self, name: str | None = None) -> tuple[Any, Any]:
        return tf.zeros([self._batch_size], tf.bool), self._start_inputs

    def sample(self, time: Any, outputs: Any, state: Any, name: str | None = None) -> Any:
        return self._sample_fn(outputs)

    def next_inputs(
        self, time: Any, outputs: Any, state: Any, sample_ids: Any, name: str | None = None
    ) -> tuple[Any, Any, Any]:
        inputs = sample_ids if self._next_inputs_fn is None else self._next_inputs_fn(sample_ids)
        return self._end_fn(sample_ids), inputs, state


class ScheduledEmbeddingTrainingHelper(TrainingHelper):
    """Reads given inputs, or now and then the embedding of an id that it draws from the outputs.

    Args:
        inputs, sequence_length, time_major: as `TrainingHelper`.
        embedding: as `GreedyEmbeddingHelper`.
        sampling_probability: how often it draws: a scalar.
        seed, scheduling_seed: of the ids, and of whether to draw.
    """

    def __init__(
        self, inputs: Any, sequence_length: Any, embedding: Any, sampling_probability: Any, time_major: bool = False,
        seed: int | None = None, scheduling_seed: int | None = None, name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(inputs, sequence_length, time_major, name)
        self._embedding_fn = embedding_function(embedding)
        self._probability = _probability(sampling_probability)
        self._seed, self._scheduling_seed = seed, scheduling_seed

    def sample(self, time: Any, outputs: Any, state: Any, name: str | None = None) -> Any:
        drawn = Bernoulli(probs=self._probability, dtype=tf.bool).sample(self.batch_size, seed=self._scheduling_seed)
        ids = Categorical(logits=outputs).sample(seed=self._seed)
        return tf.where(drawn, ids, tf.fill([self.batch_size], -1))

    def next_inputs(
        self, time: Any, outputs: Any, state: Any, sample_ids: Any, name: str | None = None
    ) -> tuple[Any, Any, Any]:
        finished, given, state = super().next_inputs(time, outputs, state, sample_ids)
        drawn = tf.greater(sample_ids, -1)
        read = self._embedding_fn(tf.maximum(sample_ids, 0))
        mixed = tf.where(drawn, read, given)
        return finished, cond(tf.reduce_all(finished), lambda: given, lambda: mixed), state


class ScheduledOutputTrainingHelper(TrainingHelper):
    """Reads given inputs, or now and then its own last outputs.

    Args:
        inputs, sequence_length, time_major: as `TrainingHelper`.
        sampling_probability: how often it reads outputs: a scalar.
        auxiliary_inputs: joined to the outputs along the last axis, of the inputs' form.
        next_inputs_layer: applied to outputs before they are read.
        seed: of the draws.
    """

    def __init__(
        self, inputs: Any, sequence_length: Any, sampling_probability: Any, time_major: bool = False,
        seed: int | None = None, next_inputs_layer: Any = None, auxiliary_inputs: Any = None, name: str | None = None,
    ) -> None:  # fmt: skip
        joined = tf.convert_to_tensor(inputs)
        self._auxiliary = None if auxiliary_inputs is None else tf.convert_to_tensor(auxiliary_inputs)
        if self._auxiliary is not None:
            joined = tf.concat([joined, self._auxiliary], -1)
        super().__init__(joined, sequence_length, time_major, name)
        self._probability, self._layer, self._seed = _probability(sampling_probability), next_inputs_layer, seed
        self._time_axis = 0 if time_major else 1

    def sample(self, time: Any, outputs: Any, state: Any, name: str | None = None) -> Any:
        drawn = Bernoulli(probs=self._probability, dtype=tf.bool).sample(self.batch_size, seed=self._seed)
        return tf.cast(drawn, tf.int32)

    def next_inputs(
        self, time: Any, outputs: Any, state: Any, sample_ids: Any, name: str | None = None
    ) -> tuple[Any, Any, Any]:
        finished, given, state = super().next_inputs(time, outputs, state, sample_ids)
        own = outputs if self._layer is None else self._layer(outputs)
        if self._auxiliary is not None:
            last = tf.minimum(time + 1, tf.shape(self._auxiliary)[self._time_axis] - 1)
            own = tf.concat([own, tf.gather(self._auxiliary, last, axis=self._time_axis)], -1)
        mixed = tf.where(tf.cast(sample_ids, tf.bool), own, given)
        return finished, cond(tf.reduce_all(finished), lambda: given, lambda: mixed), state


def _probability(value: Any) -> Any:
    made = tf.convert_to_tensor(value, name="sampling_probability")
    if made.shape.ndims not in (0, 1):
        raise ValueError(f"sampling_probability must be either a scalar or a vector. saw shape: {made.shape}")
    return made


__all__ = [
    "InferenceHelper", "SampleEmbeddingHelper", "ScheduledEmbeddingTrainingHelper", "ScheduledOutputTrainingHelper",
]  # fmt: skip
