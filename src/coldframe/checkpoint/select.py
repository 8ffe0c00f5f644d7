"""Choosing tensors by name, as people write it.

::

    layer/kernel       that tensor; where none is called so, all of that scope
    layer/             all of a scope, whatever else is called so
    layer/*            a glob for the whole name; * crosses /, as in a shell it would not
    re:conv[12]/.*     a regular expression for the whole name
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from coldframe.errors import MisuseError, NotFoundError, near_names
from coldframe.records import dataclass

_REGEX: Final = "re:"
_WILD: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tensors are meant.

    Attributes:
        only: patterns; where there are some, a tensor has to match one of them.
        without: patterns of those that are not meant.
    """

    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @classmethod
    def of(cls, only: Iterable[str] = (), without: Iterable[str] = ()) -> Selection:
        return cls(tuple(only), tuple(without))

    def __bool__(self) -> bool:
        return bool(self.only or self.without)

    def pick(self, names: Sequence[str] | Iterable[str], *, where: str = "") -> list[str]:
        """Return the names that are meant, in their order.

        Raises:
            NotFoundError: a pattern fits no name: it would silently do nothing.
            MisuseError: a pattern is no regular expression.
        """
        names = list(names)
        kept = set(names if not self.only else ())
        for pattern in self.only:
            kept |= matching(pattern, names, where=where)
        for pattern in self.without:
            kept -= matching(pattern, names, where=where)
        return [n for n in names if n in kept]


def matching(pattern: str, names: Sequence[str], *, where: str = "") -> set[str]:
    """Return the names that `pattern` fits; raise `NotFoundError` where there is none."""
    if pattern in names:
        return {pattern}
    fits = matcher(pattern)
    found = {n for n in names if fits(n)}
    if not found:
        raise NotFoundError(f"no tensor matches `{pattern}`", where=where, hint=near_names(pattern, names))
    return found


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a name fits `pattern`; raise `MisuseError` where that is no regular expression."""
    if pattern.startswith(_REGEX):
        expression = compiled(pattern.removeprefix(_REGEX))
        return lambda name: expression.fullmatch(name) is not None
    if _WILD.search(pattern):
        return lambda name: fnmatch.fnmatchcase(name, pattern)
    scope = pattern.rstrip("/") + "/"
    return lambda name: name.startswith(scope)


def compiled(expression: str) -> re.Pattern[str]:
    """Compile a regular expression; raise `MisuseError`."""
    try:
        return re.compile(expression)
    except re.error as e:
        raise MisuseError(f"`{expression}` is no regular expression", found=str(e)) from None


def scope_of(name: str, depth: int) -> str:
    """Return the first `depth` scopes of a name, the name itself left out: ``a/b`` of ``a/b/c`` for 2, "" for none."""
    return "/".join(name.split("/")[:-1][:depth])
