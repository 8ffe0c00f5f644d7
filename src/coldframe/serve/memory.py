"""Memory of this process: what it takes, keeping what requests had, and giving back what unloaded models had."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

_CGROUPS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_SETTINGS: Final = ("MALLOC_", "GLIBC_TUNABLES")
_TRIM_THRESHOLD: Final = -1  # mallopt's parameters, as <malloc.h> numbers them
_MMAP_THRESHOLD: Final = -3
_MOST_FROM_HEAP: Final = 1 << 25  # bytes of a block: more than that glibc does not take
_MOST_KEPT: Final = 1 << 26  # bytes
_ASSUMED: Final = 4 << 30  # bytes, where the system does not tell


def give_back(unused: Callable[[], object] = lambda: None) -> bool:
    """Collect garbage, and have the allocator return free pages: glibc's keeps them for later otherwise.

    Args:
        unused: a weak reference to what should be garbage.

    Returns:
        Whether it was; else something still has it, and what it took will stay with the allocator.
    """
    gc.collect()
    gone = unused() is None
    with contextlib.suppress(AttributeError):  # another C library, which has no such call
        ctypes.CDLL(None).malloc_trim(0)
    return gone


def keep_freed() -> None:
    """Have the allocator keep what is freed for the next request.

    glibc gives blocks of some size back to the system at once, and takes them again, page by page, for the next
    request: a tensor of 600 KB came with 300 page faults, half of the processor time of a gRPC call. Who has set its
    limits in the environment knows better. `give_back` returns pages all the same.
    """
    if any(name.startswith(_SETTINGS) for name in os.environ):
        return
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    adjust(_MMAP_THRESHOLD, _MOST_FROM_HEAP)
    adjust(_TRIM_THRESHOLD, _MOST_KEPT)


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
