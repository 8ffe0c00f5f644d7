"""Gradient rules of tensor lists.

The gradient of a list is a list of the gradients of its elements.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe.dtypes import DType, int32
from coldframe.ops.backward import attrs_of, shape_of, zeros_like


def from_tensor(g: Any, op: Any, dlist: Any) -> Any:
    """Making a list of rows: stack their gradients."""
    rows = op.inputs[0]
    dims = rows.static_shape.dims
    n = -1 if dims is None or dims[0] is None else dims[0]
    if dlist is None:
        dlist = _empty_like(g, op.outputs[0], rows.dtype)
    return g.TensorListStack(dlist, _row_shape(g, rows), element_dtype=rows.dtype, num_elements=n), None


def _empty_like(g: Any, source: Any, dtype: DType) -> Any:
    return g.EmptyTensorList(_element_shape(g, source), -1, element_dtype=dtype)


def _element_shape(g: Any, source: Any) -> Any:
    return g.TensorListElementShape(source, shape_type=int32)


def _row_shape(g: Any, rows: Any) -> Any:
    """The shape of one of the rows of a tensor."""
    return g.Slice(shape_of(g, rows), [1], [-1])


def gathered(g: Any, op: Any, dlist: Any) -> Any:
    """Making a list with rows at indices: gather their gradients."""
    tensor, indices, *others = op.inputs
    drows = g.TensorListGather(dlist, indices, _row_shape(g, tensor), element_dtype=tensor.dtype)
    return drows, None, *(None for _ in others)


def scatter_into_existing_list(g: Any, op: Any, dlist: Any) -> Any:
    """Writing rows: gather their gradients, and pass on zeros in their place."""
    _, tensor, indices = op.inputs
    drows = g.TensorListGather(dlist, indices, _row_shape(g, tensor), element_dtype=tensor.dtype)
    return g.TensorListScatterIntoExistingList(dlist, zeros_like(g, tensor), indices), drows, None


def split(g: Any, op: Any, dlist: Any) -> Any:
    """Making a list of pieces: join their gradients."""
    tensor, _, lengths = op.inputs
    shape = g.ConcatV2([np.array([-1], np.int32), _row_shape(g, tensor)], 0, name="concat")
    return g.TensorListConcatV2(dlist, shape, lengths, element_dtype=tensor.dtype)[0], None, None


def get_item(g: Any, op: Any, ditem: Any) -> Any:
    """Reading an element: a list with its gradient and nothing else."""
    source, index, _ = op.inputs
    places = g.TensorListReserve(_element_shape(g, source), g.TensorListLength(source), element_dtype=ditem.dtype)
    return g.TensorListSetItem(places, index, ditem), None, None


def set_item(g: Any, op: Any, dlist: Any) -> Any:
    """Writing an element: read its gradient, and pass on zeros in its place."""
    source, index, item = op.inputs
    dsource = g.TensorListSetItem(dlist, index, zeros_like(g, item))
    if op.get_attr("resize_if_index_out_of_bounds"):
        dsource = g.TensorListResize(dsource, g.TensorListLength(source))
    return dsource, None, g.TensorListGetItem(dlist, index, shape_of(g, item), element_dtype=item.dtype)


def push_back(g: Any, op: Any, dlist: Any) -> Any:
    """Adding an element: take its gradient off."""
    return g.TensorListPopBack(dlist, shape_of(g, op.inputs[1]), **attrs_of(op, "element_dtype"))


def pop_back(g: Any, op: Any, dlist: Any, ditem: Any) -> Any:
    """Taking an element off: add its gradient."""
    if ditem is None:
        ditem = zeros_like(g, op.outputs[1])
    if dlist is None:
        dlist = _empty_like(g, op.outputs[0], ditem.dtype)
    return g.TensorListPushBack(dlist, ditem), None


def resize(g: Any, op: Any, dlist: Any) -> Any:
    """Changing the length: change it back."""
    return g.TensorListResize(dlist, g.TensorListLength(op.inputs[0])), None


def stack(g: Any, op: Any, drows: Any) -> Any:
    """Stacking elements: take their gradients apart."""
    dims = drows.static_shape.dims
    shape = -1 if dims is None else [-1 if d is None else d for d in dims[1:]]
    return g.TensorListFromTensor(drows, np.array(shape, np.int32)), None


def gather(g: Any, op: Any, drows: Any) -> Any:
    """Reading elements: a list with their gradients and nothing else."""
    source, indices, _ = op.inputs
    places = g.TensorListReserve(_element_shape(g, source), g.TensorListLength(source), element_dtype=drows.dtype)
    return g.TensorListScatterIntoExistingList(places, drows, indices), None, None


def cut(g: Any, op: Any, drows: Any, _: Any) -> Any:
    """Joining elements: cut their gradients up."""
    source, *others = op.inputs
    dlist = g.TensorListSplit(drows, _element_shape(g, source), op.outputs[1])
    return dlist, *(None for _ in others)
