"""Datasets of what Example protos hold: each element, a vector of serialized protos, becomes one tensor per feature.

Components come in the order of their keys, whatever their kind; sparse and ragged features are variants.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe.dtypes import variant
from coldframe.ops import parsing, ragged, serialized
from coldframe.ops.dataset_core import HINTS, Dataset, Each, Element, dataset_of
from coldframe.ops.state import State
from coldframe.ops.table import alias, op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass


@dataclass(frozen=True, slots=True)
class _Features:
    """What is read of each Example: keys and attributes of the op."""

    sparse_keys: tuple[str, ...]
    dense_keys: tuple[str, ...]
    ragged_keys: tuple[str, ...]
    dense_defaults: list[Any]
    attrs: dict[str, Any]

    def of(self, xp: Any, examples: Any) -> Element:
        """Return one tensor per feature, in the order of the keys."""
        none = np.zeros(0, object)
        *sparse, dense, values, splits = parsing.parse_example_v2.body(
            xp, examples, none, list(self.sparse_keys), list(self.dense_keys), list(self.ragged_keys),
            self.dense_defaults, num_sparse=len(self.sparse_keys), **self.attrs,
        )  # fmt: skip
        made = dict(zip(self.dense_keys, dense, strict=True))
        for key, *parts in zip(self.sparse_keys, *sparse, strict=True):
            made[key] = serialized.serialize_sparse.body(xp, *parts, out_type=variant)
        for key, v, s in zip(self.ragged_keys, values, splits, strict=True):
            made[key] = np.empty((), object)
            made[key][()] = ragged.ragged_tensor_to_variant.body(xp, [s], v, RAGGED_RANK=1, batched_input=False)
        return tuple(made[k] for k in sorted(made, key=str.encode))


@op("ParseExampleDatasetV2", shape="-> []", stateful=True, ignores=(*HINTS, "deterministic", "sloppy"))
def parse_example_dataset_v2(
    xp: Any, state: State, input_dataset: Any, num_parallel_calls: Any, dense_defaults: list[Any],
    *, sparse_keys: Any, dense_keys: Any, sparse_types: Any, Tdense: Any, dense_shapes: Any, ragged_keys: Any,
    ragged_value_types: Any, ragged_split_types: Any,
) -> Any:  # fmt: skip
    """The features of Example protos, a vector of them at a time."""
    source = dataset_of(input_dataset)
    attrs = {
        "Tdense": Tdense, "sparse_types": sparse_types, "ragged_value_types": ragged_value_types,
        "ragged_split_types": ragged_split_types, "dense_shapes": dense_shapes,
    }  # fmt: skip
    features = _Features(tuple(sparse_keys), tuple(dense_keys), tuple(ragged_keys), dense_defaults, attrs)

    def parsed(element: Element) -> Element:
        [examples] = element
        if np.ndim(examples) != 1:
            raise refuse("serialized examples", expected="a vector", found=f"shape {list(np.shape(examples))}")
        return features.of(xp, examples)

    return Dataset(lambda work: Each(source.start(work), parsed), source.size)


parse_example_dataset = alias("ParseExampleDataset", parse_example_dataset_v2)


@op("ExperimentalParseExampleDataset", shape="-> []", stateful=True, ignores=(*HINTS, "sloppy"))
def experimental_parse_example_dataset(
    xp: Any, state: State, input_dataset: Any, num_parallel_calls: Any, dense_defaults: list[Any],
    *, sparse_keys: Any, dense_keys: Any, sparse_types: Any, Tdense: Any, dense_shapes: Any,
) -> Any:  # fmt: skip
    """The features of Example protos, none of them ragged, a vector of protos at a time."""
    return parse_example_dataset_v2.body(
        xp, state, input_dataset, num_parallel_calls, dense_defaults, sparse_keys=sparse_keys, dense_keys=dense_keys,
        sparse_types=sparse_types, Tdense=Tdense, dense_shapes=dense_shapes, ragged_keys=(), ragged_value_types=(),
        ragged_split_types=(),
    )  # fmt: skip
