"""Verifying a V1 checkpoint: each file's table, what its metadata lists, and every slice that is stored.

A file is read block by block, so the largest block is in memory at a time, and the list of slices.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.checkpoint.report import Checked, Findings, told
from coldframe.checkpoint.verify_bundle import NonFinite, Scope, check_cover
from coldframe.errors import ColdframeError, CorruptError, NotFoundError, UnsupportedAttributeError
from coldframe.formats import messages
from coldframe.formats.ordered_code import decode_slice_key, encode_slice_key
from coldframe.formats.slices import Box, TensorSlice
from coldframe.formats.stores import LOCAL, Store, read_on
from coldframe.formats.table_scan import TableScan
from coldframe.formats.v1 import VALUE_FIELDS, check_versions, decode_values, slice_of, v1_names
from coldframe.records import dataclass

_MAX_RANK: Final = 64


@dataclass(slots=True)
class _Listed:
    """A tensor as the metadata lists it."""

    dtype: dtypes.DType | None
    shape: tuple[int, ...]
    slices: list[TensorSlice] = dataclasses.field(default_factory=list)


class V1Verifier:
    """Verifies one V1 checkpoint.

    Args:
        prefix: its prefix.
        scope: what to verify.
        findings: where problems go.
        store: where it is.
    """

    def __init__(self, prefix: str, scope: Scope, findings: Findings, store: Store = LOCAL) -> None:
        self._prefix, self._scope, self._findings, self._store = prefix, scope, findings, store
        self.tensors: dict[str, _Listed] = {}
        self._odd: dict[str, NonFinite] = {}
        self._bytes = 0

    def run(self) -> Checked:
        """Verify everything; return what was looked at."""
        try:
            paths = v1_names(self._prefix, self._store)
        except NotFoundError as e:
            self._findings.add("error", told(e))
            paths = v1_names(self._prefix, self._store, missing_ok=True)
        for path in paths:
            self._findings.file = path
            self._verify_file(path)
        self._findings.file = self._prefix
        for name, listed in self.tensors.items():
            boxes = []
            for part in listed.slices:
                try:
                    boxes.append(part.resolve(listed.shape))
                except CorruptError as e:
                    self._findings.add("error", told(e), tensor=name)
            check_cover(name, listed.shape, boxes, self._findings)
        for name, odd in self._odd.items():
            if odd:
                self._findings.add("error", str(odd), tensor=name)
        checked = sum(map(self._scope.wanted, self.tensors))
        return Checked(self._prefix, "V1", len(self.tensors), checked, self._bytes)

    def _verify_file(self, path: str) -> None:
        scan = TableScan(read_on(self._store, path))
        listed: dict[bytes, tuple[str, TensorSlice]] = {}
        stored: set[bytes] = set()
        has_meta = False
        for block in scan.blocks():
            for key, value in block.entries:
                if not key:
                    has_meta = True
                    listed = self._read_meta(value, block.offset)
                elif key in stored:
                    continue  # the scan has said that keys are out of order
                else:
                    stored.add(key)
                    self._read_slice(key, value, block.offset)
        for flaw in scan.flaws:
            self._findings.add("error" if flaw.is_damage else "warning", flaw.text, offset=flaw.at)
        if not has_meta:
            self._findings.add("error", "no checkpoint metadata: expected an entry under the empty key")
            return
        for key in listed.keys() - stored:
            name, part = listed[key]
            self._findings.add("error", f"slice `{part}` is listed but not stored", tensor=name)
        for key in sorted(stored - listed.keys()):
            self._findings.add("warning", f"a slice is stored that the metadata does not list, under {key!r}")

    def take(self, value: bytes) -> None:
        """Take over what the metadata of a file lists."""
        self._read_meta(value, 0)

    def _read_meta(self, value: bytes, at: int) -> dict[bytes, tuple[str, TensorSlice]]:
        """Take over what the metadata lists; return name and slice by key."""
        found: dict[bytes, tuple[str, TensorSlice]] = {}
        try:
            meta = messages.parse("SavedTensorSlices", value, where="").meta
            check_versions(meta, "")
        except ColdframeError as e:
            self._findings.add("error", told(e), offset=at)
            return found
        for tensor in meta.tensor:
            listed = self._list(tensor, at)
            for part in map(slice_of, tensor.slice):
                key = encode_slice_key(tensor.name, part.starts, part.lengths)
                if key in found:
                    self._findings.add("error", f"slice `{part}` is listed twice", offset=at, tensor=tensor.name)
                    continue
                found[key] = (tensor.name, part)
                listed.slices.append(part)
        return found

    def _list(self, tensor: Any, at: int) -> _Listed:
        shape = tuple(int(d.size) for d in tensor.shape.dim)
        dtype: dtypes.DType | None = None
        try:
            dtype = dtypes.from_enum(tensor.type)
        except UnsupportedAttributeError:
            self._findings.add("error", f"unknown dtype {tensor.type}", offset=at, tensor=tensor.name)
        if dtype is not None and dtype not in VALUE_FIELDS:
            self._findings.add(
                "error", f"{dtype} tensors do not exist in V1 checkpoints", offset=at, tensor=tensor.name
            )
        odd = tensor.shape.unknown_rank or any(d < 0 for d in shape) or len(shape) > _MAX_RANK
        if odd or math.prod(d or 1 for d in shape) >= 1 << 59:
            self._findings.add("error", f"impossible shape {list(shape)}", offset=at, tensor=tensor.name)
        listed = self.tensors.setdefault(tensor.name, _Listed(dtype, shape))
        if (listed.dtype, listed.shape) != (dtype, shape):
            text = f"shards contradict each other: {listed.dtype}{list(listed.shape)} and {dtype}{list(shape)}"
            self._findings.add("error", text, offset=at, tensor=tensor.name)
        return listed

    def _read_slice(self, key: bytes, value: bytes, at: int) -> None:
        name: str | None = None
        try:
            name, starts, lengths = decode_slice_key(key)
            if not self._scope.wanted(name):
                return
            data = messages.parse("SavedTensorSlices", value, where="").data
            part = slice_of(data.slice)
            if (data.name, part) != (name, TensorSlice(starts, lengths)):
                self._findings.add(
                    "error", f"under this key, slice `{part}` of `{data.name}` is stored", offset=at, tensor=name
                )
                return
            self._check_values(name, part, data.data, at)
        except ColdframeError as e:
            self._findings.add("error", told(e), offset=at, tensor=name)

    def _check_values(self, name: str, part: TensorSlice, data: Any, at: int) -> None:
        listed = self.tensors.get(name)
        if listed is None or listed.dtype not in VALUE_FIELDS or len(part.starts) != len(listed.shape):
            return  # told already, or told when all files are read
        values = decode_values(listed.dtype, getattr(data, VALUE_FIELDS[listed.dtype]))
        self._bytes += values.nbytes
        box: Box = part.resolve(listed.shape)
        if values.size != box.volume:
            text = f"slice holds another number of values: expected {box.volume}, found {values.size}"
            self._findings.add("error", text, offset=at, tensor=name)
        if self._scope.finite and (listed.dtype.is_float or listed.dtype.is_complex):
            self._odd.setdefault(name, NonFinite()).count(np.asarray(values))
