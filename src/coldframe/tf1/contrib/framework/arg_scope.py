"""`arg_scope`: defaults for the arguments of functions that are called inside a ``with`` block."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final

_Scope = dict[str, dict[str, Any]]
_CURRENT: Final[ContextVar[_Scope]] = ContextVar("arg_scope", default={})  # noqa: B039 - it is never changed in place


def arg_scope_func_key(op: Any) -> str:
    """Return what a function's defaults are kept under."""
    return str(getattr(op, "_key_op", f"{getattr(op, '__module__', '')}.{getattr(op, '__name__', op)}"))


def current_arg_scope() -> _Scope:
    """Return the defaults in force: arguments by function."""
    return _CURRENT.get()


@contextlib.contextmanager
def arg_scope(list_ops_or_scope: Any, **kwargs: Any) -> Iterator[_Scope]:
    """Give functions decorated with `add_arg_scope` other defaults.

    Args:
        list_ops_or_scope: the functions; or a scope that a ``with ... as`` gave, to use it again.
        kwargs: their defaults.

    Raises:
        ValueError: a function takes no defaults this way, or both a scope and defaults are given.
    """
    if isinstance(list_ops_or_scope, Mapping):
        if kwargs:
            raise ValueError("When attempting to re-use a scope by suppling a dictionary, kwargs must be empty.")
        scope = {key: dict(values) for key, values in list_ops_or_scope.items()}
    else:
        if not isinstance(list_ops_or_scope, (list, tuple)):
            raise TypeError(
                f"list_ops_or_scope must either be a list/tuple or reused scope (i.e. dict), not {list_ops_or_scope!r}"
            )
        scope = dict(current_arg_scope())
        for op in list_ops_or_scope:
            if not has_arg_scope(op):
                raise ValueError(f"{arg_scope_func_key(op)} is not decorated with @add_arg_scope")
            key = arg_scope_func_key(op)
            scope[key] = {**scope.get(key, {}), **kwargs}
    token = _CURRENT.set(scope)
    try:
        yield scope
    finally:
        _CURRENT.reset(token)


def add_arg_scope(func: Callable[..., Any]) -> Callable[..., Any]:
    """Let `arg_scope` give the function defaults."""
    key = f"{func.__module__}.{func.__name__}"

    @functools.wraps(func)
    def with_defaults(*args: Any, **kwargs: Any) -> Any:
        given = _CURRENT.get().get(key)
        return func(*args, **({**given, **kwargs} if given else kwargs))

    vars(with_defaults)["_key_op"] = key
    return with_defaults


def has_arg_scope(func: Any) -> bool:
    """Whether `arg_scope` may give the function defaults."""
    return hasattr(func, "_key_op")


def arg_scoped_arguments(func: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of a function's arguments that have defaults."""
    inner = getattr(func, "__wrapped__", func)
    count = len(inner.__defaults__ or ())
    return tuple(inner.__code__.co_varnames[: inner.__code__.co_argcount][-count:]) if count else ()


__all__ = [
    "add_arg_scope", "arg_scope", "arg_scope_func_key", "arg_scoped_arguments", "current_arg_scope", "has_arg_scope",
]  # fmt: skip
