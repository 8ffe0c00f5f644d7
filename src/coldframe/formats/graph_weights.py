"""GraphDef files of which the large weights are read straight into arrays.

A frozen network is a few kilobytes of nodes around megabytes of numbers, which protobuf would copy twice. So the file
is walked by hand down to them, and protobuf gets the rest::

    GraphDef { 1 node { 5 attr { 1 key, 2 value { 8 tensor { 4 tensor_content } } } } }

What is not as TensorFlow writes it is left to protobuf: nothing is decided here about damaged files, nor about fields
that come twice or in another order, of which protobuf takes the last, or joins them. Field numbers
follow tensorflow/core/framework/graph.proto, node_def.proto, attr_value.proto and tensor.proto.
"""

from __future__ import annotations

import os
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from coldframe.formats.files import map_open_file
from coldframe.formats.wire import bytes_field, decode_varint

Contents: TypeAlias = dict[tuple[int, str], npt.NDArray[np.uint8]]
"""Raw bytes of tensors, by the position of the node in the file and the attribute's name."""

LARGE: Final = 1 << 16  # bytes of a tensor that gets an array of its own
_PATH: Final = (1, 5, 2, 8, 4)
_NODES, _ATTRS, _ENTRY, _CONTENT = 0, 1, 2, 4  # places in it: the messages that have these fields
_BYTES: Final = 2  # wire type
_NODE_TAG: Final = _PATH[_NODES] << 3 | _BYTES
_FIXED: Final = {1: 8, 5: 4}  # sizes by wire type
_VARINT: Final = 10  # bytes at most
_BUFFER: Final = 1 << 16
_ALIGNMENT: Final = 64


def read_apart(path: Path, *, mapped: bool = False) -> tuple[bytes, Contents] | None:
    """Read a binary GraphDef: the message without its large tensors' bytes, and these.

    Args:
        path: the file.
        mapped: whether these stay where the file is mapped, so that processes share them, at addresses of any kind.

    Returns:
        None where there are none, or where something is not as it should be: then protobuf is to read the file.
    """
    with BufferedReader(FileIO(path), _BUFFER) as file:
        size = os.fstat(file.fileno()).st_size
        walk = _Walk(file, size, map_open_file(file) if mapped and size > LARGE else None)
        try:
            message = walk.message(size, 0) if size > LARGE else b""
        except ValueError:
            return None
    return (message, walk.contents) if walk.contents else None


class _Walk:
    """A walk through a file. Its methods raise `ValueError` where the bytes are no message."""

    def __init__(self, file: BufferedReader[FileIO], size: int, mapped: memoryview | None) -> None:
        self._file, self._mapped = file, mapped
        self._at = 0
        # One piece of memory for all: the system hands it out in large pages, in a fifth of the time. What of it stays
        # unused is never touched.
        apart = size > LARGE and mapped is None
        self._memory = np.empty(size + size // LARGE * _ALIGNMENT + _ALIGNMENT, np.uint8) if apart else None
        self._free = 0 if self._memory is None else -self._memory.ctypes.data % _ALIGNMENT
        self._node = -1
        self._key = b""
        self.contents: Contents = {}

    def message(self, end: int, depth: int) -> bytes:
        """Return the message that reaches to offset `end`, without what is kept apart."""
        parts: list[bytes] = []
        entries: list[bytes] = []  # small ones
        met = 0
        if depth == _ENTRY:
            self._key = b""
        while self._at < end:
            if depth == _NODES and (small := self._small_nodes(end)):
                parts.append(small)
                continue
            tag, head = self._varint()
            number, kind = tag >> 3, tag & 7
            self._node += depth == _NODES and number == _PATH[_NODES]
            if kind != _BYTES:
                parts += head, self._varint()[1] if not kind else self._bytes(_FIXED.get(kind, -1))
                continue
            size, length = self._varint()
            if size > end - self._at:
                raise ValueError("a field reaches beyond its message")
            met += number == _PATH[depth]
            if met > 1 and depth >= _ENTRY:
                raise ValueError("a field comes twice")
            if size < LARGE or number != _PATH[depth]:
                payload = self._bytes(size)
                if depth == _ATTRS and number == _PATH[depth]:
                    entries.append(payload)
                if depth == _ENTRY and number == 1:
                    if self._key or met:
                        raise ValueError("a key comes twice, or after its value")
                    self._key = payload
                parts += head, length, payload
            elif depth == _CONTENT:
                self._keep(size)
            else:
                parts.append(bytes_field(number, self.message(self._at + size, depth + 1)))
        if self._at != end:
            raise ValueError("a field reaches beyond its message")
        if depth == _ATTRS and any(bytes_field(1, key.encode()) in entry for key in self._kept() for entry in entries):
            raise ValueError("two values of one attribute")
        return b"".join(parts)

    def _small_nodes(self, end: int) -> bytes:
        """Return, as they are, the next nodes of less than 16 KiB, which are most of a graph's, as far as buffered."""
        ahead = self._file.peek()
        at, limit = 0, min(len(ahead), end - self._at)
        while at + 2 < limit and ahead[at] == _NODE_TAG:
            size, start = ahead[at + 1], at + 2
            if size > 0x7F:
                if ahead[start] > 0x7F:
                    break
                size += (ahead[start] << 7) - 0x80
                start += 1
            if start + size > limit:
                break
            at = start + size
            self._node += 1
        return self._bytes(at)

    def _kept(self) -> list[str]:
        """Return the attributes of the current node, the last that was met, whose bytes are kept apart."""
        found = []
        for node, key in reversed(self.contents):
            if node != self._node:
                break
            found.append(key)
        return found

    def _keep(self, size: int) -> None:
        place = self._node, self._key.decode()
        if place in self.contents or not self._key:
            raise ValueError("two values of one attribute, or one without a name")
        if self._mapped is not None:
            self.contents[place] = np.frombuffer(self._mapped, np.uint8, size, self._at)
            self._file.seek(size, os.SEEK_CUR)
        else:
            self.contents[place] = self._read(size)
        self._at += size

    def _read(self, size: int) -> npt.NDArray[np.uint8]:
        assert self._memory is not None, "the file is larger than its parts"
        content = self._memory[self._free : self._free + size]
        self._free += size + -size % _ALIGNMENT
        if self._file.readinto(content) != size:  # type: ignore[arg-type] # an array is a buffer
            raise ValueError("a file that became shorter")
        content.flags.writeable = False
        return content

    def _bytes(self, size: int) -> bytes:
        data = self._file.read(size) if size >= 0 else b""
        if len(data) != size:
            raise ValueError("unknown wire type, or a file that became shorter")
        self._at += size
        return data

    def _varint(self) -> tuple[int, bytes]:
        """Return a number, and the bytes that it is in."""
        made = self._bytes(1)
        while made[-1] > 0x7F:
            if len(made) == _VARINT:
                raise ValueError("varint")
            made += self._bytes(1)
        return decode_varint(made, 0, len(made))[0] if len(made) > 1 else made[0], made
