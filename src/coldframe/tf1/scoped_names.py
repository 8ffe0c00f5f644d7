"""Names in meta graphs, with and without the scope that a graph is exported from or imported into."""

from __future__ import annotations


def strip_scope(name: str, scope: str) -> str:
    """Return a name of a node, tensor, control input or place without the scope in front."""
    for mark in ("loc:@", "^", ""):
        if name.startswith(f"{mark}{scope}/"):
            return mark + name[len(mark) + len(scope) + 1 :]
    return name


def prepend_scope(name: str, scope: str) -> str:
    """Return a name with the scope in front."""
    if not scope:
        return name
    mark = "^" if name.startswith("^") else ""
    return f"{mark}{scope}/{name[len(mark) :]}"


__all__: list[str] = []
