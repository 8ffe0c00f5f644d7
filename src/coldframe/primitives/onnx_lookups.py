"""Products of rows that are looked up, of which there are more than the table has: multiplied first, then looked up.

Networks on graphs join, for each edge, what is known of it and of the nodes at its ends, and multiply that with a
matrix. The rows of a product are the products of the rows, and a matrix is taken apart as the columns are::

    Concat(edges, Gather(nodes, i), Gather(nodes, j)) W + b
        = edges W1 + (Gather(nodes W2 + b, i) + Gather(nodes W3, j))

So nodes are multiplied once, not once for each of their edges, and what was joined is never written. A table, or a part
of the rows, that is itself joined is taken apart, too; what several products have in common (networks that go over a
graph again and again hand on what they began with) is computed once.

The sums are the same, in another order: results differ from those of one product as those of two libraries do, in
which blocks of other sizes are added up. Indices are checked by the same lookups as before.

A table may be larger than what is looked up in it; then nothing is changed. Where sizes are open, those decide with
which the model is compiled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

import numpy as np

from coldframe.records import dataclass

Reads = Callable[[Any], Iterable[str]]

_MOST: Final = 12  # parts of a product
_ROWS: Final = frozenset(
    ("MatMul", "Gemm", "Relu", "Sigmoid", "Tanh", "Elu", "LeakyRelu", "Add", "Sub", "Mul", "Identity")
)
"""Nodes that make as many rows as their first input has, where both have two dimensions."""


@dataclass(frozen=True, slots=True)
class Term:
    """Some rows, times rows `first` to `last` of a matrix."""

    rows: str
    matrix: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Product:
    """A product to be taken apart.

    Attributes:
        out: the result.
        direct: what is multiplied as it is.
        looked_up: the terms of tables, and the index into each.
        bias: what is added to all rows; empty where nothing is.
    """

    out: str
    direct: tuple[Term, ...]
    looked_up: tuple[tuple[tuple[Term, ...], str], ...]
    bias: str

    def terms(self) -> list[Term]:
        """Return all of them."""
        return [*self.direct, *(t for terms, _ in self.looked_up for t in terms)]


def regrouped(xp: Any, nodes: Sequence[Any], results: Collection[str], reads: Reads) -> list[Any]:
    """Return `nodes` with products of looked-up rows multiplied first; some may not be needed any more.

    Args:
        xp: the builder, whose `facts` tell dtypes and sizes, and `rows` how many rows inputs have for now.
        nodes: of a model, in order.
        results: what it returns.
        reads: returns the names that a node reads.
    """
    found = _Finder(xp, nodes, results, reads).products()
    if not found:
        return list(nodes)
    shared = Counter(t for p in found.values() for t in p.terms())
    writer = _Writer(xp, {t for t, n in shared.items() if n > 1})
    made: list[Any] = []
    for n in nodes:
        product = found.get(n.output[0])
        made.extend([n] if product is None else writer.write(product))
    return made


class _Finder:
    """Finds products."""

    def __init__(self, xp: Any, nodes: Sequence[Any], results: Collection[str], reads: Reads) -> None:
        self._xp, self._nodes = xp, nodes
        self._made = {o: n for n in nodes for o in n.output}
        self._rows: dict[str, int | None] = dict(xp.rows)
        self._readers: dict[str, list[Any]] = {name: [None] for name in results}
        for n in nodes:
            for name in reads(n):
                self._readers.setdefault(name, []).append(n)

    def products(self) -> dict[str, Product]:
        """Return what is to be taken apart, by the output of its last node."""
        found = [p for n in self._nodes if n.op_type == "MatMul" and (p := self._product(n)) is not None]
        return {p.out: p for p in found}

    def _product(self, n: Any) -> Product | None:
        x, matrix = n.input
        w = self._constant(matrix)
        if w is None or w.ndim != 2 or not self._is_table(x):
            return None
        direct: list[Term] = []
        looked_up: list[tuple[tuple[Term, ...], str]] = []
        for t in self._parts(Term(x, matrix, 0, len(w))):
            table, index = self._lookup(t.rows)
            if not table:
                direct.append(t)
            else:
                looked_up.append((tuple(self._parts(Term(table, matrix, t.first, t.last))), index))
        terms = [*direct, *(t for of, _ in looked_up for t in of)]
        narrow = any(2 * (t.last - t.first) < w.shape[1] for t in terms)  # adding up takes longer
        if not looked_up or narrow or len(terms) > _MOST:
            return None
        out, bias = self._biased(n.output[0], w.shape[1])
        return Product(out, tuple(direct), tuple(looked_up), bias)

    def _parts(self, t: Term) -> list[Term]:
        """Take apart what is joined."""
        n = self._made.get(t.rows)
        if n is None or n.op_type != "Concat" or _axis(n) not in (1, -1):
            return [t]
        widths = [self._dims(i)[1] if self._is_table(i) else None for i in n.input]
        if None in widths or sum(w for w in widths if w is not None) != t.last - t.first:
            return [t]
        parts, at = [], t.first
        for name, width in zip(n.input, widths, strict=True):
            assert width is not None
            parts += self._parts(Term(name, t.matrix, at, at + width))
            at += width
        return parts

    def _lookup(self, name: str) -> tuple[str, str]:
        """Return the table and the index of a lookup of at least as many rows as the table has; else nothing."""
        n = self._made.get(name)
        if n is None or n.op_type != "Gather" or _axis(n) != 0:
            return "", ""
        table, index = n.input
        if self._constant(table) is not None or not self._is_table(table) or len(self._dims(index)) != 1:
            return "", ""
        have, take = self._count(table), self._count(index)
        return (table, index) if have is not None and take is not None and have <= take else ("", "")

    def _biased(self, out: str, width: int) -> tuple[str, str]:
        """Return what a product becomes where something is added to each of its rows, and what that is."""
        readers = self._readers.get(out, [])
        if len(readers) != 1 or readers[0] is None or readers[0].op_type != "Add":
            return out, ""
        (other,) = [i for i in readers[0].input if i != out] or [""]
        b = self._constant(other)
        return (readers[0].output[0], other) if b is not None and b.shape == (width,) else (out, "")

    def _count(self, name: str) -> int | None:
        """Return how many rows a tensor has, with the sizes that inputs have now."""
        if name not in self._rows:
            self._rows[name] = None  # where it is asked for again meanwhile
            self._rows[name] = self._counted(name)
        return self._rows[name]

    def _counted(self, name: str) -> int | None:
        dims, n = self._dims(name), self._made.get(name)
        if not dims or dims[0] is not None or n is None:
            return dims[0] if dims else None
        if n.op_type == "Gather" and _axis(n) == 0 and len(self._dims(n.input[1])) == 1:
            return self._count(n.input[1])
        if len(dims) == 2 and (n.op_type in _ROWS or (n.op_type == "Concat" and _axis(n) in (1, -1))):
            same = [i for i in n.input if len(self._dims(i)) == 2 and self._constant(i) is None]
            return self._count(same[0]) if same else None
        if n.op_type in ("Identity", "Cast"):
            return self._count(n.input[0])
        return None

    def _constant(self, name: str) -> Any:
        return self._xp.inline.get(name, self._xp.weights.get(name))

    def _dims(self, name: str) -> tuple[int | None, ...]:
        a = self._constant(name)
        return self._xp.facts[name][1] if a is None and name in self._xp.facts else a.shape if a is not None else ()

    def _is_table(self, name: str) -> bool:
        a = self._constant(name)
        kind = a.dtype if a is not None else self._xp.facts[name][0].numpy if name in self._xp.facts else None
        return kind == np.float32 and len(self._dims(name)) == 2


class _Writer:
    """Writes products. What is `shared` among them is multiplied first, and once."""

    def __init__(self, xp: Any, shared: Collection[Term]) -> None:
        self._xp, self._shared = xp, shared
        self._known: dict[tuple[tuple[Term, ...], str], Any] = {}
        self._slices: dict[Term, Any] = {}

    def write(self, p: Product) -> list[Any]:
        """Return the nodes of a product."""
        xp = self._xp
        outer, xp.nodes = xp.nodes, []
        try:
            common = [t for t in p.direct if t in self._shared]
            own = [t for t in p.direct if t not in self._shared]
            bias = self._tensor(p.bias) if p.bias else None
            sums = self._chain(common, bias) if common else None
            for terms, index in p.looked_up:
                of = self._chain(sorted(terms, key=lambda t: t not in self._shared), None if common else bias)
                bias = bias if common else None
                at = self._tensor(index)
                found = xp.node("Gather", [of, at], dims=(at.dims[0], of.dims[1]), axis=0)
                sums = found if sums is None else xp.node("Add", [found, sums], dims=found.dims)
            for t in own:
                sums = self._times(t, sums)
            nodes: list[Any] = xp.nodes
            nodes[-1].output[0] = p.out
            return nodes
        finally:
            xp.nodes = outer

    def _chain(self, terms: Sequence[Term], start: Any) -> Any:
        """Return the sum of terms and `start`."""
        value = start
        for k, t in enumerate(terms):
            key = tuple(terms[: k + 1]), start.name if start is not None else ""
            if key not in self._known:
                self._known[key] = self._times(t, value)
            value = self._known[key]
        return value

    def _times(self, t: Term, start: Any) -> Any:
        """Return a term, added to `start`."""
        xp, x, w = self._xp, self._tensor(t.rows), self._tensor(t.matrix)
        part = self._slices.setdefault(Term("", t.matrix, t.first, t.last), xp.constant(w.const[t.first : t.last]))
        dims = (x.dims[0], part.dims[1])
        if start is None:
            return xp.node("MatMul", [x, part], dims=dims)
        return xp.node("Gemm", [x, part, start], dims=dims)

    def _tensor(self, name: str) -> Any:
        """Return the tensor of a name."""
        xp = self._xp
        known = xp.inline.get(name, xp.weights.get(name))
        value = xp.constant(np.zeros(0, np.float32) if known is None else known)
        value.name = name
        if known is None:
            value.const, (value.dtype, value.dims) = None, xp.facts[name]
        return value


def _axis(n: Any) -> int:
    """Return the axis of a node."""
    return next((int(a.i) for a in n.attribute if a.name == "axis"), 0)
