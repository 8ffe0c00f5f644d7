"""`dataclass`, made quickly.

Until its first result coldframe makes some hundred dataclasses, and for each `dataclasses` compiles six functions
(Python 3.11): 0.5 ms a class, a tenth of the time from a process's start to its first result. `dataclass` here takes
those arguments that this package uses and gives the same class; but it compiles ``__init__`` alone, when an object is
first made, and the others are functions that all classes share. Fields, ``__slots__`` and ``__match_args__`` are made
by `dataclasses` itself, so `dataclasses.replace`, `fields` and `asdict` know these classes. Type checkers see
`dataclasses.dataclass`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import operator
import reprlib
from collections.abc import Callable
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True):
        """Make a dataclass; see `dataclasses.dataclass`."""
        if cls is None:
            return functools.partial(dataclass, frozen=frozen, slots=slots, eq=eq)
        if not cls.__doc__:
            cls.__doc__ = cls.__name__  # else the signature is made, to be written here
        cls = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
        own = cls.__dict__
        hashed = "__hash__" in own and not (own["__hash__"] is None and "__eq__" in own)
        methods: dict[str, Any] = {
            "__init__": _late_init(cls, frozen),
            "__signature__": _Signature(),
            "__repr__": _repr,
        }
        if eq:
            methods |= _comparison(cls, frozen and not hashed, not frozen and not hashed)
        if frozen:
            methods |= _frozen(cls)
            if slots:
                methods |= {"__getstate__": _getstate, "__setstate__": _setstate}
        for name, method in methods.items():
            if name == "__hash__" or name not in own:
                setattr(cls, name, method)
        return cls


_NONE: Final = object()  # stands for an argument that was not given, where a new value is made for each


def _late_init(cls: Any, frozen: bool) -> Callable[..., None]:
    """Return an ``__init__`` that is compiled when the first object is made: of many classes none ever is."""

    def compiled() -> Callable[..., None]:
        cls.__init__ = _init(cls, frozen)
        made: Callable[..., None] = cls.__init__
        return made

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        compiled()(self, *args, **kwargs)

    __init__.compiled = compiled  # type: ignore[attr-defined]
    return __init__


class _Signature:
    """Tells `inspect.signature` what a class takes, be its ``__init__`` compiled or not yet."""

    def __get__(self, instance: Any, owner: Any) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__ is the class's, not its objects'")
        init = owner.__init__
        init = getattr(init, "compiled", lambda: init)()
        return inspect.Signature(list(inspect.signature(init).parameters.values())[1:])


def _init(cls: type, frozen: bool) -> Callable[..., None]:
    """Compile ``__init__``."""
    scope: dict[str, Any] = {"_none": _NONE, "_set": object.__setattr__}
    places, body = ["self"], list[str]()
    named: list[str] = []
    for f in dataclasses.fields(cls):
        default, value = _default(f, scope)
        if f.init:
            (named if f.kw_only else places).append(f.name + default)
        elif not default:
            continue  # __post_init__ gives it its value
        body.append(_assignment(cls, f.name, value, frozen, scope))
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    if named:
        places += ["*", *named]
    exec(f"def __init__({', '.join(places)}):\n " + "\n ".join(body or ["pass"]), scope)
    made: Callable[..., None] = scope["__init__"]
    made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    made.__annotations__ = {f.name: f.type for f in dataclasses.fields(cls) if f.init} | {"return": None}
    return made


def _default(f: dataclasses.Field[Any], scope: dict[str, Any]) -> tuple[str, str]:
    """Return how a field's default is written in the list of arguments, and its value in the body."""
    if f.default_factory is not dataclasses.MISSING:
        scope[f"_new_{f.name}"] = f.default_factory
        new = f"_new_{f.name}()"
        return "=_none", f"{new} if {f.name} is _none else {f.name}" if f.init else new
    if f.default is not dataclasses.MISSING:
        scope[f"_default_{f.name}"] = f.default
        return f"=_default_{f.name}", f.name if f.init else f"_default_{f.name}"
    return "", f.name


def _assignment(cls: type, name: str, value: str, frozen: bool, scope: dict[str, Any]) -> str:
    if not frozen:
        return f"self.{name} = {value}"
    slot = getattr(cls, name, None)
    if isinstance(slot, MemberDescriptorType):  # which is quicker than object.__setattr__
        scope[f"_set_{name}"] = slot.__set__
        return f"_set_{name}(self, {value})"
    return f"_set(self, {name!r}, {value})"


def _comparison(cls: type, hashed: bool, unhashable: bool) -> dict[str, Any]:
    """Return ``__eq__``, and ``__hash__`` where it follows from it."""
    values = _getter([f.name for f in dataclasses.fields(cls) if f.compare])

    def __eq__(self: Any, other: object) -> Any:  # noqa: N807
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    if not hashed:
        return {"__eq__": __eq__, "__hash__": None} if unhashable else {"__eq__": __eq__}
    of_hash = _getter([f.name for f in dataclasses.fields(cls) if (f.compare if f.hash is None else f.hash)])

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(of_hash(self))

    return {"__eq__": __eq__, "__hash__": __hash__}


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function of an object that gives a tuple of attributes."""
    if not names:
        return lambda self: ()
    get = operator.attrgetter(*names)
    return get if len(names) > 1 else lambda self: (get(self),)


def _frozen(cls: Any) -> dict[str, Any]:
    """Return what refuses to change a field; a class derived from `cls` may have other attributes."""
    names = frozenset(f.name for f in dataclasses.fields(cls))

    def __setattr__(self: Any, name: str, value: object) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return {"__setattr__": __setattr__, "__delattr__": __delattr__}


@reprlib.recursive_repr()
def _repr(self: Any) -> str:
    """Return how an object is written; ``...`` inside itself."""
    fields = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr)
    return f"{self.__class__.__qualname__}({', '.join(fields)})"


def _getstate(self: Any) -> list[Any]:
    """Return the values, for pickling and copying: what `object` does would assign to frozen fields."""
    return [getattr(self, f.name) for f in dataclasses.fields(self)]


def _setstate(self: Any, state: list[Any]) -> None:
    for f, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, f.name, value)
