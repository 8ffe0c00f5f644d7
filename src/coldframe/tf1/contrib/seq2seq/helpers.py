"""Helpers for `BasicDecoder`: what is sampled from outputs, and what a cell reads next.

For training, the inputs are given; for inference, they are the embeddings of what was sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import coldframe.tf1 as tf
from coldframe.tf1.cond import cond
from coldframe.tf1.framework import nest
from coldframe.tf1.framework.shape import TensorShape


class Helper:
    """What a `BasicDecoder` asks; programs derive their own from it."""

    @property
    def batch_size(self) -> Any:
        """How many sequences there are: a scalar."""
        raise NotImplementedError

    @property
    def sample_ids_shape(self) -> Any:
        """The shape of what is sampled, without the batch."""
        return TensorShape([])

    @property
    def sample_ids_dtype(self) -> Any:
        return tf.int32

    def initialize(self, name: str | None = None) -> tuple[Any, Any]:
        """Return which sequences are finished, and the first inputs."""
        raise NotImplementedError

    def sample(self, time: Any, outputs: Any, state: Any, name: str | None = None) -> Any:
        """Return ids for outputs."""
        raise NotImplementedError

    def next_inputs(
        self, time: Any, outputs: Any, state: Any, sample_ids: Any, name: str | None = None
    ) -> tuple[Any, Any, Any]:
        """Return which sequences end here, the next inputs, and the next state."""
        raise NotImplementedError


class CustomHelper(Helper):
    """A helper of functions.

    Args:
        initialize_fn, sample_fn, next_inputs_fn: what the methods do.
        sample_ids_shape, sample_ids_dtype: of what is sampled; scalars of int32 otherwise.
    """

    def __init__(
        self, initialize_fn: Callable[[], Any], sample_fn: Callable[..., Any], next_inputs_fn: Callable[..., Any],
        sample_ids_shape: Any = None, sample_ids_dtype: Any = None,
    ) -> None:  # fmt: skip
        self._initialize_fn, self._sample_fn, self._next_inputs_fn = initialize_fn, sample_fn, next_inputs_fn
        self._shape = TensorShape(sample_ids_shape or [])
        self._dtype = tf.int32 if sample_ids_dtype is None else sample_ids_dtype
        self._batch_size: Any = None

    @property
    def batch_size(self) -> Any:
        if self._batch_size is None:
            raise ValueError("batch_size accessed before initialize was called")
        return self._batch_size

    @property
    def sample_ids_shape(self) -> Any:
        return self._shape

    @property
    def sample_ids_dtype(self) -> Any:
        return self._dtype

    def initialize(self, name: str | None = None) -> tuple[Any, Any]:
        finished, inputs = self._initialize_fn()
        if self._batch_size is None:
            self._batch_size = tf.size(finished)
        return finished, inputs

    def sample(self, time: Any, outputs: Any, state: Any, name: str | None = None) -> Any:
        return self._sample_fn(time=time, outputs=outputs, state=state)

    def next_inputs(
        self, time: Any, outputs: Any, state: Any, sample_ids: Any, name: str | None = None
    ) -> tuple[Any, Any, Any]:
        found: tuple[Any, Any, Any] = self._next_inputs_fn(
            time=time, outputs=outputs, state=state, sample_ids=sample_ids
        )
        return found


class TrainingHelper(Helper):
    """Reads given inputs; samples are the most likely ids.

    Args:
        inputs: ``[batch, time, ...]``, or ``[time, batch, ...]`` where `time_major`; or nested such tensors.
        sequence_length: int ``[batch]``.

    Raises:
        ValueError: `sequence_length` is no vector.
    """

    def __init__(self, inputs: Any, sequence_length: Any, time_major: bool = False, name: str | None = None) -> None:
        with tf.name_scope(name, "TrainingHelper"):
            given = nest.map_structure(tf.convert_to_tensor, inputs)
            self._inputs = given
            by_time = given if time_major else nest.map_structure(_time_major, given)
            self._arrays = nest.map_structure(_unstacked, by_time)
            self._sequence_length = tf.convert_to_tensor(sequence_length, name="sequence_length")
            if self._sequence_length.shape.ndims != 1:
                raise ValueError(
                    f"Expected sequence_length to be a vector, but received shape: {self._sequence_length.shape}"
                )
            self._zero_inputs = nest.map_structure(lambda x: tf.zeros_like(x[0]), by_time)
            self._batch_size = tf.size(self._sequence_length)

    @property
    def inputs(self) -> Any:
        return self._inputs

    @property
    def sequence_length(self) -> Any:
        return self._sequence_length

    @property
    def batch_size(self) -> Any:
        return self._batch_size

    def initialize(self, name: str | None = None) -> tuple[Any, Any]:
        with tf.name_scope(name, "TrainingHelperInitialize"):
            finished = tf.equal(0, self._sequence_length)
            return finished, self._read(tf.reduce_all(finished), tf.constant(0))

    def sample(self, time: Any, outputs: Any, state: Any, name: str | None = None) -> Any:
        with tf.name_scope(name, "TrainingHelperSample"):
            return tf.cast(tf.argmax(outputs, axis=-1), tf.int32)

    def next_inputs(
        self, time: Any, outputs: Any, state: Any, sample_ids: Any, name: str | None = None
    ) -> tuple[Any, Any, Any]:
        with tf.name_scope(name, "TrainingHelperNextInputs"):
            after = time + 1
            finished = tf.greater_equal(tf.cast(after, self._sequence_length.dtype), self._sequence_length)
            return finished, self._read(tf.reduce_all(finished), after), state

    def _read(self, all_finished: Any, time: Any) -> Any:
        """Return the inputs at `time`; zeros where nobody wants them, as there may be none."""
        return cond(
            all_finished, lambda: self._zero_inputs, lambda: nest.map_structure(lambda a: a.read(time), self._arrays)
        )


def _time_major(x: Any) -> Any:
    return tf.transpose(x, [1, 0, *range(2, x.shape.ndims)])


def _unstacked(x: Any) -> Any:
    array = tf.TensorArray(x.dtype, size=tf.shape(x)[0], element_shape=x.shape[1:])
    return array.unstack(x)


class GreedyEmbeddingHelper(Helper):
    """Samples the most likely id, and reads its embedding.

    Args:
        embedding: a table ``[ids, size]``, or a function from ids to embeddings.
        start_tokens: the first ids, int32 ``[batch]``.
        end_token: the id that ends a sequence: a scalar.

    Raises:
        ValueError: shapes do not fit.
    """

    def __init__(self, embedding: Any, start_tokens: Any, end_token: Any) -> None:
        self._embedding_fn = embedding_function(embedding)
        self._start_tokens = tf.convert_to_tensor(start_tokens, tf.int32, name="start_tokens")
        self._end_token = tf.convert_to_tensor(end_token, tf.int32, name="end_token")
        if self._start_tokens.shape.ndims != 1:
            raise ValueError("start_tokens must be a vector")
        if self._end_token.shape.ndims != 0:
            raise ValueError("end_token must be a scalar")
        self._batch_size = tf.size(self._start_tokens)
        self._start_inputs = self._embedding_fn(self._start_tokens)

    @property
    def batch_size(self) -> Any:
        return self._batch_size

    def initialize(self, name: str | None = None) -> tuple[Any, Any]:
        return tf.zeros_like(self._start_tokens, tf.bool), self._start_inputs

    def sample(self, time: Any, outputs: Any, state: Any, name: str | None = None) -> Any:
        if not isinstance(outputs, tf.Tensor):
            raise TypeError(f"Expected outputs to be a single Tensor, got: {type(outputs)}")
        return tf.cast(tf.argmax(outputs, axis=-1), tf.int32)

    def next_inputs(
        self, time: Any, outputs: Any, state: Any, sample_ids: Any, name: str | None = None
    ) -> tuple[Any, Any, Any]:
        finished = tf.equal(sample_ids, self._end_token)
        inputs = cond(tf.reduce_all(finished), lambda: self._start_inputs, lambda: self._embedding_fn(sample_ids))
        return finished, inputs, state


def embedding_function(embedding: Any) -> Callable[[Any], Any]:
    """Return a function from ids to embeddings, of a table or of a function."""
    if callable(embedding) and not hasattr(embedding, "dtype"):
        return embedding  # type: ignore[no-any-return]
    return lambda ids: tf.nn.embedding_lookup(embedding, ids)


__all__ = ["CustomHelper", "GreedyEmbeddingHelper", "Helper", "TrainingHelper"]
