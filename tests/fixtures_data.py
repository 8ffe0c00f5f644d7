"""The golden fixtures that TensorFlow made (tools/make_fixtures.py), with its answers, for all tests.

>>> for f in fixtures(kind="checkpoint", format="v1"):
...     facts = f.tensors()            # {name: TensorFacts}: what TensorFlow reads from f.path
>>> for f in fixtures(kind="graph"):
...     for run in f.runs(): ...       # run.feeds, run.expected: arrays by tensor name, or by key of run.signature
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

ROOT = Path(__file__).parent / "fixtures"
_SUB_BYTE = {"int4", "uint4", "int2", "uint2", "float4_e2m1fn"}

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A tensor of a checkpoint, as TensorFlow reads it; `crc32` is None for a variant."""

    dtype: str
    shape: tuple[int, ...]
    crc32: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """One run by TensorFlow. Names are tensors' (``x:0``), or the keys of `signature`'s inputs and outputs."""

    feeds: Mapping[str, Array]
    expected: Mapping[str, Array]
    signature: str | None


@dataclass(frozen=True, slots=True)
class Fixture:
    """One fixture: a folder of files from TensorFlow.

    Attributes:
        name: its name, also of its folder.
        kind: ``checkpoint``, ``saved_model`` or ``graph``.
        format: of a checkpoint ``v2``, ``v1`` or ``object``; of a SavedModel or graph ``binary`` or ``text``.
        path: what to open: a checkpoint's prefix, a SavedModel's directory, a graph's file.
        about: what is peculiar about it.
        meta: a checkpoint's ``.meta``, whose graph the runs are of; else None.
        outputs: the names of the nodes a frozen graph was made for.
        refused: TensorFlow's message where it does not take the graph as it is; the answers are then from before.
        files: all its files.
    """

    name: str
    kind: str
    format: str
    path: Path
    about: str
    meta: Path | None
    outputs: tuple[str, ...]
    refused: str
    files: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        return ROOT / self.name

    def __repr__(self) -> str:
        return self.name  # pytest's ids

    def tensors(self) -> dict[str, TensorFacts]:
        """What TensorFlow reads from a checkpoint, by name."""
        rows = json.loads((self.folder / "tensors.json").read_text())
        return {n: TensorFacts(r["dtype"], tuple(r["shape"]), r["crc32"]) for n, r in rows.items()}

    def runs(self) -> list[Run]:
        """TensorFlow's answers; empty where nothing can be run."""
        rows = _entry(self.name).get("runs", [])
        if not rows:
            return []
        with np.load(self.folder / "answers.npz", allow_pickle=False) as stored:
            return [
                Run(
                    {k: _strings(stored[f"{i}/feeds/{k}"]) for k in row["feeds"]},
                    {k: _strings(stored[f"{i}/expected/{k}"]) for k in row["expected"]},
                    row.get("signature"),
                )
                for i, row in enumerate(rows)
            ]


def fixtures(kind: str | None = None, format: str | None = None) -> list[Fixture]:
    """The fixtures of a kind and format, or all."""
    found = [_fixture(e) for e in manifest()["fixtures"]]
    return [f for f in found if kind in (None, f.kind) and format in (None, f.format)]


def fixture(name: str) -> Fixture:
    """The fixture called `name`."""
    return _fixture(_entry(name))


@lru_cache(maxsize=1)
def manifest() -> dict[str, Any]:
    """The list of fixtures, and the version of TensorFlow that made them."""
    found: dict[str, Any] = json.loads((ROOT / "manifest.json").read_text())
    return found


def crc32(array: Array) -> int:
    """The CRC-32 of a tensor's bytes, as the answers hold it.

    Little-endian, row-major. Strings: of each, the length as 8 bytes and the bytes. Types below a byte: as float32.
    """
    if array.dtype == object:
        return zlib.crc32(b"".join(len(s).to_bytes(8, "little") + s for s in array.ravel().tolist()))
    if array.dtype in {np.dtype(getattr(ml_dtypes, n)) for n in _SUB_BYTE}:
        array = array.astype(np.float32)
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def _entry(name: str) -> dict[str, Any]:
    return next(e for e in manifest()["fixtures"] if e["name"] == name)


def _fixture(e: Mapping[str, Any]) -> Fixture:
    folder = ROOT / e["name"]
    return Fixture(
        name=e["name"],
        kind=e["kind"],
        format=e["format"],
        path=folder / e["path"],
        about=e["about"],
        meta=folder / e["meta"] if "meta" in e else None,
        outputs=tuple(e.get("outputs", ())),
        refused=e.get("refused", ""),
        files=tuple(folder / f for f in e["files"]),
    )


def _strings(array: Array) -> Array:
    """Strings are stored with a fixed width, and given as objects."""
    return array.astype(object) if array.dtype.kind == "S" else array
