"""Iterators of TF1 programs: nodes that give the next element of a dataset, run after run."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.graph.signatures import signature
from coldframe.tf1.data.structure import Structure, attrs_of, declared, mapped, rebuilt, same_kind
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor, convert_to_tensor
from coldframe.tf1.framework.functions import FuncGraph
from coldframe.tf1.framework.graph import colocate_with, get_default_graph
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.framework.tensor import Operation, Tensor


class Iterator:
    """A place in a dataset. `Dataset.make_initializable_iterator` and its kin make one.

    Args:
        resource: its handle.
        initializer: the operation that goes to the beginning; None where there is none yet.
        structure: of the elements.
    """

    def __init__(self, resource: Tensor, initializer: Operation | None, structure: Structure) -> None:
        self._resource, self._initializer, self._structure = resource, initializer, structure
        with colocate_with(resource):
            self._string_handle: Tensor = raw.IteratorToStringHandle(resource)

    @staticmethod
    def from_structure(
        output_types: Any, output_shapes: Any = None, shared_name: str | None = None, output_classes: Any = None
    ) -> Iterator:
        """Return an iterator without a dataset, for all datasets whose elements have these types and shapes.

        `make_initializer` gives it a dataset.
        """
        structure = declared(output_types, output_shapes, output_classes)
        resource = raw.IteratorV2(shared_name=shared_name or "", container="", **attrs_of(structure))
        return Iterator(resource, None, structure)

    @staticmethod
    def from_string_handle(
        string_handle: Any, output_types: Any, output_shapes: Any = None, output_classes: Any = None
    ) -> Iterator:
        """Return the iterator whose `string_handle` is given, which may be fed: so a run chooses its input."""
        structure = declared(output_types, output_shapes, output_classes)
        handle = convert_to_tensor(string_handle, dtypes.string)
        return Iterator(raw.IteratorFromStringHandleV2(handle, **attrs_of(structure)), None, structure)

    @property
    def initializer(self) -> Operation:
        """The operation that goes to the beginning of the dataset.

        Raises:
            ValueError: the iterator has no dataset of its own, or begins by itself.
        """
        if self._initializer is None:
            raise ValueError("The iterator does not have an initializer. This means it was likely created using "
                             "`tf.data.Dataset.make_one_shot_iterator()`.")  # fmt: skip
        return self._initializer

    def make_initializer(self, dataset: Any, name: str | None = None) -> Operation:
        """Return the operation that goes to the beginning of `dataset`, whose elements must be of the same kind."""
        if not same_kind(self._structure, dataset._structure):
            raise TypeError(f"Expected output types {self.output_types!r} and shapes {self.output_shapes!r} but got "
                            f"{dataset.output_types!r} and {dataset.output_shapes!r}.")  # fmt: skip
        with colocate_with(self._resource):
            return raw.MakeIterator(  # type: ignore[no-any-return]
                dataset._variant_tensor, self._resource, name=name or "make_initializer"
            )

    def get_next(self, name: str | None = None) -> Any:
        """Return the next element, as tensors: each run that needs any of them takes one element.

        At the end `tf.errors.OutOfRangeError` is raised.
        """
        with colocate_with(self._resource):
            made = raw.IteratorGetNext(self._resource, name=name, **attrs_of(self._structure))
        return rebuilt(self._structure, made)

    def get_next_as_optional(self) -> Any:
        """Return the next element as a `tf.data.experimental.Optional`, which has no value at the end."""
        from coldframe.tf1.data.optional import get_next_as_optional

        return get_next_as_optional(self)

    def string_handle(self, name: str | None = None) -> Tensor:
        """Return its name, a string scalar, for `from_string_handle`."""
        if name is None:
            return self._string_handle
        return raw.IteratorToStringHandle(self._resource, name=name)  # type: ignore[no-any-return]

    @property
    def output_types(self) -> Any:
        return types_of(self._structure)

    @property
    def output_shapes(self) -> Any:
        return shapes_of(self._structure)

    @property
    def output_classes(self) -> Any:
        return classes_of(self._structure)

    @property
    def element_spec(self) -> Any:
        return mapped(lambda leaf: leaf.spec, self._structure)


def types_of(structure: Structure) -> Any:
    """Return the dtypes of a structure."""
    return mapped(lambda leaf: leaf.dtype, structure)


def shapes_of(structure: Structure) -> Any:
    """Return the shapes of a structure."""
    return mapped(lambda leaf: TensorShape(leaf.shape), structure)


def classes_of(structure: Structure) -> Any:
    """Return the classes of a structure: `Tensor`, `SparseTensor`."""
    return mapped(lambda leaf: SparseTensor if leaf.kind == "sparse" else Tensor, structure)


def initializable(dataset: Any, shared_name: str | None = None) -> Iterator:
    """Return an iterator over `dataset` whose `initializer` must be run first."""
    with colocate_with(dataset._variant_tensor):
        resource = raw.IteratorV2(shared_name=shared_name or "", container="", **attrs_of(dataset._structure))
        start = raw.MakeIterator(dataset._variant_tensor, resource)
    return Iterator(resource, start, dataset._structure)


def one_shot(dataset: Any) -> Iterator:
    """Return an iterator over `dataset` that begins by itself, and goes to the end once.

    The nodes that make the dataset are copied into a function of the graph.

    Raises:
        ValueError: the dataset depends on a placeholder, a variable or a table.
    """
    variant: Tensor = dataset._variant_tensor
    body = FuncGraph("_make_dataset", get_default_graph())
    for op in _needed(variant):
        copy = op.node.copy()
        copy.controls, copy.device = [], ""
        copy.attrs.pop("_class", None)
        body.adopt(copy)
    made = body.operation(variant.op.name)
    made.outputs = [Tensor(made, 0, variant.known)]
    factory = body.finish(made.outputs)
    with colocate_with(variant):
        resource = raw.OneShotIterator(
            dataset_factory=factory, container="", shared_name="", **attrs_of(dataset._structure)
        )
    return Iterator(resource, None, dataset._structure)


def _needed(variant: Tensor) -> list[Operation]:
    """Return the operations that make a dataset, each behind what it reads."""
    found: dict[Operation, None] = {}

    def visit(root: Operation) -> None:
        stack = [(root, iter(root.inputs))]
        while stack:
            op, inputs = stack[-1]
            ahead = next((t.op for t in inputs if t.op not in found), None)
            if ahead is not None:
                stack.append((ahead, iter(ahead.inputs)))
                continue
            stack.pop()
            if op not in found:
                _check(op)
                found[op] = None

    visit(variant.op)
    return list(found)


def _check(op: Operation) -> None:
    if op.type in ("Placeholder", "PlaceholderV2"):
        reason = "placeholder"
    elif signature(op.type).is_stateful and not any(t.dtype is dtypes.variant for t in op.outputs):
        reason = "stateful node"
    else:
        return
    raise ValueError(
        f"Failed to create a one-shot iterator for a dataset. `Dataset.make_initializable_iterator()` is more likely "
        f"to work: Cannot capture a {reason} (name:{op.name}, type:{op.type}) by value."
    )
