"""`tf.flags` and `tf.app.flags`: command-line flags, by Abseil's `absl.flags`, which is what TensorFlow hands out too.

Programs that use both modules see one set of flags. Two things differ from Abseil: the older keyword names
(`flag_name`, `default_value`, `docstring`) are understood, and `FLAGS` reads the command line by itself when a flag is
first asked for. Arguments that no flag takes are then left alone, as they belong to somebody else: to a test runner, or
to `coldframe exec`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import absl.flags
from absl.flags import disclaim_key_flags

disclaim_key_flags()  # flags belong to the module that calls us

_OLD_NAMES: Final = {"flag_name": "name", "default_value": "default", "docstring": "help"}


class LazyFlags:
    """The flags of the program by name; the command line is read at the first of them."""

    def __init__(self, flags: Any) -> None:
        self.__dict__["_flags"] = flags

    def __getattr__(self, name: str) -> Any:
        flags = self.__dict__["_flags"]
        if name in flags.__dict__ or (hasattr(type(flags), name) and name != "flag_values_dict"):
            return getattr(flags, name)
        if not flags.is_parsed():
            flags(sys.argv, known_only=True)
        return getattr(flags, name)

    def _parse_flags(self, args: Sequence[str] | None = None) -> None:
        """Read the command line, as programs written before TensorFlow 1.5 ask for."""
        self(sys.argv if args is None else [sys.argv[0], *args], known_only=True)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_flags"], name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.__dict__["_flags"], name)

    def __dir__(self) -> list[str]:
        return dir(self.__dict__["_flags"])

    def __getitem__(self, name: str) -> Any:
        return self.__dict__["_flags"][name]

    def __setitem__(self, name: str, flag: Any) -> None:
        self.__dict__["_flags"][name] = flag

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__["_flags"]

    def __len__(self) -> int:
        return len(self.__dict__["_flags"])

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__["_flags"])

    def __str__(self) -> str:
        return str(self.__dict__["_flags"])

    def __call__(self, argv: Sequence[str], known_only: bool = False) -> list[str]:
        """Read `argv`, program name first; return what no flag took."""
        rest: list[str] = self.__dict__["_flags"](argv, known_only=known_only)
        return rest


FLAGS: Final = LazyFlags(absl.flags.FLAGS)


def _defining(define: Callable[..., Any]) -> Callable[..., Any]:
    def with_old_names(*args: Any, **kwargs: Any) -> Any:
        return define(*args, **{_OLD_NAMES.get(k, k): v for k, v in kwargs.items()})

    with_old_names.__name__ = define.__name__
    with_old_names.__doc__ = define.__doc__
    return with_old_names


DEFINE_string: Final = _defining(absl.flags.DEFINE_string)
DEFINE_integer: Final = _defining(absl.flags.DEFINE_integer)
DEFINE_float: Final = _defining(absl.flags.DEFINE_float)
DEFINE_boolean: Final = _defining(absl.flags.DEFINE_boolean)
DEFINE_bool: Final = DEFINE_boolean


def __getattr__(name: str) -> Any:
    """Return what else Abseil has: `DEFINE_enum`, `DEFINE_list`, `mark_flag_as_required`, ..."""
    if name.startswith("_") or not hasattr(absl.flags, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(absl.flags, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *(n for n in dir(absl.flags) if not n.startswith("_"))})
