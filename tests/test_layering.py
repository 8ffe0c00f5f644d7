"""Each room imports only rooms before it, heavy libraries are met in one place, and ops are named in ops/ alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldframe.graph.signatures import all_names
from source_tree import SRC, dotted, imports, modules, tree

# docs/architecture.md has the same table for readers; `test_the_map_in_the_docs_is_this_one` compares them.
FOUNDATIONS = ("collecting", "records", "errors", "dtypes", "shapes")
ROOMS = ("formats", "checkpoint", "graph", "primitives", "ops", "passes", "engines", "runtime", "tf1", "serve", "cli")
ALLOWED: dict[str, tuple[str, ...]] = {
    "collecting": (),
    "records": (),
    "errors": (),
    "dtypes": ("records", "errors"),
    "shapes": ("records", "errors", "dtypes"),
    **{room: (*FOUNDATIONS, *ROOMS[:i]) for i, room in enumerate(ROOMS)},
    "checkpoint": ("records", "errors", "dtypes", "shapes", "formats"),  # its file tools need no graph
}
FRONT = ("__init__", "__main__")  # the package's front door may name any room; it imports lazily

HOMES = {
    "onnxruntime": {"engines/onnxruntime.py"},
    "openvino": {"engines/openvino.py"},
    "rich": {"cli/terminal.py"},
    "tensorflow": set(),
    "keras": set(),
}
GRAPH_FORMAT = {"graph/convert.py"}  # the only module of graph/ that knows a file format

# Names that are an op's and something else too. Each with what it is here.
NOT_AN_OP: dict[str, str] = {}


def room_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_only_rooms_before_it(path: Path) -> None:
    room = room_of(dotted(path)) if path.name != "__main__.py" else "__main__"
    if room in FRONT:
        return
    assert room in ALLOWED, f"`{room}` is a new room: add it to the map, here and in docs/architecture.md"
    for line, name in imports(path):
        if name.split(".")[0] == "coldframe" and (other := room_of(name)) in ALLOWED:
            assert other == room or other in ALLOWED[room], f"{path}:{line}: {room} may not import {name}"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_heavy_libraries_have_one_home(path: Path) -> None:
    here = path.relative_to(SRC).as_posix()
    for line, name in imports(path):
        library = name.split(".")[0]
        if library in HOMES:
            assert here in HOMES[library], f"{path}:{line}: {library} is imported in {HOMES[library] or 'tests'} only"
        mine = here.startswith(("engines/xla", "primitives/jax_"))
        assert library != "jax" or mine, f"{path}:{line}: jax is imported by its interpreter and its engine only"
        assert not name.startswith("coldframe.primitives.jax_") or mine, f"{path}:{line}: it loads jax"


def test_only_convert_knows_a_file_format_in_graph() -> None:
    for path in (SRC / "graph").glob("*.py"):
        if path.relative_to(SRC).as_posix() not in GRAPH_FORMAT:
            used = [n for _, n in imports(path) if n.startswith("coldframe.formats")]
            assert not used, f"{path} imports {used}"


def op_literals(path: Path, ops: frozenset[str]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in ops:
            yield node.lineno, node.value


def camel_case_ops() -> frozenset[str]:
    return frozenset(n for n in all_names() if len(n) >= 4 and n[0].isupper() and not n.isupper())


@pytest.mark.parametrize("room", ["passes", "engines", "runtime", "graph", "cli"])
def test_ops_are_named_in_ops_alone(room: str) -> None:
    """What is special about an op is a field of its row in the op table."""
    ops = camel_case_ops()
    found = [
        f"{path.relative_to(SRC)}:{line}: {name}"
        for path in sorted((SRC / room).rglob("*.py"))
        for line, name in op_literals(path, ops)
        if name not in NOT_AN_OP
    ]
    assert not found, "\n".join(found)


def test_the_check_for_op_names_finds_them(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('x = node.op == "MatMul"\ny = "matmul"\n')
    assert list(op_literals(tmp_path / "a.py", camel_case_ops())) == [(1, "MatMul")]


def test_the_map_in_the_docs_is_this_one() -> None:
    text = (SRC.parents[1] / "docs" / "architecture.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    told = {row.split("|")[1].strip().strip("`/"): row.split("|")[3] for row in rows}
    for room, may in ALLOWED.items():
        assert room in told, f"docs/architecture.md has no row for `{room}`"
        listed = {name.strip().strip("`") for name in told[room].split(",")} - {"", "nothing"}
        if listed == {"every room above"}:
            listed = {*FOUNDATIONS, *ROOMS[: ROOMS.index(room)]}
        assert listed == set(may), room
