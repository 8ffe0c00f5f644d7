"""Memory of this process: what it takes, and giving back to the system what unloaded models had."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path
from typing import Final

_CGROUPS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_ASSUMED: Final = 4 << 30  # bytes, where the system does not tell


def give_back() -> None:
    """Collect garbage, and have the allocator return free pages: glibc's keeps them for later otherwise."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:
        return  # another C library, which has no such call


def resident() -> int:
    """Return the bytes of memory that this process has now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * 4096


def available() -> int:
    """Return the bytes of memory that this process and its like may have: the machine's, or its container's."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return _ASSUMED
    for limit in _CGROUPS:
        try:
            found = min(found, int(Path(limit).read_text()))
        except (OSError, ValueError):  # another version of cgroups, or `max`
            continue
    return found
