"""Elements of datasets: nested structures of tensors, and what is known of them.

A structure is a tuple, named tuple or dict of structures, or a leaf: a tensor, a sparse tensor, a dataset. Lists are
no structures but tensors. Datasets hold flat components; a sparse tensor is a component of dtype variant::

    {"a": (x, sparse)}  ──components──►  [x, SerializeSparse(sparse)]  ──rebuilt──►  {"a": (x, sparse)}

Values of a dict come in the order of its keys, sorted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.records import dataclass
from coldframe.shapes import Shape, TensorSpec
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.shape import TensorShape, as_static
from coldframe.tf1.framework.tensor import Tensor

Structure = Any
"""A nested structure of leaves."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """What is known of a tensor in an element.

    Attributes:
        kind: ``tensor``, ``sparse`` or ``dataset``.
        dtype: its dtype; of a sparse tensor its values'.
        shape: its shape, as far as it is known.
        lead: of a sparse tensor: the dimensions that batching has added.
        inner: of a dataset: the structure of its elements.
    """

    kind: str
    dtype: DType
    shape: Shape
    lead: tuple[int | None, ...] = ()
    inner: Any = None

    @property
    def component(self) -> tuple[DType, Shape]:
        """Dtype and shape of the component that holds it."""
        if self.kind == "tensor":
            return self.dtype, self.shape
        return dtypes.variant, Shape((*self.lead, 3)) if self.kind == "sparse" else Shape(())

    def batched(self, size: int | None) -> Leaf:
        """Return what a batch of such leaves is."""
        dims = self.shape.dims
        shape = Shape.unknown() if dims is None else Shape((size, *dims))
        return dataclasses.replace(self, shape=shape, lead=(size, *self.lead))

    def unbatched(self) -> Leaf:
        """Return what a slice of such a leaf is."""
        dims = self.shape.dims
        return dataclasses.replace(self, shape=Shape.unknown() if dims is None else Shape(dims[1:]), lead=self.lead[1:])

    @property
    def spec(self) -> Any:
        """What ``element_spec`` says of it."""
        return TensorSpec("", self.dtype, self.shape)


# --- nests ---
def _is_nest(x: Any) -> bool:
    return isinstance(x, (tuple, Mapping)) and not isinstance(x, TensorShape)


def flatten(x: Any) -> list[Any]:
    """Return the leaves of a structure, in order."""
    if not _is_nest(x):
        return [x]
    values = [x[k] for k in sorted(x)] if isinstance(x, Mapping) else x
    return [leaf for v in values for leaf in flatten(v)]


def pack(like: Any, flat: Sequence[Any]) -> Any:
    """Return `flat` in the structure of `like`."""
    left = iter(flat)

    def build(x: Any) -> Any:
        if not _is_nest(x):
            return next(left)
        if isinstance(x, Mapping):
            made = {k: build(x[k]) for k in sorted(x)}
            return type(x)((k, made[k]) for k in x)  # type: ignore[call-arg]
        if hasattr(x, "_fields"):
            return type(x)(*(build(v) for v in x))
        return tuple(build(v) for v in x)

    return build(like)


def flatten_up_to(like: Any, x: Any) -> list[Any]:
    """Return the parts of `x` at the places of the leaves of `like`."""
    if not _is_nest(like):
        return [x]
    if isinstance(like, Mapping):
        return [leaf for k in sorted(like) for leaf in flatten_up_to(like[k], x[k])]
    if len(x) != len(like):
        raise ValueError(f"The two structures don't have the same sequence length: {like} and {x}")
    return [leaf for a, b in zip(like, x, strict=True) for leaf in flatten_up_to(a, b)]


def mapped(fn: Callable[[Any], Any], x: Any) -> Any:
    """Return the structure with `fn` of each leaf."""
    return pack(x, [fn(v) for v in flatten(x)])


# --- from values to components, and back ---
def normalized(element: Any) -> Any:
    """Return the element with each leaf a tensor, a sparse tensor or a dataset."""
    flat = flatten(element)
    if all(isinstance(v, (Tensor, SparseTensor)) or hasattr(v, "_variant_tensor") for v in flat):
        return element
    with name_scope(None, "normalize_element"):
        return pack(element, [_leaf_value(v, i) for i, v in enumerate(flat)])


def _leaf_value(value: Any, i: int) -> Any:
    if isinstance(value, SparseTensor) or hasattr(value, "_variant_tensor"):
        return value
    if hasattr(value, "indices") and hasattr(value, "dense_shape"):  # a SparseTensorValue
        return SparseTensor(value.indices, value.values, value.dense_shape)
    return convert_to_tensor(value, name=f"component_{i}")


def structure_of(element: Any) -> Structure:
    """Return what is known of a normalized element."""
    return mapped(_leaf_of, element)


def _leaf_of(value: Any) -> Leaf:
    if isinstance(value, SparseTensor):
        return Leaf("sparse", value.dtype, value.get_shape().static)
    if hasattr(value, "_variant_tensor"):
        return Leaf("dataset", dtypes.variant, Shape(()), inner=value._structure)
    return Leaf("tensor", value.dtype, value.static_shape)


def components(element: Any) -> list[Tensor]:
    """Return the flat tensors that hold a normalized element."""
    return [_component(v) for v in flatten(element)]


def _component(value: Any) -> Tensor:
    if isinstance(value, SparseTensor):
        return raw.SerializeSparse(  # type: ignore[no-any-return]
            value.indices, value.values, value.dense_shape, out_type=dtypes.variant
        )
    found: Tensor = getattr(value, "_variant_tensor", value)
    return found


def slice_components(element: Any) -> list[Tensor]:
    """Return the flat tensors whose slices hold the slices of a normalized element."""
    return [
        raw.SerializeManySparse(v.indices, v.values, v.dense_shape, out_type=dtypes.variant)
        if isinstance(v, SparseTensor) else _component(v) for v in flatten(element)
    ]  # fmt: skip


def rebuilt(structure: Structure, tensors: Sequence[Tensor]) -> Any:
    """Return the element that flat tensors hold."""
    return pack(structure, [_value(s, t) for s, t in zip(flatten(structure), tensors, strict=True)])


def _value(leaf: Leaf, tensor: Tensor) -> Any:
    if leaf.kind == "tensor":
        tensor.set_shape(leaf.shape)
        return tensor
    if leaf.kind == "dataset":
        from coldframe.tf1.data.dataset import Dataset

        return Dataset(tensor, leaf.inner)
    made = SparseTensor(*raw.DeserializeSparse(tensor, dtype=leaf.dtype))
    if leaf.shape.dims is not None:
        made.indices.set_shape([None, len(leaf.shape.dims)])
        made.dense_shape.set_shape([len(leaf.shape.dims)])
    return made


def attrs_of(structure: Structure) -> dict[str, Any]:
    """Return the attributes ``output_types`` and ``output_shapes``."""
    flat = [leaf.component for leaf in flatten(structure)]
    return {"output_types": [d for d, _ in flat], "output_shapes": [s for _, s in flat]}


def declared(types: Any, shapes: Any = None, classes: Any = None) -> Structure:
    """Return the structure that nested dtypes, shapes and classes declare."""
    kinds = flatten(mapped(as_dtype, types))
    dims = [None] * len(kinds) if shapes is None else flatten_up_to(types, shapes)
    sparse = [None] * len(kinds) if classes is None else flatten_up_to(types, classes)
    leaves = [
        Leaf("sparse" if c is SparseTensor else "tensor", k, as_static(d))
        for k, d, c in zip(kinds, dims, sparse, strict=True)
    ]
    return pack(types, leaves)


def same_kind(a: Structure, b: Structure) -> bool:
    """Whether two structures have the same nesting, dtypes, and shapes that fit."""
    x, y = flatten(a), flatten(b)
    return len(x) == len(y) and all(
        m.kind == n.kind and m.dtype is n.dtype and TensorShape(m.shape).is_compatible_with(TensorShape(n.shape))
        for m, n in zip(x, y, strict=True)
    )


def common(a: Structure, b: Structure) -> Structure:
    """Return what holds for elements of either structure: dimensions that differ are open."""
    return pack(a, [_common(x, y) for x, y in zip(flatten(a), flatten(b), strict=True)])


def _common(a: Leaf, b: Leaf) -> Leaf:
    x, y = a.shape.dims, b.shape.dims
    if x is None or y is None or len(x) != len(y):
        return dataclasses.replace(a, shape=Shape.unknown())
    return dataclasses.replace(a, shape=Shape(tuple(m if m == n else None for m, n in zip(x, y, strict=True))))
