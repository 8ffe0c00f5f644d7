"""What the tensors of a checkpoint are for: variables, optimizer slots, moving averages, the global step.

An object graph tells slots exactly. A checkpoint by names does not, so the names that TensorFlow's optimizers give
their slots are recognised, with the numbers that make names unique (``w/Adam_1``), where the variable is there too.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Mapping
from typing import Final

from coldframe.formats.object_graph import OBJECT_GRAPH_KEY, ObjectGraph
from coldframe.records import dataclass
from coldframe.shapes import TensorSpec

_SLOT: Final = re.compile(
    r"(.+)/(Adam|AdaMax|Nadam|LAMB|Momentum|RMSProp|Adagrad|AdagradDA|Adadelta|Ftrl|Adafactor|Lookahead"
    r"|adam_[mv]|lamb_[mv]|vr|vc|slot)(Optimizer)?(_\d+)?"
)
_AVERAGE: Final = re.compile(r"(.+)/(ExponentialMovingAverage|EMA)(_\d+)?")
_POWER: Final = re.compile(r"(.*/)?beta[12]_power(_\d+)?")
_STEP: Final = frozenset({"global_step", "iterations", "_iterations", "iter", "step"})
_ATTRIBUTES: Final = "/.ATTRIBUTES/"
_KERAS_OPTIMIZER: Final = re.compile(r"(.+/)?optimizer/_variables/\d+/\.ATTRIBUTES/VARIABLE_VALUE")


class Role(enum.Enum):
    """What a tensor of a checkpoint is for."""

    VARIABLE = "variable"
    SLOT = "optimizer slot"
    AVERAGE = "moving average"
    STEP = "global step"
    BOOKKEEPING = "bookkeeping"


@dataclass(frozen=True, slots=True)
class Part:
    """What one tensor is for.

    Attributes:
        role: its role.
        of: for a slot or an average, the tensor it belongs to; else empty.
    """

    role: Role
    of: str = ""


def roles(specs: Mapping[str, TensorSpec], objects: ObjectGraph | None) -> dict[str, Part]:
    """Return what each tensor is for, by name.

    Args:
        specs: the checkpoint's tensors by name.
        objects: its object graph, if it has one.
    """
    slots: dict[str, str] = {}
    if objects is not None:
        keys = objects.by_path
        slots = {s.key: keys.get(s.variable, s.variable) for s in objects.slots if s.key}
    return {name: _part(name, spec, specs, slots) for name, spec in specs.items()}


_VARIABLE: Final = "/.ATTRIBUTES/VARIABLE_VALUE"
_KERAS_STATE: Final = re.compile(r"(.+)/(_variables/\d+|_learning_rate|_iterations)/\.ATTRIBUTES/VARIABLE_VALUE")
_HYPER: Final = frozenset({"beta_1", "beta_2", "decay", "learning_rate", "momentum", "rho", "epsilon"})


def optimizer_state(specs: Mapping[str, TensorSpec], objects: ObjectGraph | None) -> set[str]:
    """Return the tensors that only an optimizer needs: slots, and where objects tell, its other variables.

    Counters of steps are not among them. (Keras keeps a model's own variables below its optimizer as well, and by its
    shortest path that is where they are found; those stay.)
    """
    found = {n for n, p in roles(specs, objects).items() if p.role is Role.SLOT}
    if objects is None:
        return found
    optimizers = {s.optimizer for s in objects.slots}
    optimizers |= {m[1] for n in specs if (m := _KERAS_STATE.fullmatch(n)) and _is_optimizer(m[1], specs)}
    for name, spec in specs.items():
        parent, _, last = name.removesuffix(_VARIABLE).rpartition("/")
        keras = _KERAS_STATE.fullmatch(name)
        if (keras and keras[1] in optimizers) or (parent in optimizers and last in _HYPER):
            found |= {name} if not is_step(name, spec) else set()
    return found


def _is_optimizer(path: str, specs: Collection[str]) -> bool:
    return f"{path}/_iterations{_VARIABLE}" in specs and f"{path}/_learning_rate{_VARIABLE}" in specs


def _part(name: str, spec: TensorSpec, specs: Collection[str], slots: Mapping[str, str]) -> Part:
    if name == OBJECT_GRAPH_KEY:
        return Part(Role.BOOKKEEPING)
    if name in slots:
        return Part(Role.SLOT, slots[name])
    if is_step(name, spec):
        return Part(Role.STEP)
    if _POWER.fullmatch(name.split(_ATTRIBUTES)[0]) or _KERAS_OPTIMIZER.fullmatch(name):
        return Part(Role.SLOT)
    if name.startswith("save_counter/") or (_ATTRIBUTES in name and not name.endswith("/VARIABLE_VALUE")):
        return Part(Role.BOOKKEEPING)
    for pattern, role in ((_AVERAGE, Role.AVERAGE), (_SLOT, Role.SLOT)):
        found = pattern.fullmatch(name)
        if found and (owner := _owner(found[1], specs)):
            return Part(role, owner)
    return Part(Role.VARIABLE)


def is_step(name: str, spec: TensorSpec) -> bool:
    """Whether a tensor counts training steps: an integer scalar of one of the usual names."""
    stem = name.split(_ATTRIBUTES)[0]
    return spec.dtype.is_integer and spec.shape.dims == () and stem.rsplit("/", 1)[-1] in _STEP


def step_name(specs: Mapping[str, TensorSpec]) -> str | None:
    """Return the tensor that counts training steps, of the name that says so most clearly; None where there is none."""
    found = [n for n, s in specs.items() if is_step(n, s)]
    return min(found, key=lambda n: ("global_step" not in n, len(n)), default=None)


def _owner(stem: str, specs: Collection[str]) -> str:
    """Return the variable that a slot named `stem`/... belongs to; the optimizer may have put scopes before it."""
    parts = stem.split("/")
    for i in range(min(len(parts), 8)):
        candidate = "/".join(parts[i:])
        if candidate in specs:
            return candidate
    return ""
