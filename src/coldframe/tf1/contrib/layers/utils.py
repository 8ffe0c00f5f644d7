"""What layers as functions share: model variables, collections of variables and of outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from coldframe.tf1.cond import constant_bool, smart_cond
from coldframe.tf1.framework.graph import get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.partitions import PartitionedVariable

_ALIASES: Final = ("coldframe", "tensor_aliases")
KERNEL_NAMES: Final = {"bias": "biases", "kernel": "weights"}
_MODEL: Final = (GraphKeys.GLOBAL_VARIABLES, GraphKeys.MODEL_VARIABLES)


def model_getter(renames: Mapping[str, str] | None = None) -> Callable[..., Any]:
    """Return a getter that makes model variables, under other names than core layers give them."""
    names = renames or {}

    def getter(inner: Callable[..., Any], name: str, *args: Any, **kwargs: Any) -> Any:
        scope, slash, last = name.rpartition("/")
        kwargs["collections"] = list(dict.fromkeys([*(kwargs.get("collections") or []), *_MODEL]))
        return inner(f"{scope}{slash}{names.get(last, last)}", *args, **kwargs)

    return getter


def get_variable_collections(variables_collections: Any, name: str) -> Any:
    """Return the collections for a variable: all, or those that a dict has for its name."""
    if isinstance(variables_collections, dict):
        return variables_collections.get(name)
    return variables_collections


def collect_variable(variable: Any, variables_collections: Any, name: str) -> None:
    """Add a layer's variable to the collections asked for."""
    for key in get_variable_collections(variables_collections, name) or []:
        found = get_default_graph().get_collection_ref(key)
        for part in variable if isinstance(variable, PartitionedVariable) else [variable]:
            if not any(v is part for v in found):
                found.append(part)


# --- outputs ----------------------------------------------------------------------------------------------------
def _all_aliases() -> dict[Any, list[str]]:
    items = get_default_graph().get_collection_ref(_ALIASES)
    if not items:
        items.append({})
    return items[0]  # type: ignore[no-any-return]


def append_tensor_alias(tensor: Any, alias: str) -> Any:
    """Give a tensor a further name, for collections of outputs."""
    names = _all_aliases().setdefault(tensor, [])
    alias = alias.rstrip("/")
    if alias not in names:
        names.append(alias)
    return tensor


def get_tensor_aliases(tensor: Any) -> list[str]:
    """Return a tensor's further names, or its own."""
    return _all_aliases().get(tensor) or [tensor.name.removesuffix(":0")]


def gather_tensors_aliases(tensors: Any) -> list[str]:
    """Return the further names of all tensors."""
    return [a for t in tensors for a in get_tensor_aliases(t)]


def collect_named_outputs(collections: Any, alias: str, outputs: Any) -> Any:
    """Return `outputs`, added to collections under a further name."""
    if collections:
        append_tensor_alias(outputs, alias)
        get_default_graph().add_to_collections(collections, outputs)
    return outputs


def convert_collection_to_dict(collection: str, clear_collection: bool = False) -> dict[str, Any]:
    """Return a collection of outputs by further name."""
    items = get_default_graph().get_collection_ref(collection)
    made = {alias: t for t in items for alias in get_tensor_aliases(t)}
    if clear_collection:
        items.clear()
    return made


# --- shapes -----------------------------------------------------------------------------------------------------
def n_positive_integers(n: int, value: Any) -> tuple[int, ...]:
    """Return `value` as `n` positive ints: a number stands for all of them."""
    made = (value,) * n if isinstance(value, int) else tuple(value)
    if len(made) != n or any(not isinstance(v, int) or v < 1 for v in made):
        raise ValueError(f"Expected {n} positive integers, not {value!r}")
    return made


def two_element_tuple(int_or_tuple: Any) -> tuple[int, ...]:
    """Return a number twice, or two numbers."""
    return n_positive_integers(2, int_or_tuple)


def constant_value(value_or_tensor: Any, dtype: Any = None) -> Any:
    """Return a condition's value where it is known, else None."""
    return constant_bool(value_or_tensor)


def last_dimension(shape: Any, min_rank: int = 1) -> Any:
    """Return the size of the last axis, which must be known."""
    dims = shape.as_list()
    if len(dims) < min_rank:
        raise ValueError(f"rank of shape must be at least {min_rank} not: {len(dims)}")
    if dims[-1] is None:
        raise ValueError("last dimension shape must be known but is None")
    return dims[-1]


def channel_format(data_format: str | None, *known: str) -> str:
    """Return ``channels_first`` or ``channels_last`` for a format such as ``NCHW``."""
    if data_format not in (None, *known):
        raise ValueError(f"Invalid data_format: {data_format!r}; one of {', '.join(known)} is needed")
    return "channels_first" if data_format and data_format.startswith("NC") else "channels_last"


__all__ = [
    "append_tensor_alias", "collect_named_outputs", "constant_value", "convert_collection_to_dict",
    "gather_tensors_aliases", "get_tensor_aliases", "get_variable_collections", "last_dimension",
    "n_positive_integers", "smart_cond", "two_element_tuple",
]  # fmt: skip
