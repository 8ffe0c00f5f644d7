"""SavedModel folders.

::

    saved_model.pb | saved_model.pbtxt       SavedModel{schema_version = 1, meta_graphs: MetaGraphDef with tags}
    variables/variables.{index,data-*}       V2 checkpoint with the values; absent where there are no variables
    assets/*                                 files that asset_file_def names, such as vocabularies
    fingerprint.pb                           FingerprintDef
    saved_model.cpb                          chunked form for more than 2 GiB: recognised, not read

Several meta graphs share the variables; tags such as ``serve`` or ``train`` tell them apart. After
tensorflow/core/protobuf/saved_model.proto and tensorflow/python/saved_model/constants.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from coldframe.errors import CorruptError, NotFoundError, UnsupportedFormatError, WrongFileError, near_names
from coldframe.formats import messages, sniff
from coldframe.formats.content import Kind
from coldframe.formats.files import PathLike, read_file, write_atomic
from coldframe.formats.graph_def import read_message, write_message
from coldframe.records import dataclass

SCHEMA_VERSION: Final = 1
DEFAULT_TAGS: Final = frozenset({"serve"})


@dataclass(frozen=True, slots=True)
class SavedModel:
    """An open SavedModel: the message, and where its other files lie.

    Attributes:
        folder: the folder.
        message: the ``SavedModel`` message.
    """

    folder: Path
    message: Any

    @property
    def tag_sets(self) -> list[frozenset[str]]:
        """The tags of each meta graph, in the file's order."""
        return [frozenset(m.meta_info_def.tags) for m in self.message.meta_graphs]

    @property
    def variables_prefix(self) -> Path | None:
        """The prefix of the checkpoint with the values, or None where the model has no variables."""
        prefix = self.folder / "variables" / "variables"
        return prefix if prefix.with_name("variables.index").is_file() else None

    def meta_graph(self, tags: Iterable[str] | None = None) -> Any:
        """Return the MetaGraphDef with exactly `tags`; left out, the one tagged ``serve``, or the only one.

        Raises:
            NotFoundError: there is none; the tag sets that exist are listed.
        """
        sets = self.tag_sets
        if tags is None:
            if DEFAULT_TAGS in sets:
                return self.message.meta_graphs[sets.index(DEFAULT_TAGS)]
            if len(sets) == 1:
                return self.message.meta_graphs[0]
            raise self._no_meta_graph("several meta graphs, none of them tagged `serve` alone", "name one by its tags")
        wanted = frozenset([tags] if isinstance(tags, str) else tags)
        if wanted not in sets:
            near = near_names(_spell(wanted), [_spell(s) for s in sets])
            raise self._no_meta_graph(f"no meta graph is tagged {_spell(wanted)}", near)
        return self.message.meta_graphs[sets.index(wanted)]

    def _no_meta_graph(self, what: str, hint: str) -> NotFoundError:
        there = "; ".join(_spell(s) for s in self.tag_sets) or "no meta graph"
        return NotFoundError(what, where=f"in {self.folder}", found=there, hint=hint)

    def assets(self, meta_graph: Any) -> dict[str, Path]:
        """Return the files that the graph's asset tensors stand for, by tensor name such as ``vocab:0``.

        Raises:
            CorruptError: a name leads out of the folder ``assets``.
        """
        return {a.tensor_info.name: self._asset(a.filename) for a in meta_graph.asset_file_def}

    def _asset(self, name: str) -> Path:
        pure = PurePosixPath(name)
        if not name or "\0" in name or "\\" in name or pure.is_absolute() or ".." in pure.parts:
            raise CorruptError(
                "asset outside the folder `assets`", where=f"in {self.folder}", expected="a plain file name", found=name
            )
        return self.folder / "assets" / name

    def fingerprint(self) -> Any | None:
        """Return the FingerprintDef, or None where the model has none (TensorFlow before 2.11 wrote none).

        Raises:
            CorruptError: it is damaged.
        """
        path = self.folder / "fingerprint.pb"
        return messages.parse("FingerprintDef", read_file(path), where=f"in {path}") if path.is_file() else None


def _spell(tags: Iterable[str]) -> str:
    return "[" + ", ".join(f"`{t}`" for t in sorted(tags)) + "]"


def read_saved_model(path: PathLike) -> SavedModel:
    """Open a SavedModel by its folder, or by the ``saved_model.pb`` or ``.pbtxt`` inside.

    Raises:
        NotFoundError: there is no such path.
        WrongFileError: it is something else; the error says what to pass instead.
        UnsupportedFormatError: it is chunked (``.cpb``), or of a schema version to come.
        CorruptError: the file is damaged, or ends too early (`TruncatedError`).
    """
    path = Path(path)
    found = sniff.sniff(path)
    if found.kind is Kind.SAVED_MODEL_CPB:
        raise UnsupportedFormatError(
            "chunked SavedModel",
            where=f"in {found.target}",
            expected="saved_model.pb or saved_model.pbtxt",
            hint="save the model again without chunking (in TensorFlow: below 2 GiB, or with the weights as variables)",
        )
    if path.is_dir() and found.kind is not Kind.SAVED_MODEL:
        raise _no_saved_model(path, found)
    message = read_message(found.target, Kind.SAVED_MODEL, "SavedModel")
    if message.saved_model_schema_version > SCHEMA_VERSION:
        raise UnsupportedFormatError(
            "SavedModel of a schema to come",
            where=f"in {found.target}",
            expected=f"version {SCHEMA_VERSION}",
            found=message.saved_model_schema_version,
        )
    return SavedModel(found.target.parent, message)


def _no_saved_model(path: Path, found: sniff.FileKind) -> WrongFileError:
    below = sorted(p.parent for p in path.glob("*/saved_model.pb*"))[:3]
    hint = f"pass a folder below it: {', '.join(f'`{p}`' for p in below)}" if below else ""
    return WrongFileError(
        f"`{path}` is of the wrong kind",
        expected="a folder with saved_model.pb or saved_model.pbtxt",
        found=found,
        hint=hint or ("open it as a checkpoint" if found.kind is Kind.CHECKPOINT_DIR else ""),
    )


def write_saved_model(
    folder: PathLike,
    meta_graphs: Iterable[Any],
    *,
    assets: Mapping[str, bytes] | None = None,
    as_text: bool = False,
    sync: bool = True,
) -> SavedModel:
    """Write ``saved_model.pb`` (or ``.pbtxt``) and the assets; the file that makes it a SavedModel comes last.

    Write the variables, ``variables/variables``, before: a folder without ``saved_model.pb`` is not loaded by anyone.

    Args:
        folder: the folder; made if it does not exist.
        meta_graphs: MetaGraphDefs, each with its own tags.
        assets: contents by file name, put under ``assets/``.
        as_text: whether to write ``saved_model.pbtxt``.
        sync: whether to wait until the files are on the disk.

    Raises:
        UnsupportedError: the message takes more than 2 GiB; the old file has not been touched.
        CorruptError: an asset's name leads out of the folder.
    """
    folder = Path(folder)
    message = messages.SavedModel(saved_model_schema_version=SCHEMA_VERSION, meta_graphs=meta_graphs)
    model = SavedModel(folder, message)
    paths = {model._asset(name): data for name, data in (assets or {}).items()}
    folder.mkdir(parents=True, exist_ok=True)
    for path, data in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, [data], sync=sync)
    name = "saved_model.pbtxt" if as_text else "saved_model.pb"
    write_message(folder / name, message, as_text=as_text, sync=sync)
    other = folder / ("saved_model.pb" if as_text else "saved_model.pbtxt")
    other.unlink(missing_ok=True)  # readers prefer the binary file: a stale one would hide the new one
    return model
