"""Namespaces whose names are looked up when they are first used.

A namespace lists the modules that hold its names (their ``__all__``) and names of its own. Looking a name up imports
modules in that order until one has it, so that a program loads what it uses.

A function may be called as the module that holds it (``tf.gradients``): importing such a module does not bind it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from coldframe.errors import near_names


class MissingSymbol(AttributeError):  # noqa: N818 - an AttributeError with a better text
    """A name of TensorFlow's API that coldframe does not have."""


class _Namespace(ModuleType):
    """A package of which some submodules only hold names, and are no names themselves."""

    _sources: frozenset[str] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and value.__name__ in self._sources:
            return
        super().__setattr__(name, value)


def namespace(
    module: str,
    title: str,
    sources: Iterable[str],
    aliases: Mapping[str, str] | None = None,
    missing: Mapping[str, str] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a module.

    Args:
        module: the module's ``__name__``.
        title: what programs call it, e.g. ``tf.nn``.
        sources: modules whose ``__all__`` belong to it, in order.
        aliases: further names, as ``module`` (the module itself) or ``module:name``.
        missing: names that coldframe does not have on purpose, with what to use instead.
    """
    listed, named, absent = tuple(sources), dict(aliases or {}), dict(missing or {})
    package = sys.modules[module]
    package.__class__ = _Namespace
    package._sources = frozenset(listed)  # type: ignore[attr-defined]

    def look_up(name: str) -> Any:
        if name.startswith("__") and name not in named:
            raise AttributeError(name)
        value = _find(name)
        setattr(package, name, value)
        return value

    def _find(name: str) -> Any:
        if name in named:
            source, _, attribute = named[name].partition(":")
            found = importlib.import_module(source)
            return getattr(found, attribute) if attribute else found
        own = f"{module}.{name}"
        if "__path__" in vars(package) and importlib.util.find_spec(own) is not None:
            found = importlib.import_module(own)
            return getattr(found, name) if own in listed and name in _public(found) else found
        for source in listed:
            found = importlib.import_module(source)
            if name in _public(found):
                return getattr(found, name)
        hint = absent.get(name) or absent.get("*") or near_names(name, names())
        raise MissingSymbol(f"coldframe has no `{title}.{name}`" + (f"\nhint: {hint}" if hint else ""))

    def names() -> list[str]:
        every = set(named)
        for source in listed:
            every |= set(_public(importlib.import_module(source)))
        return sorted(every)

    return look_up, names


def _public(module: ModuleType) -> Iterable[str]:
    listed: Any = getattr(module, "__all__", None)
    if listed is None:
        listed = [
            n for n, v in vars(module).items()
            if not n.startswith("_") and getattr(v, "__module__", None) == module.__name__
        ]  # fmt: skip
    return listed  # type: ignore[no-any-return]
