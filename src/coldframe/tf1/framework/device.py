"""Device strings: kept in nodes so that TensorFlow can place them; nothing here runs by them."""

from __future__ import annotations

import re
from typing import Any, Final

_PARTS: Final = ("job", "replica", "task", "device")
_SHORT: Final = re.compile(r"^(cpu|gpu|tpu):(\d+|\*)$", re.IGNORECASE)


class DeviceSpec:
    """A device's job, replica, task, type and index, each possibly open."""

    def __init__(
        self,
        job: str | None = None,
        replica: int | None = None,
        task: int | None = None,
        device_type: str | None = None,
        device_index: int | None = None,
    ) -> None:
        self.job, self.replica, self.task = job, replica, task
        self.device_type, self.device_index = device_type, device_index

    @classmethod
    def from_string(cls, spec: str) -> DeviceSpec:
        """Read e.g. ``/job:ps/task:0/gpu:1``; raise `ValueError` where it is no device."""
        found = parts_of(spec)
        kind, _, index = found.get("device", "").partition(":")
        return cls(
            found.get("job"),
            int(found["replica"]) if "replica" in found else None,
            int(found["task"]) if "task" in found else None,
            kind or None,
            int(index) if index.isdigit() else None,
        )

    def to_string(self) -> str:
        """Return the canonical string."""
        parts = {}
        if self.job is not None:
            parts["job"] = self.job
        if self.replica is not None:
            parts["replica"] = str(self.replica)
        if self.task is not None:
            parts["task"] = str(self.task)
        if self.device_type is not None:
            parts["device"] = f"{self.device_type}:{'*' if self.device_index is None else self.device_index}"
        return _joined(parts)


def parts_of(spec: str) -> dict[str, str]:
    """Return the parts of a device string by name; raise `ValueError` where it is none."""
    parts: dict[str, str] = {}
    for piece in filter(None, spec.split("/")):
        key, _, value = piece.partition(":")
        if _SHORT.match(piece):
            parts["device"] = f"{key.upper()}:{value}"
        elif key.lower() in ("cpu", "gpu", "tpu"):
            parts["device"] = f"{key.upper()}:0"
        elif key in _PARTS and value:
            parts[key] = _canonical(value) if key == "device" else value
        else:
            raise ValueError(f"Unknown attribute '{key}' in device string '{spec}'.")
    return parts


def merge_devices(outer: str, inner: Any) -> str:
    """Return `inner` with what only `outer` says."""
    if hasattr(inner, "to_string"):
        inner = inner.to_string()
    return _joined({**parts_of(outer), **parts_of(inner)})


def _canonical(value: str) -> str:
    kind, _, index = value.partition(":")
    return f"{kind.upper() if kind.lower() in ('cpu', 'gpu', 'tpu') else kind}:{index or '*'}"


def _joined(parts: dict[str, str]) -> str:
    return "".join(f"/{k}:{parts[k]}" for k in _PARTS if k in parts)
