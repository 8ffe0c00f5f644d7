"""`tf.logging`: Python's logger called "tensorflow", which programs also find by that name.

Lines go to standard error as `INFO:tensorflow:text`, unless the program has set up handlers of its own. Warnings and
worse are shown until `set_verbosity` says otherwise.
"""

from __future__ import annotations

import collections
import functools
import logging as _logging
import sys
from logging import DEBUG, ERROR, FATAL, INFO, WARN
from typing import Any, Final

__all__ = [
    "DEBUG", "ERROR", "FATAL", "INFO", "WARN", "TaskLevelStatusMessage", "debug", "error", "fatal", "flush",
    "get_logger", "get_verbosity", "info", "log", "log_every_n", "log_first_n", "log_if", "set_verbosity", "vlog",
    "warn", "warning",
]  # fmt: skip

_COUNTS: Final[collections.Counter[tuple[str, int]]] = collections.Counter()


@functools.cache
def get_logger() -> _logging.Logger:
    """Return the logger."""
    logger = _logging.getLogger("tensorflow")
    if not _logging.getLogger().handlers:  # else each line would be seen twice
        interactive = bool(getattr(sys, "ps1", "") or sys.flags.interactive)
        if interactive:
            logger.setLevel(INFO)
        handler = _logging.StreamHandler(sys.stdout if interactive else sys.stderr)
        handler.setFormatter(_logging.Formatter(_logging.BASIC_FORMAT))
        logger.addHandler(handler)
    return logger


def log(level: int, msg: object, *args: object, **kwargs: Any) -> None:
    """Log ``msg % args`` at a level."""
    get_logger().log(level, msg, *args, **{"stacklevel": 2, **kwargs})


def debug(msg: object, *args: object, **kwargs: Any) -> None:
    """Log ``msg % args`` at level DEBUG."""
    log(DEBUG, msg, *args, **{"stacklevel": 3, **kwargs})


def info(msg: object, *args: object, **kwargs: Any) -> None:
    """Log ``msg % args`` at level INFO."""
    log(INFO, msg, *args, **{"stacklevel": 3, **kwargs})


def warning(msg: object, *args: object, **kwargs: Any) -> None:
    """Log ``msg % args`` at level WARN."""
    log(_logging.WARNING, msg, *args, **{"stacklevel": 3, **kwargs})


warn = warning


def error(msg: object, *args: object, **kwargs: Any) -> None:
    """Log ``msg % args`` at level ERROR."""
    log(ERROR, msg, *args, **{"stacklevel": 3, **kwargs})


def fatal(msg: object, *args: object, **kwargs: Any) -> None:
    """Log ``msg % args`` at level FATAL. The program goes on."""
    log(FATAL, msg, *args, **{"stacklevel": 3, **kwargs})


def TaskLevelStatusMessage(msg: object) -> None:
    """Log `msg` at level ERROR."""
    log(ERROR, msg, stacklevel=3)


def vlog(level: int, msg: object, *args: object, **kwargs: Any) -> None:
    """Log ``msg % args`` at a level."""
    log(level, msg, *args, **{"stacklevel": 3, **kwargs})


def _calls_so_far() -> int:
    """Count the calls from each line of a program; return those before this one."""
    frame = sys._getframe(2)
    place = (frame.f_code.co_filename, frame.f_lineno)
    _COUNTS[place] += 1
    return _COUNTS[place] - 1


def log_every_n(level: int, msg: object, n: int, *args: object) -> None:
    """Log the first of each `n` calls from the same line."""
    if _calls_so_far() % n == 0:
        log(level, msg, *args, stacklevel=3)


def log_first_n(level: int, msg: object, n: int, *args: object) -> None:
    """Log the first `n` calls from the same line."""
    if _calls_so_far() < n:
        log(level, msg, *args, stacklevel=3)


def log_if(level: int, msg: object, condition: Any, *args: object) -> None:
    """Log ``msg % args`` at a level if `condition` holds."""
    if condition:
        log(level, msg, *args, stacklevel=3)


def get_verbosity() -> int:
    """Return the level from which on lines are shown."""
    return get_logger().getEffectiveLevel()


def set_verbosity(v: int | str) -> None:
    """Show lines from level `v` on."""
    get_logger().setLevel(v)


def flush() -> None:
    """Write out what handlers hold."""
    for handler in get_logger().handlers:
        handler.flush()
