"""The quick dataclasses are what `dataclasses` would make."""

from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from coldframe import records
from source_tree import modules, tree

ARGUMENTS = [{"frozen": f, "slots": s, "eq": e} for f in (False, True) for s in (False, True) for e in (False, True)]


def _point(make: Callable[..., Any]) -> Any:
    class Point:
        """A place."""

        LIMIT: ClassVar[int] = 3
        x: int
        y: int = 2
        tags: list[str] = dataclasses.field(default_factory=list)
        hidden: str = dataclasses.field(default="h", repr=False, compare=False)
        _cache: int = dataclasses.field(default=7, init=False)
        named: str = dataclasses.field(default="n", kw_only=True)

        def total(self) -> int:
            return self.x + self.y

    return make(Point)


def _derived(make: Callable[..., Any]) -> Any:
    base = _point(make)

    class Derived(base):  # type: ignore[misc]
        """With a field more, and one of other default."""

        y: int = 5
        more: tuple[int, ...] = ()

    return make(Derived)


def _single(make: Callable[..., Any]) -> Any:
    class Single:
        """With what it computes from its field."""

        value: int
        double: int = dataclasses.field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "double", 2 * self.value)

    return make(Single)


def _hashed(make: Callable[..., Any]) -> Any:
    class Hashed:
        """With a field that cannot be hashed."""

        name: str
        attrs: dict[str, int] = dataclasses.field(hash=False)

    return make(Hashed)


def _own(make: Callable[..., Any]) -> Any:
    class Own:
        """With methods of its own."""

        name: str

        def __repr__(self) -> str:
            return "mine"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 5

    return make(Own)


def _empty(make: Callable[..., Any]) -> Any:
    class Empty:
        """Without fields."""

    return make(Empty)


KINDS = {
    _point: [(1,), (1, 2), (2, 3, ["a"]), (2, 3, ["b"], "z")],
    _derived: [(1,), (1, 5, [], "h", (1,)), (1, 4)],
    _single: [(1,), (2,), (1,)],
    _hashed: [("a", {"b": 1}), ("a", {"b": 2})],
    _own: [("a",), ("b",)],
    _empty: [(), ()],
}


def _outcome(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as e:
        return type(e)


def _facts(kind: Any, values: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Return what can be told of a class and its objects."""
    objects = [kind(*v) for v in values]
    hashes = [_outcome(lambda o=o: hash(o)) for o in objects]  # type: ignore[misc]
    named = [h.__name__ if isinstance(h, type) else h in (hashes[0], 5) for h in hashes]
    return {
        "repr": [repr(o).rpartition("<locals>.")[2] for o in objects],
        "equal": [[a == b for b in objects] for a in objects],
        "other": [a == 1 for a in objects],
        "hash": named if "object" not in str(kind.__hash__) else "by identity",
        "fields": [(f.name, f.type, f.init, f.kw_only) for f in dataclasses.fields(kind)],
        "values": [dataclasses.asdict(o) for o in objects],
        "copies": [dataclasses.asdict(copy.copy(o)) for o in objects],
        "deep": [dataclasses.asdict(copy.deepcopy(o)) for o in objects],
        "set": [_outcome(lambda o=o, f=f: setattr(o, f.name, 1)) for o in objects for f in dataclasses.fields(o)],  # type: ignore[misc]
        "other name": [_outcome(lambda o=o: setattr(o, "nowhere", 1)) for o in objects] if _open(kind) else (),  # type: ignore[misc]
        "deleted": [_outcome(lambda o=o, f=f: delattr(o, f.name)) for o in objects for f in dataclasses.fields(o)],  # type: ignore[misc]
        "arguments": [
            (p.name, p.kind, p.default is inspect.Parameter.empty) for p in inspect.signature(kind).parameters.values()
        ],
        "match": kind.__match_args__,
        "missing": _outcome(lambda: kind(no=1)),
        "slots": kind.__dict__.get("__slots__"),
        "doc": kind.__doc__,
    }


def _open(kind: Any) -> bool:
    """Whether a name that is no field is refused for the same reason: the message of slots in 3.11 is a fault."""
    return "__slots__" not in kind.__dict__


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("make", KINDS, ids=lambda make: str(make.__name__))
def test_as_dataclasses_make_them(make: Callable[..., Any], arguments: dict[str, bool]) -> None:
    want = _facts(make(dataclasses.dataclass(**arguments)), KINDS[make])  # type: ignore[call-overload]
    assert _facts(make(records.dataclass(**arguments)), KINDS[make]) == want  # type: ignore[call-overload]


@records.dataclass(frozen=True, slots=True)
class Kept:
    """What goes to another process."""

    name: str
    values: tuple[int, ...] = ()


@records.dataclass(slots=True)
class Knot:
    """What may hold itself."""

    inside: list[Any] = dataclasses.field(default_factory=list)


def test_a_frozen_one_with_slots_is_pickled() -> None:
    assert pickle.loads(pickle.dumps(Kept("a", (1, 2)))) == Kept("a", (1, 2))


def test_replace_and_matching() -> None:
    assert dataclasses.replace(Kept("a", (1,)), name="b") == Kept("b", (1,))
    match Kept("a", (1,)):
        case Kept("a", values):
            assert values == (1,)


def test_one_inside_itself_is_written() -> None:
    knot = Knot()
    knot.inside.append(knot)
    assert repr(knot) == "Knot(inside=[...])"


@pytest.mark.parametrize("make", [_point, _derived, _single, _empty], ids=lambda make: str(make.__name__))
def test_its_arguments_are_told_before_the_first_object(make: Callable[..., Any]) -> None:
    want = inspect.signature(make(dataclasses.dataclass))
    kind = make(records.dataclass)
    assert list(inspect.signature(kind).parameters) == list(want.parameters)

    class Called(kind):  # type: ignore[misc]
        def __init__(self, other: int) -> None: ...

        def __call__(self, more: int) -> None: ...

    assert list(inspect.signature(Called).parameters) == ["other"]
    assert list(inspect.signature(Called(1)).parameters) == ["more"]


def test_each_object_has_a_new_default() -> None:
    assert Knot().inside is not Knot().inside


def test_a_frozen_one_says_what_cannot_be_set() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'name'"):
        Kept("a").name = "b"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'name'"):
        del Kept("a").name  # type: ignore[misc]


def test_a_class_derived_from_a_frozen_one_may_have_attributes() -> None:
    class More(Kept):
        pass

    more = More("a")
    more.note = "b"  # type: ignore[attr-defined]
    assert more.note == "b"  # type: ignore[attr-defined]
    del more.note  # type: ignore[attr-defined]
    with pytest.raises(dataclasses.FrozenInstanceError):
        more.name = "c"  # type: ignore[misc]


def test_all_of_them_are_made_so() -> None:
    """`dataclasses.dataclass` would be slow and its classes could not inherit from these."""
    for path in modules():
        for node in ast.walk(tree(path)) if path.name != "records.py" else ():
            if isinstance(node, ast.ImportFrom) and node.module == "dataclasses":
                assert "dataclass" not in [a.name for a in node.names], f"{path}:{node.lineno}: from coldframe.records"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "dataclasses":
                assert node.attr != "dataclass", f"{path}:{node.lineno}: from coldframe.records"
