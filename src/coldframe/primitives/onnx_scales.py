"""What scales and shifts the channels of a convolution's result becomes part of its filters and its bias.

ONNX Runtime and OpenVINO would do the same when they load the model, with a copy of all filters for each step. Here it
is one multiplication, done while the filters are copied into the order in which they are read (`onnx_weights`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from coldframe.formats import messages
from coldframe.primitives.onnx_weights import Array, Scaled, Weight
from coldframe.records import dataclass

_FLOATS: Final = ("float32", "float64")
_LARGEST: Final = 1e9  # factors beyond it are left to the run: products could overflow


@dataclass(slots=True)
class _Folded:
    """A convolution and what was folded into it, in float64.

    Attributes:
        node: the convolution.
        at: its place among the nodes.
        weight: its filters.
        scale, shift: by channel; the result is ``Conv(x, weight * scale) + shift``.
        scaled: whether the filters change at all.
        output: the name of the result.
    """

    node: Any
    at: int
    weight: Weight
    scale: Array
    shift: Array
    output: str
    scaled: bool = False


@dataclass(frozen=True, slots=True)
class Scales:
    """Nodes with their constants, to be simplified.

    Attributes:
        nodes: in the order in which they run.
        known: the constants, by name.
        reads: how often each name is read; what leaves the model counts too.
        fresh: makes a name.
    """

    nodes: Sequence[Any]
    known: Mapping[str, Weight]
    reads: Counter[str]
    fresh: Callable[[str], str]

    def fold(self) -> tuple[list[Any], dict[str, Weight]]:
        """Return the nodes that are left, and new constants."""
        ends: dict[str, _Folded] = {}  # by the name of its output: convolutions into which more may be folded
        gone: set[int] = set()
        found: list[_Folded] = []
        for at, node in enumerate(self.nodes):
            start = self._started(at, node)
            if start is not None:
                ends[start.output] = start
                found.append(start)
                continue
            of = next((i for i in node.input[: 1 if node.op_type == "BatchNormalization" else 2] if i in ends), "")
            if of and self.reads[of] == 1 and self._takes(ends[of], node, of):
                gone.add(at)
                into = ends.pop(of)
                into.output = node.output[0]
                ends[into.output] = into
        changed = {f.at: f for f in found if f.output != f.node.output[0]}
        made: dict[str, Weight] = {}
        nodes = [self._rewritten(changed[at], made) if at in changed else n
                 for at, n in enumerate(self.nodes) if at not in gone]  # fmt: skip
        return nodes, made

    def _started(self, at: int, node: Any) -> _Folded | None:
        if node.op_type != "Conv" or node.domain or node.input[1] not in self.known:
            return None
        weight = self.known[node.input[1]]
        bias = self.known.get(node.input[2]) if len(node.input) > 2 else np.zeros(1)
        if weight.dtype.name not in _FLOATS or not isinstance(bias, np.ndarray):
            return None
        channels = weight.shape[0]
        shift = np.broadcast_to(np.asarray(bias, np.float64), (channels,))
        return _Folded(node, at, weight, np.ones(channels), shift, node.output[0])

    def _takes(self, into: _Folded, node: Any, of: str) -> bool:
        """Fold `node`, which reads the convolution's result as `of`, where it can be; return whether it was."""
        rank, channels = len(into.weight.shape), len(into.scale)
        if node.op_type == "BatchNormalization":
            given = [self._vector(i, rank, channels, flat=True) for i in node.input[1:]]
            if len(node.output) != 1 or any(v is None for v in given):
                return False
            gamma, beta, mean, variance = (v for v in given if v is not None)
            epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
            with np.errstate(all="ignore"):
                factor = gamma / np.sqrt(variance + epsilon)
            return _scaled(into, factor, beta - mean * factor)
        if node.op_type not in ("Add", "Sub", "Mul") or len(node.input) != 2:
            return False
        if node.op_type == "Sub" and node.input[0] != of:
            return False
        other = node.input[1] if node.input[0] == of else node.input[0]
        v = self._vector(other, rank, channels)
        if v is None:
            return False
        if node.op_type == "Mul":
            return _scaled(into, v, np.zeros(1))
        into.shift = into.shift + (v if node.op_type == "Add" else -v)
        return True

    def _vector(self, name: str, rank: int, channels: int, flat: bool = False) -> Array | None:
        """Return a constant that is one finite number per channel, or one for all; None where it is something else."""
        value = self.known.get(name)
        if not isinstance(value, np.ndarray) or value.size not in (1, channels) or value.ndim > rank:
            return None
        dims = (1,) * (rank - value.ndim) + value.shape
        if not flat and any(d != 1 for i, d in enumerate(dims) if i != 1):
            return None
        wide = value.reshape(-1).astype(np.float64)
        return np.broadcast_to(wide, (channels,)) if np.isfinite(wide).all() else None

    def _rewritten(self, done: _Folded, made: dict[str, Weight]) -> Any:
        node = messages.onnx.NodeProto()
        node.CopyFrom(done.node)
        del node.input[1:], node.output[:]
        node.output.append(done.output)
        weight = self.fresh("w") if done.scaled else done.node.input[1]
        bias = self.fresh("w")
        node.input.extend([weight, bias])
        if done.scaled:
            array = done.weight.array if isinstance(done.weight, Scaled) else done.weight
            made[weight] = Scaled(array, done.scale)
        made[bias] = done.shift.astype(done.weight.dtype)
        return node


def _scaled(into: _Folded, factor: Array, shift: Array) -> bool:
    if not (np.isfinite(factor).all() and np.isfinite(shift).all()):
        return False
    scale = into.scale * factor
    if np.abs(scale).max(initial=0) > _LARGEST:
        return False
    into.scale, into.shift, into.scaled = scale, into.shift * factor + shift, True
    return True
