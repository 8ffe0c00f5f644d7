"""Einstein summation, written as one matrix product.

Two operands are brought to ``[batch..., M, K]`` and ``[batch..., K, N]``: what only one operand has is summed away,
repeated labels take the diagonal, and the groups of labels are merged by reshapes. Batch labels stay apart, since the
matrix product broadcasts them, which an ellipsis needs. ONNX Runtime then sees a MatMul whose weights it can pack.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from coldframe.ops import inference_math
from coldframe.ops.backward import linear as back
from coldframe.ops.linear import known
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Equation:
    """An equation for operands of known ranks. Dimensions of an ellipsis are labelled ``.1``, ``.2`` from the right."""

    terms: tuple[Labels, ...]
    output: Labels


@functools.lru_cache(maxsize=1024)
def parse(equation: str, ranks: tuple[int, ...]) -> Equation:
    """Return `equation` with its ellipses spelled out for operands of `ranks`.

    Raises:
        ExecutionError: the equation is malformed, or does not fit the operands.
    """
    terms, arrow, out = equation.partition("->")
    inputs = terms.split(",")
    if not arrow or "->" in out or "," in out:
        raise refuse("einsum equation", expected="inputs->output", found=equation)
    if len(inputs) != len(ranks):
        raise refuse(f"einsum equation `{equation}`", expected=f"{len(ranks)} inputs", found=len(inputs))
    spelled = tuple(_spell(equation, t, r) for t, r in zip(inputs, ranks, strict=True))
    wide = max((sum(label[0] == "." for label in t) for t in spelled), default=0)
    named = [label for t in spelled for label in t]
    if wide and "..." not in out:
        raise refuse(f"einsum equation `{equation}`", expected="an ellipsis in the output as in the inputs")
    output = _spell(equation, out, len(out.replace("...", "")) + wide)
    strange = [label for label in output if label not in named]
    if strange or ("..." in out and "..." not in terms):
        raise refuse(f"einsum equation `{equation}`", expected="labels of the inputs in the output", found=strange)
    return Equation(spelled, output)


def _spell(equation: str, term: str, rank: int) -> Labels:
    head, dots, tail = term.partition("...")
    wide = rank - len(head) - len(tail)
    if "." in head or "." in tail or wide < 0 or (wide and not dots):
        raise refuse(f"term `{term}` of einsum equation `{equation}`", expected=f"{rank} dimensions")
    return (*head, *(f".{i}" for i in range(wide, 0, -1)), *tail)


@op(
    "Einsum",
    shape=inference_math.einsum,
    gradient=back.einsum,
    lenient="sizes of one that only broadcast, where sizes are open when compiling",
    heavy=True,
)
def einsum(xp: Any, inputs: list[Any], *, equation: str) -> Any:
    """Einstein summation of one or two tensors."""
    if len(inputs) not in (1, 2):
        raise refuse("einsum takes one or two tensors", found=len(inputs))
    eq = parse(equation, tuple(xp.rank(x) for x in inputs))
    _check_sizes(xp, equation, eq, inputs)
    singles = [_diagonal(xp, x, term) for x, term in zip(inputs, eq.terms, strict=True)]
    output = tuple(dict.fromkeys(eq.output))
    if len(singles) == 1:
        x, labels = _keep(xp, *singles[0], set(output))
    else:
        (x, left), (y, right) = singles
        x, left = _keep(xp, x, left, {*output, *right})
        y, right = _keep(xp, y, right, {*output, *left})
        x, labels = _pair(xp, x, left, y, right, output)
    return _inflate(xp, _arrange(xp, x, labels, output), output, eq.output)


def _check_sizes(xp: Any, equation: str, eq: Equation, inputs: Sequence[Any]) -> None:
    sizes: dict[str, int] = {}
    for x, term in zip(inputs, eq.terms, strict=True):
        for i, label in enumerate(term):
            d = xp.dim(x, i)
            if not known(d) or (label[0] == "." and d == 1):
                continue
            if sizes.setdefault(label, d) != d:
                raise refuse(f"label `{label}` of einsum equation `{equation}`", expected=sizes[label], found=d)


def _eye(xp: Any, n: Any, at: tuple[int, int], rank: int) -> Any:
    """The mask, true where the coordinates `at` two axes of a tensor of `rank` are equal."""
    line = xp.arange(0, n, 1)
    rows, columns = ([-1 if i == a else 1 for i in range(rank)] for a in at)
    return xp.equal(xp.reshape(line, rows), xp.reshape(line, columns))


def _diagonal(xp: Any, x: Any, labels: Labels) -> tuple[Any, Labels]:
    """Take the diagonal of axes that share a label."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            mask = _eye(xp, xp.dim(x, i), (i, j), len(labels))
            x = xp.sum(xp.where(mask, x, xp.zeros_like(x)), axis=[j])
            labels = labels[:j] + labels[j + 1 :]
    return x, labels


def _keep(xp: Any, x: Any, labels: Labels, wanted: set[str]) -> tuple[Any, Labels]:
    """Sum over the labels that nobody else wants."""
    gone = [i for i, label in enumerate(labels) if label not in wanted]
    return (xp.sum(x, axis=gone), tuple(label for label in labels if label in wanted)) if gone else (x, labels)


def _arrange(xp: Any, x: Any, labels: Labels, wanted: Labels) -> Any:
    return x if labels == wanted else xp.transpose(x, [labels.index(label) for label in wanted])


def _pair(xp: Any, x: Any, left: Labels, y: Any, right: Labels, output: Labels) -> tuple[Any, Labels]:
    """Contract two operands without repeated labels; return the result and its labels."""
    batch = tuple(label for label in output if label in left and label in right)
    summed = tuple(label for label in left if label in right and label not in output)
    m, n = (tuple(label for label in output if label in own and label not in batch) for own in (left, right))
    if batch + m + n != output == batch + n + m:
        return _pair_in_order(xp, (y, right, n), (x, left, m), batch, summed)
    return _pair_in_order(xp, (x, left, m), (y, right, n), batch, summed)


_Side = tuple[Any, Labels, Labels]


def _pair_in_order(xp: Any, first: _Side, second: _Side, batch: Labels, summed: Labels) -> tuple[Any, Labels]:
    (x, left, m), (y, right, n) = first, second
    if not summed:
        x = xp.expand_dims(_arrange(xp, x, left, batch + m), _tail(len(batch + m), len(n)))
        y = xp.expand_dims(_arrange(xp, y, right, batch + n), _tail(len(batch), len(m)))
        return xp.multiply(x, y), batch + m + n
    x, y = _arrange(xp, x, left, batch + m + summed), _arrange(xp, y, right, batch + summed + n)
    b, apart = len(batch), len(m) if not batch and m else 0  # without a batch, many rows can meet a single matrix
    rows = [xp.dim(x, b + i) for i in range(apart, len(m))]
    columns = [xp.dim(y, xp.rank(y) - len(n) + i) for i in range(len(n))]
    x = _merged(xp, x, b + len(m), len(summed))
    x = x if apart else _merged(xp, x, b, len(m))
    y = _merged(xp, _merged(xp, y, b, len(summed)), b + 1, len(n))
    out = xp.matmul(x, y)
    if len(rows) != 1 - bool(apart) or len(n) != 1:
        out = xp.reshape(out, [*(xp.dim(out, i) for i in range(b + apart)), *rows, *columns])
    return out, batch + m + n


def _tail(start: int, count: int) -> list[int]:
    return list(range(start, start + count))


def _merged(xp: Any, x: Any, start: int, count: int) -> Any:
    """Merge `count` axes from `start` into one; none becomes one of size 1."""
    if count == 1:
        return x
    if count == 0:
        return xp.expand_dims(x, [start])
    sizes = [xp.dim(x, i) for i in range(xp.rank(x))]
    return xp.reshape(x, [*sizes[:start], _product(xp, sizes[start : start + count]), *sizes[start + count :]])


def _product(xp: Any, sizes: Sequence[Any]) -> Any:
    return functools.reduce(lambda p, q: p * q if known(p, q) else xp.multiply(p, q), sizes)


def _inflate(xp: Any, x: Any, labels: Labels, wanted: Labels) -> Any:
    """Lay `x` on the diagonal of axes that share a label in the output."""
    for at, label in enumerate(wanted):
        first = wanted.index(label)
        if first == at:
            continue
        labels = (*labels[:at], label, *labels[at:])
        n = xp.dim(x, first)
        x = xp.expand_dims(x, [at])
        mask = _eye(xp, n, (first, at), len(labels))
        x = xp.where(mask, x, xp.zeros_like(x))
    return x
