"""What `inspect` reports: a tree of records, as an object, as JSON and as text.

::

    Report ─┬─ files           each file, its size, whether it is there
            ├─ checkpoint ──── tensors (variables, optimizer slots, bookkeeping), objects, global step
            ├─ graphs ──────── per meta graph: signatures, inputs, outputs, variables, ops, functions, collections
            ├─ state ───────── which checkpoints a state file lists, and which of them exist
            └─ notes ───────── what the reader should know or do next
"""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path, PurePath
from typing import Any

from coldframe.checkpoint.roles import Role
from coldframe.dtypes import DType
from coldframe.records import dataclass
from coldframe.shapes import Shape, TensorSpec


@dataclass(frozen=True, slots=True)
class FileFact:
    """A file that belongs to what is inspected.

    Attributes:
        path: the file.
        size: its size in bytes, or None where it is missing.
    """

    path: Path
    size: int | None


@dataclass(frozen=True, slots=True)
class TensorFact:
    """A tensor of a checkpoint.

    Attributes:
        spec: name, dtype and shape.
        size: bytes, or None where the width varies (strings).
        role: what it is for.
        of: for a slot or an average, the tensor it belongs to; else empty.
        full_name: the variable's name in a TF1 graph, where the object graph tells.
    """

    spec: TensorSpec
    size: int | None
    role: Role
    of: str = ""
    full_name: str = ""


@dataclass(frozen=True, slots=True)
class CheckpointFact:
    """A checkpoint.

    Attributes:
        prefix: the path that names it.
        version: ``V2`` or ``V1``.
        shards: the number of data files.
        byte_order: ``little`` or ``big``.
        tensors: all tensors, sorted by name.
        global_step: the step it was saved at, or None where no tensor tells or its data is missing.
        objects: the number of Python objects in the object graph; 0 in a checkpoint by names.
    """

    prefix: Path
    version: str
    shards: int
    byte_order: str
    tensors: tuple[TensorFact, ...]
    global_step: int | None
    objects: int

    def of_role(self, *roles: Role) -> tuple[TensorFact, ...]:
        """The tensors of some roles."""
        return tuple(t for t in self.tensors if t.role in roles)


@dataclass(frozen=True, slots=True)
class EndFact:
    """An input or output of a graph.

    Attributes:
        spec: the tensor; the shape is what the graph tells.
        op: the op that makes it.
        reason: why it is thought to be one.
    """

    spec: TensorSpec
    op: str
    reason: str


@dataclass(frozen=True, slots=True)
class SignatureFact:
    """A signature: a function of the model with named inputs and outputs.

    Attributes:
        key: its name, such as ``serving_default``.
        method: TensorFlow's name of its kind, such as ``tensorflow/serving/predict``.
        inputs: tensor, dtype and shape by input name.
        outputs: the same of the outputs.
    """

    key: str
    method: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class GraphFact:
    """A graph, or one meta graph of a SavedModel.

    Attributes:
        tags: the tags of a SavedModel's meta graph.
        tensorflow: the version that wrote it, or empty.
        producer: the GraphDef version of its producer.
        nodes: how many nodes it has, without those in functions.
        inputs: tensors to feed.
        outputs: tensors to fetch; of graphs without signatures, guesses.
        signatures: its signatures.
        variables: the variables that the graph makes.
        ops: how often each op occurs, functions included; most frequent first.
        unsupported: those of `ops` that coldframe cannot run.
        unknown_attributes: attributes, as ``Op.name``, that the op does not have, and how many nodes give them;
            they are passed over.
        functions: number of nodes by function name.
        constants: bytes of weights inside the graph.
        collections: number of entries by collection.
        saver: the names that restore and save it: filename, save and restore node.
        assets: asset files.
    """

    tags: tuple[str, ...]
    tensorflow: str
    producer: int
    nodes: int
    inputs: tuple[EndFact, ...]
    outputs: tuple[EndFact, ...]
    signatures: tuple[SignatureFact, ...]
    variables: tuple[TensorSpec, ...]
    ops: dict[str, int]
    unsupported: dict[str, int]
    unknown_attributes: dict[str, int]
    functions: dict[str, int]
    constants: int
    collections: dict[str, int]
    saver: dict[str, str]
    assets: tuple[FileFact, ...]


@dataclass(frozen=True, slots=True)
class ListedCheckpoint:
    """A checkpoint that a state file lists, or that lies in a folder.

    Attributes:
        listed: the path as the state file has it.
        prefix: what it stands for today.
        exists: whether it is there.
    """

    listed: str
    prefix: Path
    exists: bool


@dataclass(frozen=True, slots=True)
class StateFact:
    """A state file.

    Attributes:
        latest: the latest checkpoint.
        all: every checkpoint that it lists, oldest first.
        unlisted: checkpoints of the folder that it does not list.
    """

    latest: ListedCheckpoint
    all: tuple[ListedCheckpoint, ...]
    unlisted: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What a file or folder is, and what is in it. ``str(report)`` is the text that ``coldframe inspect`` prints.

    Attributes:
        path: the path as it was given.
        kind: the kind, as a lower-case word: ``graph_def``, ``checkpoint``, ``saved_model``, ...
        title: the kind as a sentence names it.
        files: the files that make it up.
        checkpoint: the tensors of a checkpoint, of a folder's latest one, or of a SavedModel's variables.
        graphs: the graph; of a SavedModel, each of its meta graphs.
        state: what the state file lists.
        notes: what to know, or to do next.
    """

    path: Path
    kind: str
    title: str
    files: tuple[FileFact, ...] = ()
    checkpoint: CheckpointFact | None = None
    graphs: tuple[GraphFact, ...] = ()
    state: StateFact | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as what `json.dumps` takes: dtypes by name, unknown dimensions and ranks as null."""
        found: dict[str, Any] = plain(self)
        return found

    def text(self, *, all: bool = False) -> str:
        """Return the report as text; `all` shows every row of long tables."""
        from coldframe.runtime.inspection.text import render

        return render(self, all=all)

    def __str__(self) -> str:
        return self.text()


def plain(value: Any) -> Any:
    """Return records, specs, paths and enums as dicts, lists and strings."""
    if isinstance(value, TensorSpec):
        return value.to_json()
    if isinstance(value, (DType, PurePath)):
        return value.name if isinstance(value, DType) else str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Shape):
        return None if value.dims is None else list(value.dims)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [plain(v) for v in value]
    return value
