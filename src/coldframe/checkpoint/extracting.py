"""Tensors out of a checkpoint into files that other programs read, and back.

::

    NAME.npz            a numpy archive, not compressed: np.load(...)["layer/kernel"]
    NAME.safetensors    for PyTorch, JAX and others
    any other name      a folder with a .npy file per tensor: layer/kernel.npy

Tensors go through in chunks. What a format has no word for is said beside the data (in ``tensors.json`` of the archive
or folder, in the metadata of safetensors) and understood on the way back::

    bfloat16, float8, int4, ...   .npy: their bits, as uint16 or uint8
    qint8 and other quantized     the integers that they are
    strings                       .npy: fixed-width bytes; a scalar that ends with zero bytes, which numpy would drop,
                                  as uint8; safetensors: in the metadata, as JSON with base64
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.checkpoint import arrays
from coldframe.checkpoint.reader import Checkpoint, open_checkpoint
from coldframe.checkpoint.rewrite import Output, Piece, Written, write
from coldframe.checkpoint.select import Selection
from coldframe.checkpoint.staging import made
from coldframe.checkpoint.stream import chunks, dims
from coldframe.dtypes import DType
from coldframe.errors import ColdframeError, CorruptError, UnsupportedFormatError, WrongFileError
from coldframe.formats import safetensors_file
from coldframe.formats.safetensors_file import CODE_OF, Stored
from coldframe.formats.sources import open_mapped
from coldframe.formats.stores import LOCAL, fetched, place
from coldframe.records import dataclass

_STRING: Final = "tensorflow.string:"
_DTYPE: Final = "tensorflow.dtype:"
_CHUNK: Final = 1 << 20  # elements


@dataclass(frozen=True, slots=True)
class Extracted:
    """What `extract` has written.

    Attributes:
        path: the file or folder.
        tensors: the names of what is in it.
        notes: what the user should know.
    """

    path: str
    tensors: tuple[str, ...]
    notes: tuple[str, ...]


def extract(
    source: str | os.PathLike[str], destination: str | os.PathLike[str], *, select: Selection | None = None
) -> Extracted:
    """Write tensors of a checkpoint to a ``.npz``, a ``.safetensors`` or a folder of ``.npy`` files.

    A file of that name is replaced in one step; a folder must not exist, and is there when it is complete.

    Args:
        source: the checkpoint, by any path that `open_checkpoint` takes.
        destination: the file or folder; its ending says which. The URL of a file will do.
        select: which tensors.

    Raises:
        NotFoundError: there is no such checkpoint, or a pattern fits no tensor.
        CorruptError: the checkpoint is damaged; nothing has been written.
        UnsupportedFormatError: tensors that the format cannot hold: all of them are named.
        MisuseError: the folder exists.
        OSError: the system refuses to write.
    """
    with open_checkpoint(source) as ckpt, made(destination) as path:
        names = (select or Selection()).pick(ckpt.specs, where=f"in {ckpt.prefix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            return Extracted(os.fspath(destination), tuple(names), tuple(_to_safetensors(ckpt, names, path)))
        items = [_as_npy(ckpt, name) for name in names]
        if lost := [str(i) for i in items if isinstance(i, ColdframeError)]:
            raise UnsupportedFormatError(
                "tensors that numpy's files cannot hold", found="; ".join(lost), hint="leave them out with --except"
            )
        good = [i for i in items if isinstance(i, arrays.Npy)]
        (arrays.write_npz if path.suffix == ".npz" else arrays.write_folder)(path, good)
        odd = [i.name for i in good if i.dtype is not None]
        note = f"numpy has no such dtype: the bits are stored, and the dtype beside them: {_shown(odd)}"
        return Extracted(os.fspath(destination), tuple(names), (note,) if odd else ())


def import_tensors(source: str | os.PathLike[str], destination: str | os.PathLike[str], *, shards: int = 1) -> Written:
    """Write a checkpoint of the tensors of a ``.npz``, a ``.safetensors``, or a folder of ``.npy`` files.

    Args:
        source: the file or folder. The URL of a file will do.
        destination: the checkpoint's prefix; a checkpoint of that name is replaced, in one step.
        shards: how many data files to write.

    Raises:
        NotFoundError: there is no such file.
        WrongFileError: it is none of these.
        CorruptError: it is damaged; nothing has been written.
    """
    store, text = place(source)
    with contextlib.nullcontext(Path(text)) if store is LOCAL else fetched(store, text) as path:
        return _import(path, destination, shards)


def _import(path: Path, destination: str | os.PathLike[str], shards: int) -> Written:
    if path.suffix == ".safetensors":
        return write(destination, _of_safetensors(path), sources=(), shards=shards)
    if path.suffix != ".npz" and not path.is_dir():
        raise WrongFileError(f"`{path}` is of the wrong kind", expected="a .npz, a .safetensors or a folder of .npy")
    with arrays.open_arrays(path) as found:
        return write(destination, [_of_npy(item) for item in found], sources=(), shards=shards)


# --- numpy ------------------------------------------------------------------------------------------------------
def _as_npy(ckpt: Checkpoint, name: str) -> arrays.Npy | ColdframeError:
    """Return a tensor as a ``.npy`` file holds it, or the error that says why it cannot."""
    spec = ckpt.specs[name]
    dtype, shape = spec.dtype, dims(spec)
    if dtype.kind in "so":
        return _strings_as_npy(ckpt, name, dtype, shape)
    held = _held(dtype)
    if held == dtype.numpy and dtype.kind != "q":
        return arrays.Npy(name, held, shape, None, lambda: chunks(ckpt, name))
    return arrays.Npy(name, held, shape, dtype.name, lambda: (c.view(held) for c in chunks(ckpt, name)))


def _held(dtype: DType) -> np.dtype[Any]:
    """Return the dtype that numpy's files know for the bits of `dtype`."""
    if dtype.numpy.isbuiltin == 1:
        return dtype.numpy
    return np.dtype(f"u{dtype.numpy.itemsize}")


def _strings_as_npy(ckpt: Checkpoint, name: str, dtype: DType, shape: tuple[int, ...]) -> arrays.Npy | ColdframeError:
    if dtype is not dtypes.string:
        return UnsupportedFormatError(f"{dtype} tensors are not arrays", where=f"`{name}`")
    value = ckpt.read(name)
    flat = value.reshape(-1).tolist()
    if any(s.endswith(b"\0") for s in flat):
        if shape:
            return UnsupportedFormatError("strings end with zero bytes, which numpy drops", where=f"`{name}`")
        raw = np.frombuffer(flat[0], np.uint8)
        return arrays.Npy(name, raw.dtype, raw.shape, "string", lambda: iter([raw]))
    held = np.array(value, f"S{max([1, *map(len, flat)])}")
    return arrays.Npy(name, held.dtype, shape, None, lambda: iter([held.reshape(-1)]))


def _of_npy(item: arrays.Npy) -> Output:
    if item.dtype == "string":
        raw = b"".join(c.tobytes() for c in item.read())
        return _scalar_string(item.name, raw)
    if item.held.kind == "S":
        return Output(item.name, dtypes.string, item.shape, (Piece(None, lambda: (_objects(c) for c in item.read())),))
    dtype = dtypes.as_dtype(item.dtype) if item.dtype else dtypes.from_numpy(item.held)
    if dtype.numpy.itemsize != item.held.itemsize:
        raise CorruptError(
            "array of another width", where=f"of tensor `{item.name}`", expected=dtype, found=str(item.held)
        )
    return Output(item.name, dtype, item.shape, (Piece(None, lambda: (c.view(dtype.numpy) for c in item.read())),))


def _objects(strings: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return strings.astype(object)


def _scalar_string(name: str, value: bytes) -> Output:
    scalar = np.empty(1, object)
    scalar[0] = value
    return Output(name, dtypes.string, (), (Piece(None, lambda: iter([scalar])),))


# --- safetensors ------------------------------------------------------------------------------------------------
def _to_safetensors(ckpt: Checkpoint, names: list[str], path: Path) -> list[str]:
    """Write a safetensors file; return what the user should know."""
    metadata: dict[str, str] = {"format": "coldframe"}
    stored: list[Stored] = []
    lost: list[str] = []
    for name in names:
        spec = ckpt.specs[name]
        dtype = _integers(spec.dtype)
        if dtype in CODE_OF:
            stored.append(Stored(name, dtype, dims(spec)))
            if dtype is not spec.dtype:
                metadata[_DTYPE + name] = spec.dtype.name
        elif dtype is dtypes.string:
            metadata[_STRING + name] = _strings_as_json(ckpt.read(name))
        else:
            lost.append(f"`{name}` {dtype}{list(dims(spec))}")
    if lost:
        raise UnsupportedFormatError(
            "tensors that safetensors files cannot hold", found=", ".join(lost), hint="leave them out with --except"
        )
    safetensors_file.write(path, stored, lambda name: _bytes(ckpt, name), metadata=metadata)
    strings = [n.removeprefix(_STRING) for n in metadata if n.startswith(_STRING)]
    return [f"strings are in the metadata: {_shown(strings)}"] if strings else []


def _integers(dtype: DType) -> DType:
    """Return the integers that quantized values are; another dtype as it is."""
    return dtypes.as_dtype(dtype.name[1:]) if dtype.kind == "q" else dtype


def _bytes(ckpt: Checkpoint, name: str) -> Iterator[memoryview]:
    for chunk in chunks(ckpt, name):
        yield np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data


def _of_safetensors(path: Path) -> list[Output]:
    source = open_mapped(os.fspath(path))
    stored, metadata = safetensors_file.read_header(source, where=f"in {path}")
    outputs = []
    for t in stored:
        told = metadata.get(_DTYPE + t.name)
        dtype = dtypes.as_dtype(told) if told is not None else t.dtype
        if dtype.width != t.dtype.width:
            raise CorruptError("dtype does not fit", where=f"of tensor `{t.name}` in {path}", found=told)

        def read(t: Stored = t, held: np.dtype[Any] = dtype.numpy) -> Iterator[npt.NDArray[Any]]:
            step = _CHUNK * held.itemsize
            for at in range(t.offset, t.offset + t.size, step):
                room = np.empty(min(step, t.offset + t.size - at), np.uint8)
                source.read_into(at, room.data)
                yield room.view(held)

        outputs.append(Output(t.name, dtype, t.shape, (Piece(None, read),)))
    for key, text in metadata.items():
        if key.startswith(_STRING):
            outputs.append(_strings_of_json(key.removeprefix(_STRING), text, f"in {path}"))
    return outputs


def _strings_as_json(value: npt.NDArray[Any]) -> str:
    values = [base64.b64encode(s).decode() for s in value.reshape(-1).tolist()]
    return json.dumps({"shape": list(value.shape), "values": values}, separators=(",", ":"))


def _strings_of_json(name: str, text: str, where: str) -> Output:
    try:
        found = json.loads(text)
        shape, values = tuple(map(int, found["shape"])), [base64.b64decode(v, validate=True) for v in found["values"]]
    except (ValueError, TypeError, KeyError) as e:
        raise CorruptError("damaged strings", where=f"of tensor `{name}` {where}", found=str(e)) from None
    flat = np.empty(len(values), object)
    flat[:] = values
    if any(d < 0 for d in shape) or math.prod(shape) != len(values):
        raise CorruptError("damaged strings", where=f"of tensor `{name}` {where}", expected=[*shape], found=len(values))
    return Output(name, dtypes.string, shape, (Piece(None, lambda: iter([flat])),))


def _shown(names: list[str]) -> str:
    return ", ".join(f"`{n}`" for n in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
