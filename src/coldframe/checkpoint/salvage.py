"""What can still be had of a damaged checkpoint: for each tensor, the pieces that are there, and why others are not.

The bytes of a V2 tensor have a CRC of their own, so they are proven even where their index entry lies in a damaged
block. Those of a V1 tensor have the CRC of their block alone.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from coldframe import dtypes
from coldframe.checkpoint.report import Findings, told
from coldframe.checkpoint.verify_bundle import BundleVerifier, Scope
from coldframe.checkpoint.verify_v1 import V1Verifier
from coldframe.errors import ColdframeError, CorruptError, NotFoundError
from coldframe.formats import messages
from coldframe.formats.bundle import index_path
from coldframe.formats.bundle_data import DataFiles
from coldframe.formats.bundle_entry import Entry
from coldframe.formats.ordered_code import encode_slice_key
from coldframe.formats.slices import Box, TensorSlice, require_cover
from coldframe.formats.sources import open_mapped
from coldframe.formats.table_scan import Block, TableScan
from coldframe.formats.v1 import VALUE_FIELDS, decode_values, v1_files
from coldframe.records import dataclass


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a tensor that is not simply saved.

    Attributes:
        tensor: its name; None for tensors of which not even the name is known.
        reason: why.
    """

    tensor: str | None
    reason: str

    def __str__(self) -> str:
        return f"{f'`{self.tensor}`' if self.tensor is not None else 'tensors of unknown names'}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Piece:
    """A tensor, or a slice of one, that lies somewhere.

    Attributes:
        part: which slice, or None.
        read: reads it; takes whether to check its CRC.
    """

    part: TensorSlice | None
    read: Callable[[bool], npt.NDArray[Any]]


@dataclass(slots=True)
class Found:
    """A tensor that the damaged checkpoint lists.

    Attributes:
        name: its name.
        dtype: its dtype's number.
        shape: its shape.
        pieces: what is there of it.
        doubt: why it may not be what was saved, or empty.
        loss: why it cannot be had, or empty.
    """

    name: str
    dtype: int
    shape: tuple[int, ...]
    pieces: list[Piece]
    doubt: str = ""
    loss: str = ""


def of_bundle(prefix: str, lost: list[Fate]) -> list[Found]:
    """Return what is left of a V2 checkpoint; what has no name goes to `lost`.

    Raises:
        CorruptError: it has no index.
    """
    if not os.path.isfile(index_path(prefix)):
        raise CorruptError(
            "the index is missing",
            where=f"of {prefix}",
            expected=f"a file {index_path(prefix)}",
            hint="without it, nothing tells what the data files hold; the save was cut off before it was complete",
        )
    scan = TableScan(open_mapped(os.fspath(index_path(prefix))))
    table: dict[bytes, bytes] = {}
    doubtful: dict[bytes, bytes] = {}
    for block in scan.blocks():
        for key, value in block.entries:
            (doubtful if block.state == "damaged" else table).setdefault(key, value)
        if block.state == "damaged":
            lost.append(Fate(None, f"the index block at byte {block.offset} is damaged"))
    verifier = BundleVerifier(prefix, Scope(), Findings(os.fspath(index_path(prefix))))
    verifier.take(doubtful | table)
    lost += [  # names from damaged blocks whose entries are damaged too are noise
        Fate(p.tensor, p.text)
        for p in verifier.findings.problems
        if p.tensor is not None and p.tensor.encode("utf-8", "surrogateescape") in table
    ]
    header = verifier.header
    data = DataFiles(prefix, header.num_shards, header.endianness, open_mapped, where="")
    found = [_in_bundle(name, entry, verifier, data) for name, entry in verifier.entries.items()]
    for f in found:
        if f.name.encode("utf-8", "surrogateescape") not in table:
            f.doubt = "its entry lies in a damaged block: its bytes are intact, but name and dtype may not be"
    return [f for f in found if f.name.isprintable() or not f.doubt]


def _in_bundle(name: str, entry: Entry, verifier: BundleVerifier, data: DataFiles) -> Found:
    found = Found(name, entry.dtype, entry.shape, [])
    if not entry.slices:
        found.pieces.append(Piece(None, _reader(data, name, entry)))
        return found
    boxes = []
    for part in entry.slices:
        piece = verifier.pieces.get(encode_slice_key(name, part.starts, part.lengths))
        if piece is None:
            found.loss = f"slice `{part}` is not found"
            return found
        boxes.append(part)
        found.pieces.append(Piece(part, _reader(data, name, piece[1])))
    found.loss = _cover_failure(entry.shape, boxes)
    return found


def _reader(data: DataFiles, name: str, entry: Entry) -> Callable[[bool], npt.NDArray[Any]]:
    return lambda verify: data.read(name, entry, verify)


def _cover_failure(shape: tuple[int, ...], parts: Sequence[TensorSlice]) -> str:
    try:
        require_cover(Box.whole(shape), [p.resolve(shape) for p in parts], name="")
    except ColdframeError as e:
        return told(e)
    return ""


@dataclass(frozen=True, slots=True)
class _Place:
    """A block of a V1 file."""

    scan: TableScan
    path: str
    block: Block

    @property
    def damage(self) -> str:
        if self.block.state != "damaged":
            return ""
        return f"it lies in the damaged block at byte {self.block.offset} of {self.path}"


class _Values:
    """Reads stored slices, holding one block: the next slice is likely in the same one."""

    def __init__(self, places: dict[bytes, _Place]) -> None:
        self._places = places
        self._held: tuple[str, int] | None = None
        self._entries: dict[bytes, bytes] = {}

    def read(self, key: bytes, dtype: dtypes.DType, box: Box) -> npt.NDArray[Any]:
        place = self._places[key]
        at = (place.path, place.block.offset)
        if self._held != at:
            self._entries = dict(place.scan.block_at(place.block.offset, place.block.size).entries)
            self._held = at
        data = messages.parse("SavedTensorSlices", self._entries[key], where="").data.data
        flat = decode_values(dtype, getattr(data, VALUE_FIELDS[dtype]))
        if flat.size != box.volume:
            raise CorruptError("another number of values", expected=box.volume, found=flat.size)
        return flat.reshape(box.sizes)


def of_v1(prefix: str, lost: list[Fate], *, keep_damaged: bool) -> list[Found]:
    """Return what is left of a V1 checkpoint; what has no name goes to `lost`."""
    verifier = V1Verifier(prefix, Scope(lambda name: False), Findings(prefix))
    places: dict[bytes, _Place] = {}
    try:
        v1_files(prefix)
    except NotFoundError as e:
        lost.append(Fate(None, told(e)))
    for file in v1_files(prefix, missing_ok=True):
        scan = TableScan(open_mapped(os.fspath(file)))
        for block in scan.blocks():
            place = _Place(scan, os.fspath(file), dataclasses.replace(block, entries=[]))
            if block.state == "damaged":
                lost.append(Fate(None, f"the block at byte {block.offset} of {file} is damaged"))
            for key, value in block.entries:
                if not key:
                    verifier.take(value)
                places.setdefault(key, place)
    values = _Values(places)
    return [
        _in_v1(name, listed.dtype, listed.shape, listed.slices, values, places, keep_damaged)
        for name, listed in verifier.tensors.items()
    ]


def _in_v1(
    name: str,
    dtype: dtypes.DType | None,
    shape: tuple[int, ...],
    slices: Sequence[TensorSlice],
    values: _Values,
    places: dict[bytes, _Place],
    keep_damaged: bool,
) -> Found:
    if dtype is None or dtype not in VALUE_FIELDS:
        return Found(name, 0, shape, [], loss="its dtype is damaged")
    found = Found(name, dtype.enum, shape, [], loss=_cover_failure(shape, slices))
    whole = len(slices) == 1
    for part in slices if not found.loss else ():
        key = encode_slice_key(name, part.starts, part.lengths)
        place = places.get(key)
        damage = place.damage if place is not None else f"slice `{part}` is not found"
        if place is None or (damage and not keep_damaged):
            found.loss = damage
            break
        found.doubt = damage or found.doubt
        found.pieces.append(Piece(None if whole else part, _reader_v1(values, key, dtype, part.resolve(shape))))
    return found


def _reader_v1(values: _Values, key: bytes, dtype: dtypes.DType, box: Box) -> Callable[[bool], npt.NDArray[Any]]:
    return lambda verify: values.read(key, dtype, box)
