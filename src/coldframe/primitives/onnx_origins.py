"""What must be true of what a model is fed, and where in the model that is known from.

ONNX Runtime counts negative indices from the end, and ends the process where a recurrent layer gets no sequence. Nodes
that see to it cost a small model a tenth of its time. Where such a tensor is an input, or made of one in a way that
keeps what matters, the input is looked at before the run instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.records import dataclass

FEW: Final = 512  # integers; see `negative`
_MOVES: Final = frozenset(("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"))
"""Nodes that give the elements that they get."""
_FILLS: Final = frozenset(("Cast", "LSTM", "GRU", "RNN", "Relu", "Tanh", "Sigmoid"))
"""Others that give elements where their first input has some."""
_GIVES: Final = _MOVES | _FILLS


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must be true of inputs, by name, for a model to be run.

    Attributes:
        natural: no number in them is negative.
        filled: they have elements.
    """

    natural: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()

    def broken(self, feeds: Mapping[str, npt.NDArray[Any]]) -> str:
        """Return why a model may not be run on `feeds`; empty where it may."""
        for name in self.natural:
            if negative(feeds[name]):
                return "an index is negative"
        for name in self.filled:
            if not feeds[name].size:
                return "a sequence is empty"
        return ""


def negative(a: npt.NDArray[Any]) -> bool:
    """Whether a number is negative. The last bytes of a few, which have the signs, tell sooner than numpy."""
    width = a.dtype.itemsize
    return (a.size > FEW or not a.tobytes()[width - 1 :: width].isascii()) and bool(a.min() < 0)


class Origins:
    """Which tensors have the elements of another one, or have some where that has some; and what inputs must be."""

    def __init__(self) -> None:
        self._moved: dict[str, str] = {}
        self._filled: dict[str, str] = {}
        self._conditions: dict[str, set[str]] = {"natural": set(), "filled": set()}

    def note(self, op_type: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Note what a node is given and makes: values with a name, dtype and dims; None for what it is not given."""
        x, y = inputs[0] if inputs else None, outputs[0].name
        if x is None:
            return
        if op_type in _MOVES or (op_type == "Cast" and _widens(x.dtype, outputs[0].dtype)):
            self._moved[y] = x.name
        if op_type in _GIVES:
            self._filled.update((o.name, x.name) for o in outputs)
        elif op_type == "Gather" and all(x.dims):
            self._filled[y] = inputs[1].name

    def see_to(self, what: str, name: str, fed: Iterable[str]) -> bool:
        """Whether it is looked at before each run that a tensor is ``natural`` or ``filled``, as an input tells.

        Args:
            what: a field of `Conditions`.
            name: of the tensor.
            fed: the names of the inputs.
        """
        links = self._moved if what == "natural" else self._filled
        while name in links:
            name = links[name]
        if name not in fed:
            return False
        self._conditions[what].add(name)
        return True

    def conditions(self, fed: Collection[str]) -> Conditions:
        """Return what must be true of those inputs that the model has."""
        return Conditions(**{what: tuple(n for n in fed if n in names) for what, names in self._conditions.items()})


def _widens(a: Any, b: Any) -> bool:
    """Whether a cast keeps all integers as they are."""
    return bool(a.kind == b.kind == "i" and np.dtype(a.numpy).itemsize <= np.dtype(b.numpy).itemsize)
