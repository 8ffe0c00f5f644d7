"""Functions that add one node, each written as one line: ``simple("square(x) -> Square")``.

The line is the Python signature and the op. A parameter is an input or an attribute of the op by its name;
``dim:axis`` is a Python parameter ``dim`` for the op's ``axis``. Defaults are Python literals, or the name of a dtype.
A parameter ``name`` is appended where the line has none. Lines are parsed when a function is first called.
"""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any, Final

from coldframe.graph.signatures import signature
from coldframe.records import dataclass
from coldframe.tf1.framework.build import raw_op

_REQUIRED: Final = inspect.Parameter.empty
_BETWEEN: Final = re.compile(r", (?![^\[]*\])")  # not those inside of a list


@dataclass(frozen=True, slots=True)
class _Plan:
    """A parsed line: parameters and their defaults, those that are inputs (in the op's order), those that are not."""

    op: str
    params: dict[str, Any]
    inputs: tuple[str, ...]
    attrs: tuple[tuple[str, str], ...]  # parameter, attribute


class OpFunction:
    """A function that adds one node of an op; see the module's head for its line."""

    __slots__ = ("__weakref__", "_plan", "spec")

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self._plan: _Plan | None = None

    @property
    def __name__(self) -> str:
        return self.spec.partition("(")[0]

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        return f"Add a `{self.plan.op}` node to the graph and return its outputs."

    @property
    def __signature__(self) -> inspect.Signature:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature([inspect.Parameter(n, kind, default=d) for n, d in self.plan.params.items()])

    @property
    def plan(self) -> _Plan:
        """The line, parsed."""
        if self._plan is None:
            self._plan = _parse(self.spec)
        return self._plan

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plan = self._plan or self.plan
        params = plan.params
        if len(args) > len(params):
            raise TypeError(f"{self.__name__}() takes {len(params)} arguments but {len(args)} were given")
        given = dict(zip(params, args, strict=False))
        for key, value in kwargs.items():
            if key not in params:
                raise TypeError(f"{self.__name__}() got an unexpected keyword argument '{key}'")
            if key in given:
                raise TypeError(f"{self.__name__}() got multiple values for argument '{key}'")
            given[key] = value
        for key, default in params.items():
            if key not in given:
                if default is _REQUIRED:
                    raise TypeError(f"{self.__name__}() missing a required argument: '{key}'")
                given[key] = default
        return raw_op(plan.op, [given[k] for k in plan.inputs], {a: given[k] for k, a in plan.attrs}, given["name"])

    def __repr__(self) -> str:
        return f"<function {self.__name__}>"


def simple(spec: str) -> OpFunction:
    """Return the function that `spec` describes; see the module's head."""
    return OpFunction(spec)


def _parse(spec: str) -> _Plan:
    head, _, op = spec.partition(" -> ")
    params: dict[str, Any] = {}
    target: dict[str, str] = {}
    for item in filter(None, _BETWEEN.split(head.partition("(")[2].rpartition(")")[0])):
        left, has_default, default = item.partition("=")
        param, _, other = left.partition(":")
        params[param] = _literal(default) if has_default else _REQUIRED
        target[other or param] = param
    params.setdefault("name", None)
    names = [a.name for a in signature(op).inputs]
    attrs = tuple((p, a) for a, p in target.items() if a not in names and p != "name")
    return _Plan(op, params, tuple(target[n] for n in names), attrs)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except ValueError:
        return text  # a dtype's name


def either(name: str, value: Any, old_name: str, old: Any) -> Any:
    """Return the argument that was given, by its present or its former name.

    Raises:
        ValueError: it was given by both.
    """
    if old is None:
        return value
    if value is not None:
        raise ValueError(f"Cannot specify both '{old_name}' and '{name}'.")
    return old
