"""Datasets of elements of several datasets, one of which is chosen for each element.

Random choices are TensorFlow's: a dataset of random numbers seeds a choice for each element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.shapes import Shape
from coldframe.tf1.data.dataset import Dataset
from coldframe.tf1.data.functions import seeds
from coldframe.tf1.data.structure import Leaf, attrs_of, common
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.tensor import Tensor


class RandomDataset(Dataset):
    """Random numbers of 32 bits, int64 scalars, without end."""

    def __init__(
        self, seed: Any = None, rerandomize_each_iteration: bool | None = None, name: str | None = None
    ) -> None:
        if rerandomize_each_iteration:
            raise NotImplementedError("rerandomize_each_iteration is not supported: leave it out")
        leaf = Leaf("tensor", dtypes.int64, Shape(()))
        super().__init__(raw.RandomDataset(*seeds(seed), name=name, **attrs_of(leaf)), leaf)


def choose_from_datasets(
    datasets: Sequence[Dataset], choice_dataset: Dataset, stop_on_empty_dataset: bool = False
) -> Dataset:
    """Return a dataset of elements of `datasets`, each time of the one that `choice_dataset`, int64 scalars, tells.

    Those that have ended are passed over, unless `stop_on_empty_dataset`: then the first end is the end.
    """
    found = datasets[0]._structure
    for other in datasets[1:]:
        found = common(found, other._structure)
    made = raw.DirectedInterleaveDataset(
        choice_dataset._variant_tensor, [d._variant_tensor for d in datasets],
        stop_on_empty_dataset=stop_on_empty_dataset, **attrs_of(found),
    )  # fmt: skip
    return Dataset(made, found)


def sample_from_datasets(
    datasets: Sequence[Dataset], weights: Any = None, seed: Any = None, stop_on_empty_dataset: bool = False
) -> Dataset:
    """Return a dataset of elements of `datasets`, each time of a random one.

    Args:
        datasets: of elements of one structure.
        weights: how probable each is, floats; or a dataset of such vectors, one for each element. All alike for None.
        seed: of the choice.
        stop_on_empty_dataset: let the end of one be the end; otherwise it is passed over.
    """
    if not datasets:
        raise ValueError("Invalid `datasets`. `datasets` should not be empty.")
    if isinstance(weights, Dataset):
        logits = weights.map(lambda *p: raw.Log(p, name="logits") if len(p) > 1 else raw.Log(p[0], name="logits"))
        pairs = Dataset.zip((logits, RandomDataset(seed).batch(2)))
        choices = pairs.map(lambda logits, words: _chosen(raw.ExpandDims(logits, 0), words))
        return choose_from_datasets(datasets, choices, stop_on_empty_dataset)
    known: Any = np.ones((1, len(datasets)), np.float32)
    if weights is not None:
        datasets, weights = _chosen_at_all(datasets, weights)
        known = raw.ExpandDims(raw.Log(_weights(weights, len(datasets)), name="logits"), 0)
    if len(datasets) == 1:
        return datasets[0]
    choices = RandomDataset(seed).batch(2).map(lambda words: _chosen(known, words))
    return choose_from_datasets(datasets, choices, stop_on_empty_dataset)


def _chosen_at_all(datasets: Sequence[Dataset], weights: Any) -> tuple[Sequence[Dataset], Any]:
    """Leave out datasets without weight, as far as that is known: no random choice would ever end them."""
    if isinstance(weights, Tensor):
        return datasets, weights
    if len(weights) != len(datasets):
        raise ValueError(f"Invalid `weights`. `weights` should have the same length as `datasets` but got "
                         f"`len(weights)={len(weights)}` vs. `len(datasets)={len(datasets)}`.")  # fmt: skip
    kept = [(d, w) for d, w in zip(datasets, weights, strict=True) if w > 0]
    return ([d for d, _ in kept], [w for _, w in kept]) if kept else ([datasets[0].take(0)], [1.0])


def _weights(weights: Any, count: int) -> Tensor:
    tensor = convert_to_tensor(weights, name="weights")
    if tensor.dtype not in (dtypes.float32, dtypes.float64):
        raise TypeError(f"Invalid `weights`. `weights` type must be either `tf.float32` or `tf.float64` but is "
                        f"{tensor.dtype}.")  # fmt: skip
    if not tensor.shape.is_compatible_with([count]):
        raise ValueError(f"Invalid `weights`. The shape of `weights` should be compatible with `[len(datasets)]` but "
                         f"is {tensor.shape}.")  # fmt: skip
    return tensor


def _chosen(logits: Any, words: Any) -> Any:
    drawn = raw.StatelessMultinomial(logits, 1, words, output_dtype=dtypes.int64)
    return raw.Squeeze(drawn, squeeze_dims=[0, 1])


__all__ = ["RandomDataset", "choose_from_datasets", "sample_from_datasets"]
