"""The notation of shape rules that are one line: ``[n, c] [n] -> [n]``.

Left of the arrow stands one item per input, from the first on (the others are free); right of it one per output::

    ?            anything
    x            a shape; the same name means the same shape
    []           a scalar
    [n, 3, ?]    dimensions: the same letter means the same size, ? any size
    [*b, n, n]   any number of dimensions in front, then two of one size

A list input has one item, which holds for each of its tensors. Where there are more outputs than items, the last item
stands for the rest.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from coldframe.ops.known import Attrs, Dim, Dims, Known, Rule, at_least, merge, merge_dim, with_rank

_ITEM = re.compile(r"\[[^]]*\]|[^\s]+")
Sizes = dict[str, Dim]
Shapes = dict[str, Dims]


@cache
def rule(text: str) -> Rule:
    """Return the rule that `text` describes."""
    left, _, right = text.partition("->")
    ins = [_item(t) for t in _ITEM.findall(left)]
    outs = [_item(t) for t in _ITEM.findall(right)]
    if text.split() == ["x", "->", "x"]:
        return same
    return lambda a, *inputs: _apply(ins, outs, inputs)


def same(a: Attrs, x: Known | list[Known], *others: Any) -> Dims:
    """The output has the shape of the first input."""
    if isinstance(x, list):
        dims: Dims = None
        for v in x:
            dims = merge(dims, v.shape.dims)
        return dims
    return x.shape.dims


class _Item:
    """A name for the whole (or for the front), and the dimensions behind it, None where there is only a name."""

    __slots__ = ("front", "tail")

    def __init__(self, front: str, tail: list[Dim | str] | None) -> None:
        self.front, self.tail = front, tail

    def match(self, dims: Dims, sizes: Sizes, shapes: Shapes) -> None:
        """Learn from the dimensions of an input; raise `GraphError` where they do not fit."""
        tail, front = self.tail, self.front
        if tail is None:
            if front != "?":
                shapes[front] = merge(shapes.get(front), dims)
            return
        if front:
            at_least(dims, len(tail))
            if dims is None:
                return
            cut = len(dims) - len(tail)
            if front != "?":
                shapes[front] = merge(shapes.get(front), dims[:cut])
            dims = dims[cut:]
        for want, d in zip(tail, with_rank(dims, len(tail)), strict=True):
            if isinstance(want, str):
                sizes[want] = merge_dim(sizes.get(want), d)
            else:
                merge_dim(want, d)

    def make(self, sizes: Sizes, shapes: Shapes) -> Dims:
        """Return the dimensions of an output."""
        if self.tail is None:
            return shapes.get(self.front)
        tail = tuple([sizes.get(d) if isinstance(d, str) else d for d in self.tail])
        if not self.front:
            return tail
        front = shapes.get(self.front)
        return None if front is None else front + tail


def _item(text: str) -> _Item:
    if not text.startswith("["):
        return _Item(text, None)
    parts = [p.strip() for p in text[1:-1].split(",") if p.strip()]
    front = ""
    if parts and parts[0].startswith("*"):
        front = parts.pop(0)[1:]
    return _Item(front, [None if p == "?" else int(p) if p.isdigit() else p for p in parts])


def _apply(ins: list[_Item], outs: list[_Item], inputs: tuple[Any, ...]) -> Any:
    sizes: Sizes = {}
    shapes: Shapes = {}
    for item, x in zip(ins, inputs, strict=False):
        for v in x if isinstance(x, list) else (x,):
            item.match(v.shape.dims, sizes, shapes)
    made = [o.make(sizes, shapes) for o in outs]
    return made[0] if len(made) == 1 else made
