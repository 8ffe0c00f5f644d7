"""Templates: functions whose variables are made once and shared by later calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from coldframe.tf1.variable_scope import (
    VariableScope,
    get_variable_scope,
    get_variable_store,
    pure_variable_scope,
    variable_scope,
)


def make_template(
    name_: str, func_: Callable[..., Any], create_scope_now_: bool = False, unique_name_: str | None = None,
    custom_getter_: Any = None, **kwargs: Any,
) -> Template:  # fmt: skip
    """Return `func_` as a callable whose variables are made by the first call and shared by the others."""
    fn = functools.partial(func_, **kwargs) if kwargs else func_
    return Template(name_, fn, create_scope_now_, unique_name_, custom_getter_)


class Template:
    """A function whose variables are made by its first call; see `make_template`."""

    def __init__(self, name: str, fn: Any, now: bool, unique_name: str | None, custom_getter: Any) -> None:
        self._name, self._fn, self._unique, self._getter = name, fn, unique_name, custom_getter
        self._scope: VariableScope | None = None
        self._called = False
        if now:
            self._open()

    def _open(self) -> None:
        name = self._unique or get_variable_store().unique(self._name, get_variable_scope().name)
        with pure_variable_scope(name, custom_getter=self._getter) as scope:
            self._scope = scope

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._scope is not None:
            with variable_scope(self._scope, reuse=self._called):
                return self._call(args, kwargs)
        with variable_scope(self._unique, default_name=self._name, custom_getter=self._getter) as scope:
            self._scope = scope
            return self._call(args, kwargs)

    def _call(self, args: Any, kwargs: Any) -> Any:
        self._called = True
        return self._fn(*args, **kwargs)

    @property
    def name(self) -> str:
        return self._name

    @property
    def variable_scope(self) -> VariableScope | None:
        """The scope its variables are in."""
        return self._scope

    @property
    def variables(self) -> list[Any]:
        """The variables it made."""
        return [] if self._scope is None else self._scope.global_variables()

    @property
    def trainable_variables(self) -> list[Any]:
        return [] if self._scope is None else self._scope.trainable_variables()


__all__ = ["make_template"]
