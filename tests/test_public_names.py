"""The public surface: `__all__` is what there is, and all of it is documented."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path

import pytest

import coldframe as cf
from coldframe import errors

PUBLIC = [n for n in cf.__all__ if n != "__version__"]


def test_the_list_is_sorted_and_complete() -> None:
    assert [n for n in cf.__all__ if n != "__version__"] == sorted(PUBLIC)
    assert dir(cf) == sorted(cf.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_there(name: str) -> None:
    value = getattr(cf, name)
    assert value.__name__ == name
    assert value.__module__.startswith("coldframe.")


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'coldframe' has no attribute 'laod'"):
        _ = cf.laod


def test_every_error_is_public() -> None:
    classes = {n for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, cf.ColdframeError)}
    assert classes <= set(cf.__all__)


def members(value: object) -> list[tuple[str, object]]:
    """The public methods and properties that a class defines itself."""
    return [
        (n, m)
        for n, m in vars(value).items()
        if not n.startswith("_") and (inspect.isfunction(m) or isinstance(m, (property, classmethod)))
    ]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_has_a_docstring(name: str) -> None:
    value = getattr(cf, name)
    assert inspect.getdoc(value), name
    if inspect.isclass(value):
        assert [n for n, m in members(value) if not inspect.getdoc(m) and n not in UNDOCUMENTED] == []


UNDOCUMENTED = {"get", "rank", "unknown", "of", "to_json"}  # what they do is what they are called


@pytest.mark.parametrize("name", [n for n in PUBLIC if n.islower()])
def test_functions_tell_what_they_raise(name: str) -> None:
    assert inspect.isfunction(getattr(cf, name))
    doc = inspect.getdoc(getattr(cf, name)) or ""
    assert "Raises:" in doc, name


def test_the_version_is_the_package_s() -> None:
    settings = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert settings["project"]["version"] == cf.__version__
