"""The checkpoints of a training, kept in a folder: saved, listed, restored, and let go of by rules.

::

    save(tree, step)   data ─► index: the commit ─► <prefix>.json ─► state file ─► what no rule keeps is deleted
    restore()          the latest that is sound; what was passed over is in the result

The list of checkpoints is the folder, not this process: a manager that starts in a folder with checkpoints goes on with
them, listed by a state file or not. The state file is TensorFlow's, so `tf.train.latest_checkpoint` finds the latest.
What is noted beside a checkpoint names it by the CRC of its index; a note left from another save of that name does not
count.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import re
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from coldframe.checkpoint import trees
from coldframe.checkpoint.async_save import Background, Buffers
from coldframe.checkpoint.latest import Skipped, candidates, open_file
from coldframe.checkpoint.remote import upload_bundle
from coldframe.checkpoint.retention import Keep, ranked, spaced
from coldframe.checkpoint.state import is_whole, record_checkpoint
from coldframe.errors import CorruptError, MisuseError, NotFoundError, StoreError
from coldframe.formats import crc32c
from coldframe.formats.bundle_writer import write_bundle
from coldframe.formats.stores import LocalStore, Options, place
from coldframe.records import dataclass

Which: TypeAlias = int | Literal["latest", "best"]
_NOTE_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint of a manager.

    Attributes:
        prefix: what names it.
        step: its step.
        time: when it was saved, in seconds since 1970.
        metrics: what was measured, by name.
        metadata: what the program noted.
        pinned: whether it stays until it is unpinned.
    """

    prefix: str
    step: int
    time: float
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored.

    Attributes:
        tree: the values.
        checkpoint: where they come from.
        skipped: the checkpoints that were asked for first, and why they were passed over.
    """

    tree: Any
    checkpoint: Saved
    skipped: tuple[Skipped, ...] = ()

    @property
    def step(self) -> int:
        """The step of the checkpoint."""
        return self.checkpoint.step


class CheckpointManager:
    """Saves and restores a training: arrays in any tree of dicts, lists, tuples and dataclasses.

    Arrays may be numpy's, JAX's, PyTorch's, or of any library that speaks ``__array__`` or ``__dlpack__``.

    Args:
        folder: where; it is made. A URL that fsspec knows will do.
        keep: which checkpoints stay: so many of the latest, or rules. The latest always does. None keeps all.
        name: what checkpoints are called: ``name-step``.
        shards: how many data files each has.
        asynchronous: save in the background: `save` returns once the arrays are copied. One save is under way at a
            time; the next waits for it, and raises what went wrong, as `wait` and `close` do.
        storage_options: what the store of a URL is to be told, such as credentials.

    Raises:
        MisuseError: `keep` keeps nothing, or the name cannot be one.
        StoreError: the store of a URL fails.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        keep: Keep | int | None = 5,
        name: str = "ckpt",
        shards: int = 1,
        asynchronous: bool = False,
        storage_options: Options | None = None,
    ) -> None:
        if not name or "/" in name or os.sep in name:
            raise MisuseError("a checkpoint's name is no path", expected="a name such as `ckpt`", found=repr(name))
        self._store, self._folder = place(folder, storage_options)
        self._keep = Keep(last=keep) if isinstance(keep, int) else keep
        self._name, self._shards = name, shards
        self._mine = re.compile(re.escape(name) + r"-(\d+)\.index")
        self._store.make_folder(self._folder)
        self._background = Background() if asynchronous else None
        self._buffers = Buffers()
        self._known: dict[str, Saved] = {}  # by prefix

    # --- what is there ------------------------------------------------------------------------------------------
    @property
    def checkpoints(self) -> tuple[Saved, ...]:
        """The checkpoints of the folder of which all files are there, oldest first."""
        found = {}
        for name in self._store.names(self._folder):
            if match := self._mine.fullmatch(name):
                prefix = self._store.join(self._folder, name.removesuffix(".index"))
                known = self._known.get(prefix)
                if known is not None or is_whole(prefix, self._store):
                    found[prefix] = known or self._read_note(prefix, int(match[1]))
        self._known = found
        return tuple(sorted(found.values(), key=lambda c: (c.time, c.step)))

    @property
    def latest(self) -> Saved | None:
        """The checkpoint that was saved last, or None."""
        return max(self.checkpoints, key=lambda c: (c.time, c.step), default=None)

    @property
    def best(self) -> Saved | None:
        """The best by the metric of `keep`, or None where none was measured."""
        return next(iter(self._ranked(self.checkpoints)), None)

    def _ranked(self, found: tuple[Saved, ...]) -> list[Saved]:
        keep = self._keep
        if keep is None or not keep.metric:
            raise MisuseError("the best by which metric", hint='keep=Keep(last=3, best=1, metric="loss", ...)')
        values = {c.prefix: c.metrics[keep.metric] for c in found if keep.metric in c.metrics}
        return ranked(found, values, smaller_is_better=keep.smaller_is_better)

    # --- saving -------------------------------------------------------------------------------------------------
    def save(
        self,
        tree: Any,
        step: int,
        *,
        metrics: Mapping[str, float] | None = None,
        metadata: Mapping[str, Any] | None = None,
        pin: bool = False,
    ) -> str:
        """Save a tree, then delete the checkpoints that no rule keeps; return the new one's prefix.

        A process killed at any instant leaves the checkpoints before; nothing is left of a save that fails.

        Args:
            tree: dicts, lists, tuples and dataclasses of arrays, numbers, strings and None.
            step: its step; a checkpoint of this step is replaced.
            metrics: what was measured, by name: numbers.
            metadata: what else to note; JSON has to know its types.
            pin: whether it stays until `unpin`.

        Raises:
            MisuseError: something in the tree cannot be saved, or in what is to be noted.
            OSError: the system refuses to write.
            StoreError: the store of a URL fails.
        """
        if step < 0:
            raise MisuseError("a step is no negative number", found=step)
        prefix = self._store.join(self._folder, f"{self._name}-{step}")
        tensors = trees.encode(tree)
        measured = {k: float(v) for k, v in (metrics or {}).items()}
        note = Saved(prefix, step, time.time(), measured, dict(metadata or {}), pin)
        _encode_note(note, 0)  # what cannot be noted is refused before anything is written
        if self._background is None:
            self._write(note, tensors)
            return prefix
        self._background.make_room()
        copies, release = self._buffers.copy(tensors)

        def write() -> None:
            try:
                self._write(note, copies)
            finally:
                release()

        self._background.submit(write)
        return prefix

    def _write(self, note: Saved, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        if isinstance(self._store, LocalStore):
            write_bundle(note.prefix, tensors, shards=self._shards)
        else:
            upload_bundle(self._store, note.prefix, tensors, shards=self._shards)
        self._write_note(note)
        self._known[note.prefix] = note
        record_checkpoint(note.prefix, drop=self._surplus(note), store=self._store)

    def _surplus(self, newest: Saved) -> list[str]:
        """Return what no rule keeps; nothing unless the newest checkpoint is there as it was written."""
        if self._keep is None or not is_whole(newest.prefix, self._store):
            return []
        rules = self._keep
        found = [c for c in self.checkpoints if c.prefix != newest.prefix] + [newest]
        kept = {newest.prefix, *(c.prefix for c in found if c.pinned)}
        if rules.last:
            kept.update(c.prefix for c in found[-rules.last :])
        if rules.every_hours:
            kept.update(c.prefix for c in spaced(found, rules.every_hours * 3600))
        if rules.best:
            kept.update(c.prefix for c in self._ranked(tuple(found))[: rules.best])
        return [c.prefix for c in found if c.prefix not in kept]

    def wait(self) -> None:
        """Return when no save is under way; raise what went wrong with the last one."""
        if self._background is not None:
            self._background.wait()

    def close(self) -> None:
        """Finish what is under way; raises as `wait`."""
        try:
            if self._background is not None:
                self._background.close()
        finally:
            self._buffers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- notes --------------------------------------------------------------------------------------------------
    def pin(self, step: int) -> None:
        """Keep a checkpoint until it is unpinned.

        Raises:
            NotFoundError: there is none of that step.
        """
        self._set_pinned(step, True)

    def unpin(self, step: int) -> None:
        """Let the rules decide about a checkpoint again, from the next save on; raises as `pin`."""
        self._set_pinned(step, False)

    def _set_pinned(self, step: int, pinned: bool) -> None:
        self.wait()
        with self._store.locked(self._folder):
            note = dataclasses.replace(self._at(step), pinned=pinned)
            self._write_note(note)
        self._known[note.prefix] = note

    def _at(self, step: int) -> Saved:
        found = self.checkpoints
        for c in found:
            if c.step == step:
                return c
        steps = ", ".join(str(c.step) for c in found[-10:])
        raise NotFoundError(
            f"no checkpoint of step {step}", where=f"in `{self._folder}`", found=f"steps {steps or '-'}"
        )

    def _write_note(self, note: Saved) -> None:
        self._store.replace(f"{note.prefix}.json", _encode_note(note, self._index_crc(note.prefix)))

    def _read_note(self, prefix: str, step: int) -> Saved:
        plain = Saved(prefix, step, self._store.modified(f"{prefix}.index"))
        with contextlib.suppress(NotFoundError, ValueError, TypeError, KeyError):
            note = json.loads(self._store.read(f"{prefix}.json"))
            if note["index_crc32c"] == self._index_crc(prefix):
                metrics = {str(k): float(v) for k, v in note["metrics"].items()}
                return Saved(prefix, step, float(note["time"]), metrics, dict(note["metadata"]), note["pinned"] is True)
        return plain

    def _index_crc(self, prefix: str) -> int:
        return crc32c.value(self._store.read(f"{prefix}.index"))

    # --- restoring ----------------------------------------------------------------------------------------------
    def restore(self, which: Which = "latest", *, like: Any = None) -> Restored | None:
        """Return a saved tree, having checked all of it; None where the folder has no checkpoint.

        The latest, and the best, fall back to the next that is sound; `Restored.skipped` says what was passed over.

        Args:
            which: ``latest``, ``best``, or a step.
            like: a tree of the same names; what comes back has its types: dataclasses, JAX arrays with their
                sharding, PyTorch tensors on their device. Without it, arrays are numpy's, and dataclasses dicts.

        Raises:
            NotFoundError: there is no checkpoint of that step, or `like` has arrays that were not saved.
            MisuseError: `like` has arrays of another shape or dtype.
            CorruptError: the checkpoint of that step is damaged, or all are.
        """
        self.wait()
        skipped: list[Skipped] = []
        for c in self._wanted(which, skipped):
            try:
                arrays = self._read(c.prefix)
            except StoreError:
                raise
            except (CorruptError, NotFoundError, OSError) as e:
                if isinstance(which, int):
                    raise
                skipped.append(Skipped(c.prefix, str(e)))
                continue
            where = f"in `{c.prefix}`"
            tree = trees.decode(arrays, where=where) if like is None else trees.restore_like(like, arrays, where=where)
            return Restored(tree, c, tuple(skipped))
        if skipped:
            told = "; ".join(str(s) for s in skipped[:5])
            raise CorruptError("no checkpoint is sound", where=f"in `{self._folder}`", found=told)
        return None

    def _wanted(self, which: Which, skipped: list[Skipped]) -> list[Saved]:
        if isinstance(which, int):
            return [self._at(which)]
        found = self.checkpoints
        if which == "best":
            return self._ranked(found)
        by_prefix = {c.prefix: c for c in found}
        order = list(candidates(self._folder, self._store, skipped))
        return [by_prefix[p] for p in order if p in by_prefix]

    def _read(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        file = open_file(prefix, self._store)
        try:
            return {name: np.array(file.read(name), copy=True) for name in file.specs}
        finally:
            file.close()


def _encode_note(note: Saved, index_crc: int) -> bytes:
    if odd := [k for k, v in note.metrics.items() if math.isinf(v)]:
        raise MisuseError("a metric is infinite", where=f"`{odd[0]}`", expected="a number or NaN")
    content = {
        "coldframe_checkpoint": _NOTE_VERSION,
        "step": note.step,
        "time": note.time,
        "index_crc32c": index_crc,
        "pinned": note.pinned,
        "metrics": {k: v for k, v in note.metrics.items() if not math.isnan(v)},
        "metadata": note.metadata,
    }
    try:
        return json.dumps(content, indent=1).encode()
    except (TypeError, ValueError) as e:
        raise MisuseError("the metadata cannot be noted as JSON", found=str(e)) from e
