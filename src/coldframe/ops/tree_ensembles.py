"""Ensembles of decision trees: TreeEnsemble messages, and all their nodes in columns, by which examples go to leaves.

::

    trees {nodes {bucketized_split {feature_id dimension_id threshold left_id right_id} metadata {original_leaf}}
           nodes {leaf {scalar | vector}} ...}
    tree_weights

An example goes left where its bucket is at most the threshold (``bucketized_split``) or equals the value
(``categorical_split``). The ids of nodes come from a file: children are nodes of the tree, and of one parent, so that
every walk from a root ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.errors import CorruptError
from coldframe.formats import messages
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Array = npt.NDArray[Any]
LEAF, BUCKETS, CATEGORY = range(3)
_KINDS: Final = {"leaf": LEAF, "bucketized_split": BUCKETS, "categorical_split": CATEGORY}
_AT_ONCE: Final = 1 << 20  # places of examples in trees


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """The nodes of all trees, one after the other; children are numbered in that order.

    Attributes:
        roots: the first node of each tree, int64 [trees].
        weights: of the trees, float32 [trees].
        kind, feature, dimension, threshold, left, right: int64 [nodes]; zero where a leaf has none.
        starts: where the values of a node begin, int64 [nodes + 1]. Of splits they are those before the split.
        values: float32.
        height: how many steps lead at most from a root to a leaf.
    """

    roots: Array
    weights: Array
    kind: Array
    feature: Array
    dimension: Array
    threshold: Array
    left: Array
    right: Array
    starts: Array
    values: Array
    height: int

    def of(self, at: Array, width: int) -> Array:
        """Return the values of nodes, float32 [*at.shape, width].

        Raises:
            ExecutionError: nodes have another number of values.
        """
        found = self.starts[at + 1] - self.starts[at]
        other = np.flatnonzero(found != width)
        if other.size:
            where, count = self.place(int(at.flat[other[0]])), int(found.flat[other[0]])
            raise refuse(f"the number of values of {where}", expected=f"{width}, one per logit", found=count)
        return self.values[self.starts[at][..., None] + np.arange(width)]

    def place(self, node: int) -> str:
        """Return what errors call a node."""
        tree = int(np.searchsorted(self.roots, node, side="right")) - 1
        return f"node {node - int(self.roots[tree])} of tree {tree}"


class Ensemble:
    """A TreeEnsemble that does not change, and its stamp."""

    def __init__(self, message: Any, stamp: int) -> None:
        self.message, self.stamp = message, stamp
        self._nodes: Nodes | None = None

    @classmethod
    def parse(cls, data: bytes, stamp: int) -> Ensemble:
        """Return the ensemble that bytes of a TreeEnsemble describe; what its nodes say is looked at when it is used.

        Raises:
            ExecutionError: they are no such message.
        """
        try:
            return cls(
                messages.parse(_message_class("TreeEnsemble"), data, where="in `tree_ensemble_serialized`"), stamp
            )
        except CorruptError as e:
            raise refuse("the bytes of a tree ensemble do not parse", found=f"{len(data)} bytes") from e

    def serialized(self) -> bytes:
        """Return the bytes of the message."""
        return messages.serialize(self.message, where="for a tree ensemble")

    @property
    def nodes(self) -> Nodes:
        """The nodes in columns.

        Raises:
            ExecutionError: nodes are of a kind that is not known, or are not trees.
        """
        if self._nodes is None:
            self._nodes = _columns(self.message)
        return self._nodes


def debug_output(features: Sequence[int], logits: Sequence[float], leaves: Sequence[int]) -> bytes:
    """Return the bytes of a DebugOutput."""
    made = _message_class("DebugOutput")(feature_ids=features, logits_path=logits, leaf_node_ids=leaves)
    return messages.serialize(made, where="for an example")


def _message_class(name: str) -> Any:
    return messages.message_class(f"tensorflow.boosted_trees.{name}")


def _columns(message: Any) -> Nodes:
    trees = message.trees
    if len(message.tree_weights) != len(trees):
        raise refuse("the number of tree weights", expected=len(trees), found=len(message.tree_weights))
    rows: list[tuple[int, ...]] = []
    values: list[float] = []
    starts, roots, height = [0], [], 0
    for t, tree in enumerate(trees):
        roots.append(len(rows))
        own = [_row(node, f"node {k} of tree {t}") for k, node in enumerate(tree.nodes)]
        height = max(height, _height(own, t))
        base = len(rows)
        rows += [row if row[0] == LEAF else (*row[:4], row[4] + base, row[5] + base) for row in own]
        for node in tree.nodes:
            values += _values(node)
            starts.append(len(values))
    kind, feature, dimension, threshold, left, right = np.array(rows, np.int64).reshape(len(rows), 6).T
    weights = np.array(message.tree_weights, np.float32)
    ends = np.array(starts, np.int64)
    return Nodes(
        np.array(roots, np.int64), weights, kind, feature, dimension, threshold, left, right, ends,
        np.array(values, np.float32), height,
    )  # fmt: skip


def _row(node: Any, where: str) -> tuple[int, ...]:
    """Kind, feature, dimension, threshold and children of a node."""
    name = node.WhichOneof("node")
    kind = _KINDS.get(name)
    if kind is None:
        found = name or "nothing"
        raise refuse(f"the kind of {where}", expected="a leaf, a bucketized or a categorical split", found=found)
    if kind == LEAF:
        return kind, 0, 0, 0, 0, 0
    split = getattr(node, name)
    against = split.threshold if kind == BUCKETS else split.value
    if split.feature_id < 0 or split.dimension_id < 0:
        found = f"{split.feature_id} and {split.dimension_id}"
        raise refuse(f"feature and dimension of {where}", expected="0 or more", found=found)
    return kind, split.feature_id, split.dimension_id, against, split.left_id, split.right_id


def _height(rows: list[tuple[int, ...]], tree: int) -> int:
    """How many steps lead from the root of a tree down to its lowest leaf."""
    if not rows:
        raise refuse(f"tree {tree} has no nodes", expected="1 or more", found=0)
    parent: dict[int, int] = {0: -1}
    for k, row in enumerate(rows):
        for child in row[4:] if row[0] != LEAF else ():
            where = f"node {k} of tree {tree}"
            if not 0 <= child < len(rows):
                raise refuse(f"a child of {where}", expected=f"0 to {len(rows) - 1}", found=child)
            if child in parent:
                what = "the root" if not child else f"a child of node {parent[child]} already"
                raise refuse(f"the nodes of tree {tree} are no tree", found=f"child {child} of node {k} is {what}")
            parent[child] = k
    height, layer = -1, [0]
    while layer:
        height += 1
        layer = [child for k in layer if rows[k][0] != LEAF for child in rows[k][4:]]
    return height


def _values(node: Any) -> list[float]:
    if node.WhichOneof("node") == "leaf":
        leaf = node.leaf
    elif node.metadata.HasField("original_leaf"):
        leaf = node.metadata.original_leaf
    else:
        return []
    return list(leaf.vector.value) if leaf.HasField("vector") else [leaf.scalar]


# --- walking ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """The features of a batch side by side: int32 [examples, all], and where each begins and how wide it is."""

    table: Array
    starts: Array
    widths: Array

    @classmethod
    def of(cls, features: Sequence[Array]) -> Buckets:
        """Put features side by side: vectors, or matrices of several dimensions.

        Raises:
            ExecutionError: there are none, or not of as many examples.
        """
        if not features:
            raise refuse("the number of features", expected="1 or more", found=0)
        for k, f in enumerate(features):
            if f.ndim not in (1, 2) or len(f) != len(features[0]):
                rows = len(features[0]) if features[0].ndim else "n"
                expected = f"[{rows}] or [{rows}, dimensions]"
                raise refuse(f"the shape of feature {k}", expected=expected, found=list(f.shape))
        matrices = [f if f.ndim == 2 else f[:, None] for f in features]
        widths = np.array([m.shape[1] for m in matrices], np.int64)
        return cls(np.concatenate(matrices, 1), np.cumsum(widths) - widths, widths)

    def part(self, start: int, stop: int) -> Buckets:
        """Return some of the examples."""
        return Buckets(self.table[start:stop], self.starts, self.widths)

    def parts(self, trees: int) -> Iterator[Buckets]:
        """Yield the examples, so many at once that their places in so many trees take little memory."""
        step = max(1, _AT_ONCE // max(trees, 1))
        for start in range(0, len(self.table), step):
            yield self.part(start, start + step)


def step(nodes: Nodes, at: Array, buckets: Buckets) -> Array:
    """Go one step down: the children of nodes, leaves themselves, int64 [examples, trees].

    Raises:
        ExecutionError: a node asks for a feature or dimension that there is not.
    """
    row, tree = np.nonzero(nodes.kind[at])
    here = at[row, tree]
    feature, dimension = nodes.feature[here], nodes.dimension[here]
    _require(nodes, here, feature, len(buckets.widths), "feature")
    _require(nodes, here, dimension, buckets.widths[feature], "dimension")
    found = buckets.table[row, buckets.starts[feature] + dimension]
    against = nodes.threshold[here]
    left = np.where(nodes.kind[here] == BUCKETS, found <= against, found == against)
    below = at.copy()
    below[row, tree] = np.where(left, nodes.left[here], nodes.right[here])
    return below


def _require(nodes: Nodes, here: Array, asked: Array, count: Any, what: str) -> None:
    wrong = asked >= count
    if wrong.any():
        k = int(np.argmax(wrong))
        fewer = int(np.broadcast_to(count, asked.shape)[k])
        where = nodes.place(int(here[k]))
        raise refuse(f"{where} splits by a {what} that there is not", expected=f"below {fewer}", found=int(asked[k]))


def paths(nodes: Nodes, buckets: Buckets) -> Iterator[Array]:
    """Yield where examples are in the trees: at the roots, then after each step, int64 [examples, trees]."""
    at = np.broadcast_to(nodes.roots, (len(buckets.table), len(nodes.roots)))
    yield at
    for _ in range(nodes.height):
        at = step(nodes, at, buckets)
        yield at


def leaves(nodes: Nodes, buckets: Buckets) -> Array:
    """Return the leaf of each tree that each example comes to, int64 [examples, trees]."""
    *_, last = paths(nodes, buckets)
    return last
