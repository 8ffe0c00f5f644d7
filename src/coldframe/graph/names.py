"""Tensor and node names, as TensorFlow writes them and as people do.

====================  ============================================
``x``                 node ``x``; as a tensor, its output 0
``x:1``               output 1 of node ``x``
``^x``                node ``x`` as a control dependency
``node:arg:1``        inside a function body: element 1 of output ``arg``
====================  ============================================
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from coldframe.errors import MisuseError, NotFoundError, near_names

_NODE_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*\Z")


class TensorRef(NamedTuple):
    """Output `slot` of the node called `node`."""

    node: str
    slot: int = 0

    def __str__(self) -> str:
        return f"{self.node}:{self.slot}"


def is_valid_node_name(name: str) -> bool:
    """Whether TensorFlow accepts `name` for a node."""
    return _NODE_NAME.match(name) is not None


def parse_tensor(text: str) -> TensorRef:
    """Read ``x`` or ``x:1`` as a tensor; raise `MisuseError` for control names and bad indices."""
    if text.startswith("^"):
        raise MisuseError(f"`{text}` names a control dependency, not a tensor", hint=f"use `{text[1:]}:0`")
    node, colon, index = text.rpartition(":")
    if not colon:
        return TensorRef(text, 0)
    if not (index.isascii() and index.isdigit()) or len(index) > 9:
        raise MisuseError(f"`{text}` is no tensor name", expected="`node` or `node:index`", found=f"index `{index}`")
    return TensorRef(node, int(index))


def is_tensor_name(text: str) -> bool:
    """Whether `text` carries an output index, as in ``x:0``."""
    return text.rpartition(":")[2].isdigit() and ":" in text


def find_node(name: str, nodes: Collection[str]) -> str:
    """Return the node meant by `name`, which may be ``x``, ``x:0``, ``^x`` or carry a lost ``import/`` prefix.

    Raises:
        NotFoundError: no node fits; the message suggests the nearest names.
    """
    bare = name.removeprefix("^")
    if is_tensor_name(bare):
        bare = bare.rpartition(":")[0]
    for candidate in (bare, bare.removeprefix("import/"), f"import/{bare}"):
        if candidate in nodes:
            return candidate
    raise NotFoundError(f"the graph has no node called `{bare}`", hint=suggest(bare, nodes))


def suggest(name: str, nodes: Iterable[str]) -> str:
    """Return a did-you-mean for `name` among `nodes`, or how to list them."""
    return near_names(name, nodes) or "`coldframe names GRAPH` lists the names a graph has"
