"""What to damage, and what coldframe may then do: raise an error of its own, or give what it gave before.

Bytes of a checkpoint are covered by checksums, so a tensor that is read from a damaged one must be the true one. A
graph has none: a changed constant gives other numbers, and any arrays will do.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import coldframe as cf
from coldframe.errors import ColdframeError
from coldframe.formats import messages
from coldframe.graph.convert import from_graph_def, to_graph_def
from coldframe.graph.ir import Graph
from coldframe.runtime.source import open_source
from fixtures_data import Run, fixture, fixtures

_EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"
_SIDE = {"answers.npz", "tensors.json"}


@dataclass(frozen=True, slots=True)
class Target:
    """One file to damage.

    Attributes:
        name: ``fixture/file``.
        file: the file.
        folder: the folder that is copied, so that the other files are there.
        kind: ``checkpoint``, ``graph`` or ``state``.
        opened: what to open, relative to the folder: a prefix, a file, or ``.`` for the folder.
        runs: what to run a graph with.
    """

    name: str
    file: Path
    folder: Path
    kind: str
    opened: str
    runs: Sequence[Run] = ()

    @property
    def size(self) -> int:
        """Bytes of all files that opening it may read."""
        return sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file())


def targets() -> list[Target]:
    """All files of the fixtures and of the example."""
    found: list[Target] = []
    for f in fixtures():
        runs = f.runs()
        for file in f.files:
            if file.name in _SIDE:
                continue
            name = f"{f.name}/{file.relative_to(f.folder).as_posix()}"
            kind, opened = _use(file, f.kind, f.path.relative_to(f.folder).as_posix())
            found.append(Target(name, file, f.folder, kind, opened, runs if kind == "graph" else ()))
    for file in sorted(_EXAMPLE.iterdir()):
        if file.suffix not in (".md", ".npz", ".json"):
            kind, opened = _use(file, "checkpoint", _example()["checkpoint"])
            runs = [_example_run()] if kind == "graph" else []
            found.append(Target(f"digits/{file.name}", file, _EXAMPLE, kind, opened, runs))
    return found


def _use(file: Path, kind: str, opened: str) -> tuple[str, str]:
    if file.name == "checkpoint":
        return "state", "."
    if file.suffix == ".meta":
        return "graph", file.name
    if file.suffix == ".index":
        return "checkpoint", _beside(opened, file.name.removesuffix(".index"), kind)
    if ".data-" in file.name:
        return "checkpoint", _beside(opened, file.name.partition(".data-")[0], kind)
    return ("checkpoint" if kind == "checkpoint" else "graph"), opened


def _beside(opened: str, prefix: str, kind: str) -> str:
    return f"{opened}/variables/{prefix}" if kind == "saved_model" else prefix


def _example() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_EXAMPLE / "answers.json").read_text())
    return found


def _example_run() -> Run:
    names = _example()
    image = np.linspace(0, 1, 2 * 8 * 8, dtype=np.float32).reshape(2, 64)
    return Run({names["input"]: image, names["is_training"]: np.array(False)}, {names["output"]: image}, None)


# --- what coldframe does with it --------------------------------------------------------------------------------
Answer = dict[str, tuple[str, tuple[int, ...], int]]
Phase = Callable[[], object]


def read_checkpoint(path: Path) -> Answer:
    """Every tensor of a checkpoint, as dtype, shape and CRC of its bytes."""
    with cf.open_checkpoint(path) as ckpt:
        return {name: _facts(ckpt[name], str(spec.dtype)) for name, spec in ckpt.specs.items()}


def _facts(array: Any, dtype: str) -> tuple[str, tuple[int, ...], int]:
    data = repr(array.tolist()).encode() if array.dtype.kind == "O" else np.ascontiguousarray(array).tobytes()
    return dtype, array.shape, zlib.crc32(data)


def inspected(path: Path) -> None:
    """Inspect a path, and show the report in both ways."""
    report = cf.inspect(path)
    str(report)
    json.dumps(report.to_json())


def read_graph(path: Path) -> Any:
    """Open a graph with all its functions, and write it again."""
    source = open_source(path)
    _write_again(source.graph)
    return source


def _write_again(graph: Graph) -> None:
    for function in graph.functions:
        graph.function(function)
    to_graph_def(graph).SerializeToString()


def run_graph(path: Path, run: Run, engine: str) -> None:
    """Load a graph and run it."""
    model = cf.load(path, engine=engine, threads=1)
    _arrays(model.run(run.feeds, list(run.expected), signature=run.signature).values())


def run(session: Any, feeds: Mapping[str, Any], fetches: Sequence[str]) -> None:
    """Run a session."""
    _arrays(session.run(list(fetches), feeds))


def _arrays(values: Iterable[Any]) -> None:
    for value in values:
        if value is not None and not isinstance(value, (np.ndarray, np.generic, bytes)):
            raise TypeError(f"a run gave {type(value).__name__}")


def graph_of(name: str) -> tuple[Any, list[tuple[Mapping[str, Any], list[str]]]]:
    """A fresh ``GraphDef`` of a fixture, and feeds and fetches for it by tensor names."""
    proto, runs = _wirable(name)
    made = messages.GraphDef()
    made.CopyFrom(proto)
    return made, runs


@lru_cache(maxsize=1)
def _wirable(name: str) -> tuple[Any, list[tuple[Mapping[str, Any], list[str]]]]:
    f = fixture(name)
    source = open_source(f.meta or f.path)
    runs: list[tuple[Mapping[str, Any], list[str]]] = []
    for r in f.runs():
        signature = source.signatures[r.signature] if r.signature else None
        feeds = {(signature.inputs[k].name if signature else k): v for k, v in r.feeds.items()}
        runs.append((feeds, [signature.outputs[k].name if signature else k for k in r.expected]))
    return to_graph_def(source.graph), runs


def convert(proto: Any) -> None:
    """Make a graph of a ``GraphDef``, with all its functions, and a ``GraphDef`` of that."""
    _write_again(from_graph_def(proto))


def refuses(step: Phase) -> bool:
    """Whether `step` raises an error of coldframe's; any other escapes."""
    try:
        step()
    except ColdframeError as e:
        if not str(e).strip():
            raise AssertionError("an error without a message") from e
        return True
    return False


def copy_folder(target: Target) -> tempfile.TemporaryDirectory[str]:
    """Copy the target's folder to a temporary one."""
    made = tempfile.TemporaryDirectory(prefix="mutation-")
    shutil.copytree(target.folder, made.name, dirs_exist_ok=True)
    return made
