"""Saving what can be saved of a damaged checkpoint, into a new one; and putting a folder's state file right.

::

    entry in a sound block, or one put right by its CRC ─┐
    entry in a damaged block: doubtful                   ├─► bytes that match the entry's CRC ─► the new checkpoint
    block unreadable: tensors that only .meta knows      ┘   others: lost, with the reason

What is damaged is never touched.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from typing import Any

from coldframe import dtypes
from coldframe.checkpoint.folder import canonical, find_checkpoints, format_of, locate, step_of
from coldframe.checkpoint.listing import old_state, saved_at
from coldframe.checkpoint.remote import upload
from coldframe.checkpoint.report import Problem, told
from coldframe.checkpoint.salvage import Fate, Found, of_bundle, of_v1
from coldframe.checkpoint.staging import brought
from coldframe.checkpoint.verify_bundle import Scope
from coldframe.checkpoint.verify_graph import meta_path, wanted_tensors
from coldframe.checkpoint.verifying import verify_checkpoint
from coldframe.errors import ChecksumError, ColdframeError, CorruptError, MisuseError, NotFoundError
from coldframe.formats import files
from coldframe.formats.bundle_writer import BundleWriter
from coldframe.formats.checkpoint_state import STATE_FILE, CheckpointState, resolve, write_state
from coldframe.formats.meta_graph import read_meta_graph
from coldframe.formats.stores import LOCAL, Options, is_url, place
from coldframe.records import dataclass


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What `repair` saved, and what it could not.

    Attributes:
        source: the damaged checkpoint.
        destination: the new one.
        saved: the names of the tensors in it.
        doubtful: those of them that are not proven to be what was saved.
        lost: what is not in it.
    """

    source: str
    destination: str
    saved: tuple[str, ...]
    doubtful: tuple[Fate, ...]
    lost: tuple[Fate, ...]

    def text(self) -> str:
        """Return the report as people read it."""
        lines = [f"{self.destination}: {len(self.saved)} tensor{'s'[: len(self.saved) != 1]} saved"]
        lines += [f"  doubtful: {fate}" for fate in self.doubtful]
        lines += [f"  lost: {fate}" for fate in self.lost]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return dataclasses.asdict(self)


def repair(
    source: str | os.PathLike[str], destination: str | os.PathLike[str], *, keep_damaged: bool = False
) -> RepairReport:
    """Save every intact tensor of a damaged checkpoint as a new V2 checkpoint; the damaged one is not touched.

    An index whose footer or index block is gone is read by recognising its blocks. One wrong byte in a block is put
    right, where its CRC leaves no doubt which. A ``.meta`` beside the checkpoint is copied, and tells the names of what
    is lost.

    Args:
        source: the checkpoint, by its prefix or one of its files. That of a URL is brought to the folder for temporary
            files first.
        destination: the prefix of the new one; or a URL.
        keep_damaged: also save tensors whose bytes are there but do not match their CRC: a few wrong numbers may be
            better than none. They are reported as doubtful.

    Raises:
        NotFoundError: there is no such checkpoint.
        CorruptError: no tensor can be saved; nothing has been written.
        MisuseError: `destination` is the source.
    """
    if not (is_url(source) or is_url(destination)):
        return _repair(source, os.fspath(destination), keep_damaged=keep_damaged)
    store, final = place(destination)
    if is_url(source) and canonical(final) == canonical(os.fspath(source)):
        raise MisuseError("a checkpoint is not repaired in place", where=f"`{final}`", expected="another prefix")
    with brought(source) as here, tempfile.TemporaryDirectory(prefix="coldframe-") as folder:
        local = final if store is LOCAL else os.path.join(folder, "made")
        report = _repair(here, local, keep_damaged=keep_damaged)
        if store is not LOCAL:
            upload(store, final, local)
            if os.path.isfile(f"{local}.meta"):
                store.replace(f"{final}.meta", files.read_file(f"{local}.meta"))
    return dataclasses.replace(report, source=os.fspath(source), destination=final)


def _repair(source: str | os.PathLike[str], final: str, *, keep_damaged: bool) -> RepairReport:
    prefix = locate(source)
    if canonical(final) == canonical(prefix):
        raise MisuseError("a checkpoint is not repaired in place", where=f"`{final}`", expected="another prefix")
    lost: list[Fate] = []
    is_v1 = format_of(prefix) == "V1"
    found = of_v1(prefix, lost, keep_damaged=keep_damaged) if is_v1 else of_bundle(prefix, lost)
    doubtful = {f.name: f.doubt for f in found if f.doubt}
    good = []
    for f in found:
        if reason := f.loss or _first_failure(f, keep_damaged, doubtful):
            lost.append(Fate(f.name, reason))
        else:
            good.append(f)
    saved = tuple(sorted(f.name for f in good))
    if good:
        _write(final, good, verify=not keep_damaged)
    _by_meta(prefix, final if good else None, saved, lost)
    if not good:
        raise CorruptError(
            "no tensor can be saved", where=f"of {prefix}", found="; ".join(map(str, lost[:5])) or "no tensor at all"
        )
    return RepairReport(prefix, final, saved, tuple(Fate(n, doubtful[n]) for n in saved if n in doubtful), tuple(lost))


def _write(prefix: str, good: list[Found], *, verify: bool) -> None:
    with BundleWriter(prefix) as writer:
        for f in sorted(good, key=lambda f: f.name.encode("utf-8", "surrogateescape")):
            dtype = dtypes.from_enum(f.dtype)
            for piece in f.pieces:
                if piece.part is None:
                    writer.add(f.name, piece.read(verify), dtype=dtype)
                else:
                    writer.add_slice(f.name, f.shape, piece.part, piece.read(verify), dtype=dtype)


def _first_failure(f: Found, keep_damaged: bool, doubtful: dict[str, str]) -> str:
    """Read a tensor once; return why it cannot be saved, or an empty string."""
    for piece in f.pieces:
        where = f"slice `{piece.part}`: " if piece.part is not None else ""
        try:
            piece.read(True)
        except ChecksumError as e:
            try:
                if not keep_damaged:
                    raise
                piece.read(False)
            except ColdframeError:
                return where + told(e)
            doubtful[f.name] = f"{where}kept although damaged: {told(e)}"
        except ColdframeError as e:
            return where + told(e)
    return ""


def _by_meta(prefix: str, final: str | None, saved: tuple[str, ...], lost: list[Fate]) -> None:
    """Copy the meta graph, and learn from it what is lost."""
    meta = meta_path(prefix)
    if meta is None:
        return
    try:
        graph = read_meta_graph(meta)
        wanted = wanted_tensors(graph, where=f"in {meta}")
    except ColdframeError as e:
        lost.append(Fate(None, f"the meta graph is damaged too: {told(e)}"))
        return
    known = {*saved, *(f.tensor for f in lost)}
    lost += [Fate(name, "nothing of it is found, though the graph restores it") for name in wanted if name not in known]
    if final is not None:
        files.write_atomic(final + ".meta", [files.read_file(meta)])


# --- the state file ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class StateReport:
    """What `repair_state` made of a folder's state file.

    Attributes:
        folder: the folder.
        listed: the checkpoints that the state file lists now, oldest first; the last is the latest.
        dropped: those that it does not list, with the reason.
        written: whether it was written.
    """

    folder: str
    listed: tuple[str, ...]
    dropped: tuple[Fate, ...]
    written: bool

    def text(self) -> str:
        """Return the report as people read it."""
        lines = [f"{self.folder.rstrip('/')}/{STATE_FILE}: {'' if self.written else 'would be '}written"]
        lines += [f"  {'latest' if name == self.listed[-1] else 'listed'}: {name}" for name in self.listed]
        lines += [f"  dropped: {fate}" for fate in self.dropped]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return dataclasses.asdict(self)


def repair_state(
    folder: str | os.PathLike[str], *, dry_run: bool = False, storage_options: Options | None = None
) -> StateReport:
    """Write a folder's state file anew: its sound checkpoints, by step and time, with relative paths.

    Each checkpoint is verified. Where the old state file can be read, those that it did not list are left out, other
    than those newer than all it listed: what a trainer had let go of (kept for good, best so far) must not come under
    its retention again.

    Args:
        folder: the folder of checkpoints, or the URL of one.
        dry_run: whether to leave the state file as it is.
        storage_options: what the store of a URL is to be told, such as credentials.

    Raises:
        NotFoundError: the folder holds no sound checkpoint; the state file is left as it is.
        OSError: the system refuses to read or write.
    """
    store, here = place(folder, storage_options)
    if not store.is_folder(here):
        raise NotFoundError(f"no folder `{here}`")
    dropped: list[Fate] = []
    sound: list[str] = []
    for prefix in find_checkpoints(here, store):
        problems: list[Problem] = []
        verify_checkpoint(prefix, Scope(), problems, graphs=False, store=store)
        errors = [p for p in problems if p.severity == "error"]
        if errors:
            more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
            dropped.append(Fate(store.split(prefix)[1], f"{errors[0].text}{more}"))
        else:
            sound.append(prefix)
    if not sound:
        raise NotFoundError(
            f"no sound checkpoint in folder `{here}`",
            found="; ".join(map(str, dropped[:3])) or None,
            hint="`coldframe checkpoint repair` saves the intact tensors of a damaged one" if dropped else "",
        )
    times = {p: saved_at(p, store) for p in sound}
    sound.sort(key=lambda p: (step_of(p) is not None, step_of(p) or 0, times[p]))
    old = old_state(here, store)
    if old is not None and (listed := {canonical(resolve(p, here, store)) for p in (old.latest, *old.all)}):
        known = [p for p in sound if canonical(p) in listed]
        newest = max((times[p] for p in known), default=0.0)
        kept = [p for p in sound if p in known or times[p] > newest]
        dropped += [Fate(store.split(p)[1], "it was not listed before") for p in sound if p not in kept]
        sound = kept
    names = tuple(store.split(p)[1] for p in sound)
    if not dry_run:
        preserved = old.last_preserved if old is not None else 0.0
        state = CheckpointState(names[-1], names, tuple(times[p] for p in sound), preserved)
        with store.locked(here):
            write_state(store.join(here, STATE_FILE), state, store)
    return StateReport(here, names, tuple(dropped), not dry_run)
