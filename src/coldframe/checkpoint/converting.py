"""Rewriting a checkpoint in another format, tensor by tensor.

Names stay as they are, object-based ones too; a partitioned tensor keeps its slices. V2 tensors go through in chunks;
V1 ones, which are a message each, one at a time.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy.typing as npt

from coldframe.checkpoint.reader import Checkpoint, open_checkpoint
from coldframe.checkpoint.rewrite import copied, refuse_sources, write
from coldframe.checkpoint.staging import made
from coldframe.checkpoint.stream import dims
from coldframe.errors import MisuseError
from coldframe.formats.slices import Box, TensorSlice
from coldframe.formats.v1_writer import V1Tensor, write_v1


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    to: Literal["v2", "v1"] = "v2",
    shards: int = 1,
) -> str:
    """Write the tensors of a checkpoint, V1 or V2, as a checkpoint of either format, and return its prefix.

    Args:
        source: the checkpoint, by any path that `open_checkpoint` takes. It is not changed.
        destination: the prefix of the new one; a checkpoint of that name is replaced, in one step.
        to: the new format. V1 is for TensorFlow before 0.12; it has no bfloat16 and smaller floats.
        shards: how many data files to write, of V2.

    Raises:
        NotFoundError: there is no such checkpoint, or a file of it is missing.
        CorruptError: it is damaged; nothing has been written. `repair` saves what can be saved.
        MisuseError: `destination` is the source itself.
        UnsupportedFormatError: V1 cannot hold a tensor, for its dtype or its size; nothing has been written.
    """
    final = os.fspath(destination)
    if to == "v1" and shards != 1:
        raise MisuseError("a V1 checkpoint is written as one file", expected="1 shard", found=shards)
    with open_checkpoint(source) as ckpt:
        if to == "v2":
            write(final, [copied(ckpt, name) for name in ckpt.specs], sources=[ckpt], shards=shards, meta_of=ckpt)
        else:
            refuse_sources(final, [ckpt])
            with made(final) as path:
                _write_v1(ckpt, os.fspath(path))
    return final


def _write_v1(ckpt: Checkpoint, path: str) -> None:
    tensors = []
    for name, spec in ckpt.specs.items():
        parts = ckpt.slices(name) or (TensorSlice.whole(len(dims(spec))),)
        tensors.append(V1Tensor(name, spec.dtype, dims(spec), parts))

    def read(tensor: V1Tensor, part: TensorSlice) -> npt.NDArray[Any]:
        box = part.resolve(tensor.shape, where=f"of tensor `{tensor.name}` in {ckpt.prefix}")
        if box == Box.whole(tensor.shape):
            return ckpt.read(tensor.name)
        return ckpt.read_slice(tensor.name, box.starts, box.sizes)

    if folder := os.path.dirname(path):
        os.makedirs(folder, exist_ok=True)
    write_v1(path, tensors, read)
