"""What the tensors of a checkpoint are for: variables, optimizer slots, moving averages, the global step.

An object graph tells slots exactly. A checkpoint by names does not, so the names that TensorFlow's optimizers give
their slots are recognised, with the numbers that make names unique (``w/Adam_1``), where the variable is there too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from coldframe.formats.object_graph import OBJECT_GRAPH_KEY, ObjectGraph
from coldframe.runtime.inspection.report import Role, TensorFact
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


def classify(
    specs: Mapping[str, TensorSpec], objects: ObjectGraph | None, sizes: Mapping[str, int | None]
) -> tuple[TensorFact, ...]:
    """Return what each tensor is for.

    Args:
        specs: the checkpoint's tensors by name.
        objects: its object graph, if it has one.
        sizes: their sizes in bytes.
    """
    slots: dict[str, str] = {}
    names: Mapping[str, str] = {}
    if objects is not None:
        keys = objects.by_path
        slots = {s.key: keys.get(s.variable, s.variable) for s in objects.slots if s.key}
        names = objects.full_names
    return tuple(
        TensorFact(spec, sizes[name], *_role(name, spec, specs, slots), names.get(name, ""))
        for name, spec in specs.items()
    )


def _role(name: str, spec: TensorSpec, specs: Collection[str], slots: Mapping[str, str]) -> tuple[Role, str]:
    if name == OBJECT_GRAPH_KEY:
        return Role.BOOKKEEPING, ""
    if name in slots:
        return Role.SLOT, slots[name]
    if is_step(name, spec):
        return Role.STEP, ""
    if _POWER.fullmatch(name.split(_ATTRIBUTES)[0]) or _KERAS_OPTIMIZER.fullmatch(name):
        return Role.SLOT, ""
    if name.startswith("save_counter/") or (_ATTRIBUTES in name and not name.endswith("/VARIABLE_VALUE")):
        return Role.BOOKKEEPING, ""
    for pattern, role in ((_AVERAGE, Role.AVERAGE), (_SLOT, Role.SLOT)):
        found = pattern.fullmatch(name)
        if found and (owner := _owner(found[1], specs)):
            return role, owner
    return Role.VARIABLE, ""


def is_step(name: str, spec: TensorSpec) -> bool:
    """Whether a tensor counts training steps: an integer scalar of one of the usual names."""
    stem = name.split(_ATTRIBUTES)[0]
    return spec.dtype.is_integer and spec.shape.dims == () and stem.rsplit("/", 1)[-1] in _STEP


def _owner(stem: str, specs: Collection[str]) -> str:
    """Return the variable that a slot named `stem`/... belongs to; the optimizer may have put scopes before it."""
    parts = stem.split("/")
    for i in range(min(len(parts), 8)):
        candidate = "/".join(parts[i:])
        if candidate in specs:
            return candidate
    return ""
