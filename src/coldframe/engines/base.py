"""The engine protocol: what the runtime asks of an engine, and what it hands over.

The runtime gives an engine an `Island`, nodes whose inputs are all there, together with the actual arrays; dtypes and
ranks are therefore known. The engine compiles the nodes it can, says of the others why not, and the runtime runs those
on numpy as host steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.graph.ir import Node
from coldframe.graph.names import TensorRef
from coldframe.ops.call import Call
from coldframe.records import dataclass

Array = npt.NDArray[Any]
Dims = tuple[int | None, ...]

NOT_COMPILED: Final = "strings, resources and variants are not compiled"
"""Why an engine declines a node whatever its op."""


class EngineFailure(Exception):  # noqa: N818 - a signal to the runtime, never seen by users
    """The engine could not make or run its program; the runtime asks numpy instead."""


@dataclass(slots=True, eq=False)
class BoundNode:
    """A node with its op and attributes bound.

    Attributes:
        node: the node.
        call: its op, ready to run.
        deref: positions of inputs that read the ref variable which flows in.
        members: the nodes that it stands for, where it stands for several.
    """

    node: Node
    call: Call
    deref: tuple[int, ...] = ()
    members: tuple[BoundNode, ...] = ()

    @property
    def name(self) -> str:
        return self.node.name

    def outputs(self) -> list[TensorRef]:
        """The tensors it makes."""
        return [TensorRef(self.node.name, i) for i in range(len(self.call.outputs))]


@dataclass(frozen=True, slots=True)
class Guard:
    """What a compiled island was specialised to, for one input.

    Attributes:
        ref: the tensor.
        dtype: its dtype.
        dims: its dims; None where any size will do.
        pinned: the very array whose values were compiled in, if they were.
        by_value: whether an equal array will do as well.
        rows: the size of the first dimension now, which others need not have.
    """

    ref: TensorRef
    dtype: DType
    dims: Dims
    pinned: Array | None = None
    by_value: bool = False
    rows: int | None = None

    def accepts(self, value: Any) -> bool:
        """Whether `value` is what the island was compiled for."""
        if self.pinned is not None:
            return value is self.pinned or (
                self.by_value and value.dtype == self.pinned.dtype and np.array_equal(value, self.pinned)
            )
        return (
            value.dtype == self.dtype.numpy
            and value.ndim == len(self.dims)
            and all(d is None or d == n for d, n in zip(self.dims, value.shape, strict=True))
        )


@dataclass(frozen=True, slots=True)
class Island:
    """What to compile.

    Attributes:
        nodes: in topological order.
        inputs: what flows in from outside, with what may be assumed of it.
        constants: arrays whose values never change.
        needed: whether a tensor is used outside of the nodes named.
        trains: whether it computes new values of variables.
        whole: whether the nodes are all that a run needs.
    """

    nodes: Sequence[BoundNode]
    inputs: Mapping[TensorRef, Guard]
    constants: Mapping[TensorRef, Array]
    needed: Callable[[TensorRef, set[str]], bool]
    trains: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class FunctionBody:
    """A function of the graph, for engines that compile what calls it: ``function.body()`` of what ops receive.

    Attributes:
        nodes: in topological order; all of them run.
        constants: arrays whose values never change.
        inputs: the tensors that stand for its arguments.
        outputs: the tensors it returns.
    """

    nodes: Sequence[BoundNode]
    constants: Mapping[TensorRef, Array]
    inputs: tuple[TensorRef, ...]
    outputs: tuple[TensorRef, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Random numbers that a run hands to an island, since only the runtime knows how far their sequence got.

    Attributes:
        bound: the node that draws them.
        inputs: what it is given.
        count: how many numbers the island computes by itself, from the place in the sequence, uint64[3] (see
            `coldframe.ops.random`); 0: it is to be given the numbers.
    """

    bound: BoundNode
    inputs: tuple[Array, ...]
    count: int = 0


class Held:
    """A result that stays where the engine computed it, until somebody asks for the array.

    Attributes:
        dtype, shape: the array's.
    """

    __slots__ = ("dtype", "shape")
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def array(self) -> Array:
        """Return it as an array of the host, the same one each time."""
        raise NotImplementedError


Short = Callable[[Mapping[str, Any]], dict[str, Any] | None]
"""Computes results from feeds, both under the names that a caller has for them.

None where it does not take such feeds, which are more, fewer or others, or fails.
"""


class Runner(Protocol):
    """What runs compiled nodes.

    Attributes:
        engine: what users call the engine.
        reason: why that is not the one that was asked for; empty where it is.
    """

    engine: str
    reason: str

    def short(self, feeds: Mapping[str, np.dtype[Any]], fetches: Mapping[str, int]) -> Short | None:
        """Return what does as `Compiled.run` with as little as possible around it; None where there is no such thing.

        It takes nothing but arrays that the inputs' guards accept; of all else it returns None.

        Args:
            feeds: the names under which it gets the values of `Compiled.inputs`, in their order, and the dtypes.
            fetches: which of `Compiled.outputs` it returns, by name: arrays of the caller's own, numpy's scalars.
        """


@dataclass(slots=True, eq=False)
class Compiled:
    """Compiled nodes.

    Attributes:
        nodes: those that it runs, in topological order.
        refused: why it does not run the others, by node name.
        inputs: what it must be given, in order.
        draws: the random numbers that it is given before all others.
        outputs: what `run` returns, in order.
        constants: outputs that turned out constant; `run` does not return them.
        run: the compiled program.
        fresh: whether the arrays that `run` returns are new each time, in memory that nothing else refers to.
        held: like `run`, of values and results that may be `Held`; None where the engine holds nothing.
        runner: what runs it, where that may be another engine than the one that compiled it.
        start: makes the program ready, or raises `EngineFailure`: to be called once, before the first run.
    """

    nodes: list[BoundNode]
    refused: dict[str, str]
    inputs: tuple[Guard, ...]
    outputs: tuple[TensorRef, ...]
    constants: dict[TensorRef, Array]
    run: Callable[[list[Array]], list[Array]]
    fresh: bool = False
    draws: tuple[Draw, ...] = ()
    held: Callable[[list[Any]], list[Any]] | None = None
    start: Callable[[], None] = lambda: None
    runner: Runner | None = None


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What a user may set.

    Attributes:
        threads: threads within an op; 0 lets the engine choose.
        spin: whether such threads keep processors busy while they wait for work: faster where nothing else wants
            them. Otherwise they wait for 20 microseconds, from one node to the next, before they sleep.
        shared: a folder in which processes that compile the same share what is made of its weights; empty for none.
    """

    threads: int = 0
    spin: bool = True
    shared: str = ""


class Engine(Protocol):
    """An engine. `tests/engines_conformance.py` holds every engine to this.

    Attributes:
        name: what users call it.
        exact_shapes: whether it compiles for the very shapes that flow.
    """

    name: str
    exact_shapes: bool

    def declines(self, bound: BoundNode) -> str:
        """Return why this engine will not even try the node; empty where it may."""

    def compile(self, island: Island) -> Compiled:
        """Compile what can be compiled of `island`."""
