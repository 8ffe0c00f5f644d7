"""Iterators as part of checkpoints: where they stand, and all that their datasets hold (buffers, random numbers).

A `tf.train.Saver` saves them under TensorFlow's names. What is saved is coldframe's own: TensorFlow saves the insides
of its iterators, which change from version to version, so neither reads the other's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from coldframe import dtypes
from coldframe.tf1.data.iterator import Iterator
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import colocate_with
from coldframe.tf1.train.saveables import SaveableObject, SaveSpec

_POLICIES: Final = {"warn": 0, "ignore": 1, "fail": 2}


class IteratorSaveable(SaveableObject):
    """What a Saver does with an iterator.

    Args:
        iterator: the iterator. It must have been initialized before it is saved, and before it is restored.
        policy: 0 to 2, for TensorFlow: whether it warns of state outside of the datasets, ignores it or fails.
    """

    def __init__(self, iterator: Iterator, policy: int) -> None:
        resource = iterator._resource
        told = raw.SerializeIterator(resource, external_state_policy=policy)
        super().__init__(resource, [SaveSpec(told, "", resource.name + "_STATE")], resource.name)

    def restore(self, restored_tensors: Sequence[Any], restored_shapes: Sequence[Any] | None) -> Any:
        with colocate_with(self.op):
            return raw.DeserializeIterator(self.op, convert_to_tensor(restored_tensors[0], dtypes.variant))


def make_saveable_from_iterator(iterator: Iterator, external_state_policy: str | None = None) -> IteratorSaveable:
    """Return what saves where `iterator` stands, for ``tf.train.Saver``: add it to `GraphKeys.SAVEABLE_OBJECTS`.

    Restoring needs an iterator that was initialized. Random numbers that functions of the datasets draw go on where
    they were; variables and Python functions have their state elsewhere.

    Args:
        iterator: the iterator.
        external_state_policy: ``warn``, ``ignore`` or ``fail`` (the default), what TensorFlow does about functions with
            state where it runs the graph.
    """
    policy = "fail" if external_state_policy is None else external_state_policy
    if policy not in _POLICIES:
        raise ValueError(f"Unexpected value for `external_state_policy`: {policy}. Supported values: 'warn', 'ignore', "
                         f"'fail'.")  # fmt: skip
    return IteratorSaveable(iterator, _POLICIES[policy])


__all__ = ["IteratorSaveable", "make_saveable_from_iterator"]
