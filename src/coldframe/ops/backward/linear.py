"""Gradient rules of products of matrices and of Einsum, named after the ops."""

from __future__ import annotations

from typing import Any

from coldframe.dtypes import int32
from coldframe.ops import backward as words
from coldframe.ops.backward import cast, conj, filled, matrix_transpose, reduced_shape, shape_of

# --- products of two matrices: which factors, and which of them transposed, by what the op transposed ---
_FIRST = {(0, 0): ("dy", "b", 0, 1), (0, 1): ("dy", "b", 0, 0), (1, 0): ("b", "dy", 0, 1), (1, 1): ("b", "dy", 1, 1)}
_SECOND = {(0, 0): ("a", "dy", 1, 0), (0, 1): ("dy", "a", 1, 0), (1, 0): ("a", "dy", 0, 0), (1, 1): ("dy", "a", 1, 1)}


def _factors(op: Any, attrs: tuple[str, str], a: Any, b: Any, dy: Any) -> list[tuple[Any, Any, bool, bool]]:
    """For each operand the two factors of its gradient, and whether each is transposed."""
    turned = (int(op.get_attr(attrs[0])), int(op.get_attr(attrs[1])))
    named = {"a": a, "b": b, "dy": dy}
    return [(named[p], named[q], bool(s), bool(t)) for p, q, s, t in (_FIRST[turned], _SECOND[turned])]


def matmul(g: Any, op: Any, dy: Any) -> Any:
    a, b = (conj(g, v) for v in op.inputs)
    products = _factors(op, ("transpose_a", "transpose_b"), a, b, dy)
    return [g.MatMul(p, q, transpose_a=s, transpose_b=t) for p, q, s, t in products]


def sparse_matmul(g: Any, op: Any, dy: Any) -> Any:
    """Each factor keeps what the graph says of its sparsity; a gradient counts as sparse behind a ReluGrad."""
    a, b = op.inputs
    sparse = {
        id(a): op.get_attr("a_is_sparse"),
        id(b): op.get_attr("b_is_sparse"),
        id(dy): dy.op.type == "ReluGrad",
    }
    out = []
    for x, (p, q, s, t) in zip(op.inputs, _factors(op, ("transpose_a", "transpose_b"), a, b, dy), strict=True):
        second = matrix_transpose(g, q) if t else q
        product = g.SparseMatMul(
            p, second, transpose_a=s, a_is_sparse=sparse[id(p)], b_is_sparse=sparse[id(q)], name="MatMul"
        )
        out.append(cast(g, product, x.dtype))
    return out


def batch_matmul(g: Any, op: Any, dy: Any) -> Any:
    x, y = op.inputs
    products = _factors(op, ("adj_x", "adj_y"), x, y, dy)
    return [words.matmul(g, p, q, s, t) for p, q, s, t in products]


def batch_matmul_v2(g: Any, op: Any, dy: Any) -> Any:
    """As for BatchMatMul, then summed over the batch dimensions that were broadcast."""
    x, y = op.inputs
    dx, dy = batch_matmul(g, op, dy)
    a, b = x.static_shape.dims, y.static_shape.dims
    if a is not None and b is not None and a[:-2] == b[:-2] and None not in a[:-2]:
        return dx, dy
    x_shape, y_shape = shape_of(g, x), shape_of(g, y)
    x_axes, y_axes = g.BroadcastGradientArgs(x_shape[:-2], y_shape[:-2])
    return g.Reshape(g.Sum(dx, x_axes), x_shape), g.Reshape(g.Sum(dy, y_axes), y_shape)


# --- Einsum -------------------------------------------------------------------------------------------------------
_REST = "..."


def einsum(g: Any, op: Any, dy: Any) -> Any:
    """Einsums of the gradient with the other operand; labels that were summed away are broadcast again."""
    equation = op.get_attr("equation")
    terms, output = (equation.decode() if isinstance(equation, bytes) else equation).split("->")
    if len(op.inputs) == 1:
        return [_restored(g, dy, op.inputs[0], output, terms)]
    labels = terms.split(",")
    if _REST in output:
        labels = [term if _REST in term else term + _REST for term in labels]
    a, b = (conj(g, v) for v in op.inputs)
    da = _operand_gradient(g, dy, b, a, labels[0], labels[1], output)
    db = _operand_gradient(g, dy, a, b, labels[1], labels[0], output)
    return (da, db) if _REST not in output else _einsum_unbroadcast(g, a, b, da, db, labels)


def _operand_gradient(g: Any, dy: Any, other: Any, x: Any, term: str, other_term: str, output: str) -> Any:
    lost = {label for label in term if label not in output + other_term + "."}
    kept = "".join(label for label in term if label not in lost)
    product = g.Einsum([dy, other], equation=f"{output},{other_term}->{kept}")
    return _restored(g, product, x, kept, term) if lost else product


def _restored(g: Any, dy: Any, x: Any, output: str, term: str) -> Any:
    """The gradient of ``term->output``: the labels that it drops are broadcast, repeated ones become diagonals."""
    lost = [label for label in dict.fromkeys(term) if label not in output + "."]
    if not lost:
        return g.Einsum([dy], equation=f"{output}->{term}")
    shape = shape_of(g, x)
    axes = [_axis(term, label) for label in lost]
    plain = len(set(term)) == len(term) and len(set(output)) == len(output)
    if plain and "".join(label for label in term if label not in lost) == output:
        kept = reduced_shape(g, x, g.constant(axes, int32))
        return g.BroadcastTo(g.Reshape(dy, kept), shape)
    tail = shape_of(g, dy)
    wide = g.ConcatV2([g.Pack([shape[axis] for axis in axes], name="stack"), tail], 0, name="concat")
    ones = g.ConcatV2([filled(g, [len(lost)], 1, int32, "ones"), tail], 0, name="concat")
    return g.Einsum([g.BroadcastTo(g.Reshape(dy, ones), wide)], equation=f"{''.join(lost)}{output}->{term}")


def _axis(term: str, label: str) -> int:
    """The first axis of a label, counted from the end where an ellipsis comes before it."""
    before, _, after = term.partition(_REST)
    return before.index(label) if label in before else after.index(label) - len(after)


def _einsum_unbroadcast(g: Any, a: Any, b: Any, da: Any, db: Any, labels: list[str]) -> Any:
    """Sum over the dimensions behind the ellipsis that were broadcast."""
    spans = [_rest_span(term) for term in labels]
    known = [v.static_shape.dims[start:end] if v.static_shape.is_static else None
             for v, (start, end) in zip((a, b), spans, strict=True)]  # fmt: skip
    if known[0] is not None and known[0] == known[1]:
        return da, db
    shapes = [shape_of(g, v) for v in (a, b)]
    axes = g.BroadcastGradientArgs(*(s[start:end] for s, (start, end) in zip(shapes, spans, strict=True)))
    return [
        g.Reshape(g.Sum(d, start + at), shape)
        for d, at, shape, (start, _) in zip((da, db), axes, shapes, spans, strict=True)
    ]


def _rest_span(term: str) -> tuple[int, int | None]:
    """Where the dimensions of the ellipsis begin and end, the end counted from the last dimension."""
    start = term.index(_REST)
    after = len(term) - start - len(_REST)
    return start, -after or None
