"""`tensorflow.python.client.device_lib`: the devices of this machine, of which there is one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

__all__ = ["list_local_devices"]


def list_local_devices(session_config: Any = None) -> list[Any]:
    """Return the devices: a CPU."""
    del session_config
    return [SimpleNamespace(name="/device:CPU:0", device_type="CPU", memory_limit=0, physical_device_desc="")]
