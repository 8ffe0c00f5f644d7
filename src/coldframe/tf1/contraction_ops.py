"""Products over chosen axes: `tensordot` and `einsum`, with TF1's Python arguments."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import matmul, range
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.index_ops import gather, where
from coldframe.tf1.reduce_ops import reduce_prod
from coldframe.tf1.shape_ops import concat, rank, reshape, shape, stack, transpose


# --- tensordot ----------------------------------------------------------------------------------------------------
def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Any:
    """Return the product of `a` and `b`, summed over pairs of axes.

    Args:
        axes: how many of the last axes of `a` meet the first of `b`; or two lists of axes, or a tensor ``[2, n]``.
    """
    with name_scope(name, "Tensordot", [a, b, axes]) as scope:
        a, b = convert_to_tensor(a, name="a"), convert_to_tensor(b, name="b")
        a_axes, b_axes = _contracted(a, axes)
        left, a_free, a_dims = _as_matrix(a, a_axes, False)
        right, b_free, b_dims = _as_matrix(b, b_axes, True)
        product = matmul(left, right)
        if isinstance(a_free, list) and isinstance(b_free, list):
            dims = a_free + b_free
            return product if product.static_shape.dims == tuple(dims) else reshape(product, dims, name=scope)
        a_free, b_free = convert_to_tensor(a_free, dtypes.int32), convert_to_tensor(b_free, dtypes.int32)
        result = reshape(product, concat([a_free, b_free], 0), name=scope)
        if a_dims is not None and b_dims is not None:
            result.set_shape(a_dims + b_dims)
        return result


def _contracted(a: Tensor, axes: Any) -> tuple[Any, Any]:
    n = a.static_shape.rank
    if hasattr(axes, "__index__"):
        if axes < 0 or (n is not None and axes > n):
            raise ValueError(f"`axes` must be from 0 to the number of dimensions of {a}. Received {axes}.")
        if n is not None:
            return list(np.arange(n - axes, n).tolist()), list(np.arange(axes).tolist())
        at = rank(a)
        return range(at - axes, at, dtype=dtypes.int32), range(axes, dtype=dtypes.int32)
    if not isinstance(axes, (list, tuple)):
        axes = convert_to_tensor(axes, dtypes.int32, name="axes")
        return axes[0], axes[1]
    if len(axes) != 2:
        raise ValueError(f"`axes` must be an integer or have length 2. Received {axes}.")
    left, right = ([x] if hasattr(x, "__index__") else x for x in axes)
    if len(left) != len(right):
        raise ValueError(f"Different number of contraction axes `a` and `b`, {len(left)} != {len(right)}.")
    return left, right


def _as_matrix(a: Tensor, axes: Any, flipped: bool) -> tuple[Tensor, Any, list[int | None] | None]:
    """Return `a` as a matrix: the axes to sum over last (first if `flipped`), its free dimensions, the known ones."""
    dims = a.static_shape.dims
    if dims is None or not isinstance(axes, (list, tuple)):
        return *_open_matrix(a, axes, None, flipped), None
    axes = [i if i >= 0 else i + len(dims) for i in axes]
    free = [i for i in np.arange(len(dims)).tolist() if i not in axes]
    if not a.static_shape.is_static:
        return *_open_matrix(a, axes, free, flipped), [dims[i] for i in free]
    sizes = [math.prod(dims[i] for i in part) for part in (free, axes)]  # type: ignore[misc]
    perm = axes + free if flipped else free + axes
    new_shape = sizes[::-1] if flipped else sizes
    if perm != sorted(perm):
        a = transpose(a, perm)
    if a.static_shape.dims != tuple(new_shape):
        a = reshape(a, new_shape)
    return a, [dims[i] for i in free], [dims[i] for i in free]


def _open_matrix(a: Tensor, axes: Any, free: Any, flipped: bool) -> tuple[Tensor, Tensor]:
    if free is not None:
        axes = convert_to_tensor(axes, dtypes.int32, name="axes")
        free = convert_to_tensor(free, dtypes.int32, name="free")
        sizes = shape(a)
    else:
        sizes = shape(a)
        n = rank(a)
        axes = convert_to_tensor(axes, dtypes.int32, name="axes")
        axes = where(axes >= 0, axes, axes + n)
        free, _ = raw.ListDiff(range(n), axes, out_idx=dtypes.int32)
    free_dims, axes_dims = gather(sizes, free), gather(sizes, axes)
    rows, columns = reduce_prod(free_dims), reduce_prod(axes_dims)
    perm = concat([axes, free] if flipped else [free, axes], 0)
    new_shape = stack([columns, rows] if flipped else [rows, columns])
    return reshape(transpose(a, perm), new_shape), free_dims


# --- einsum -------------------------------------------------------------------------------------------------------
def einsum(equation: str, *inputs: Any, **kwargs: Any) -> Any:
    """Return the sum of products that `equation` describes, e.g. ``einsum("ij,jk->ik", a, b)``.

    Three and more inputs are contracted in pairs, the cheapest first.
    """
    name = kwargs.pop("name", None)
    kwargs.pop("optimize", None)
    if kwargs:
        raise TypeError(f"Invalid keyword arguments for einsum: {', '.join(kwargs)}. Valid arguments: name, optimize.")
    with name_scope(name, "einsum", [equation, *inputs]):
        tensors = list(inputs)
        terms, output = _parse(equation, len(tensors))
        if len(tensors) <= 2:
            return raw.Einsum(tensors, equation=f"{','.join(terms)}->{output}")
        return _in_pairs([convert_to_tensor(t) for t in tensors], terms, output)


def _parse(equation: str, count: int) -> tuple[list[str], str]:
    text = equation.replace(" ", "")
    if not re.fullmatch(r"[a-zA-Z,.]*(->[a-zA-Z.]*)?", text) or "." in text.replace("...", ""):
        raise ValueError(f"Subscripts have incorrect format: {equation}")
    left, arrow, output = text.partition("->")
    terms = left.split(",")
    if len(terms) != count:
        raise ValueError(f'Got {count} inputs for equation "{equation}", expecting {len(terms)}')
    if not arrow:
        labels = left.replace("...", "").replace(",", "")
        once = "".join(sorted(c for c in set(labels) if labels.count(c) == 1))
        output = ("..." if "..." in left else "") + once
    plain = output.replace("...", "")
    if len(set(plain)) != len(plain):
        raise ValueError(f"Output subscripts contain a label appearing more than once: {equation}")
    missing = set(plain) - set(left)
    if missing:
        raise ValueError(f"Output subscripts contain the label {min(missing)} not present in the input subscripts.")
    return terms, output


def _in_pairs(tensors: list[Tensor], terms: list[str], output: str) -> Any:
    while len(tensors) > 1:
        i, j = _cheapest(tensors, terms, output)
        y, x = tensors.pop(j), tensors.pop(i)
        ty, tx = terms.pop(j), terms.pop(i)
        if not tensors:
            kept = output
        else:
            needed = set("".join(terms) + output)
            kept = "".join(dict.fromkeys(c for c in tx + ty if c in needed and c != "."))
            kept = ("..." if "..." in tx + ty else "") + kept
        tensors.append(raw.Einsum([x, y], equation=f"{tx},{ty}->{kept}"))
        terms.append(kept)
    return tensors[0]


def _cheapest(tensors: list[Tensor], terms: list[str], output: str) -> tuple[int, int]:
    """Return the pair whose product has the fewest elements beyond its factors'; open dimensions count as 1."""
    sizes: dict[str, int] = {}
    for t, term in zip(tensors, terms, strict=True):
        dims = t.static_shape.dims
        if dims is not None and "." not in term:
            for label, dim in zip(term, dims, strict=True):
                sizes[label] = max(sizes.get(label, 1), dim or 1)

    def size(labels: Any) -> int:
        return math.prod(sizes.get(c, 1) for c in labels)

    def cost(pair: tuple[int, int]) -> int:
        i, j = pair
        needed = set(output).union(*(t for k, t in enumerate(terms) if k not in pair))
        kept = (set(terms[i]) | set(terms[j])) & needed
        return size(kept) - size(set(terms[i])) - size(set(terms[j]))

    n = np.arange(len(tensors)).tolist()
    return min(((i, j) for i in n for j in n if i < j), key=cost)


__all__ = [
    "einsum", "tensordot",
]  # fmt: skip
