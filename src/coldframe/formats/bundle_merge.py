"""Several V2 checkpoints as one: what a sharded save does at its end, each device having written a part.

::

    m_temp/part-00000-of-00002.{index,data-00000-of-00001}  ┐
    m_temp/part-00001-of-00002.{index,data-00000-of-00001}  ┴─►  m.{index,data-00000-of-00002,data-00001-of-00002}

Tensors keep their bytes and their order within a data file; slices of one tensor may come from several parts. Follows
``MergeBundles`` of tensorflow/core/util/tensor_bundle/tensor_bundle.cc, which renames the data files: here they are
copied, so that the parts are whole until the merged checkpoint is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from coldframe import dtypes
from coldframe.errors import MisuseError
from coldframe.formats.bundle import BundleReader
from coldframe.formats.bundle_entry import Entry
from coldframe.formats.bundle_writer import BundleWriter
from coldframe.formats.slices import Box, TensorSlice


def merge_bundles(prefixes: Sequence[str | os.PathLike[str]], destination: str | os.PathLike[str]) -> None:
    """Write a checkpoint with the tensors of several.

    Args:
        prefixes: the parts; their data files become the shards, in order.
        destination: the prefix of the new checkpoint.

    Raises:
        NotFoundError: a part, or a data file of one, is missing.
        CorruptError: a part is damaged.
        MisuseError: two parts hold the same tensor (other than different slices of it), or there is no part.
    """
    if not prefixes:
        raise MisuseError("nothing to merge", expected="at least one checkpoint")
    parts = [BundleReader(p) for p in prefixes]
    with BundleWriter(destination, shards=sum(p.header.num_shards for p in parts)) as writer:
        first = 0
        for part in parts:
            for name, piece, entry, box in sorted(_stored(part), key=lambda s: (s[2].shard, s[2].offset)):
                dtype, shard = dtypes.from_enum(entry.dtype), first + entry.shard
                if piece is None:
                    writer.add(name, part.read(name), dtype=dtype, shard=shard)
                else:
                    value = part.read_slice(name, box.starts, box.sizes)
                    writer.add_slice(name, part.entry(name).shape, piece, value, dtype=dtype, shard=shard)
            first += part.header.num_shards


def _stored(part: BundleReader) -> list[tuple[str, TensorSlice | None, Entry, Box]]:
    """Return what lies in the data files: tensor, slice of it or None, entry, region."""
    found: list[tuple[str, TensorSlice | None, Entry, Box]] = []
    for name in part.specs:
        entry = part.entry(name)
        if not entry.slices:
            found.append((name, None, entry, Box.whole(entry.shape)))
            continue
        stored = part._stored_slices(name, entry)
        found += [(name, piece, e, box) for piece, (box, e) in zip(entry.slices, stored, strict=True)]
    return found


__all__ = ["merge_bundles"]
