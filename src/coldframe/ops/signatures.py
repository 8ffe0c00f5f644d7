"""The op signatures, for the op families. They live in the room below because graphs are checked with them."""

from coldframe.graph.signatures import (
    ArgDef,
    AttrDef,
    OpSignature,
    all_names,
    expand,
    fill_defaults,
    known,
    signature,
)

__all__ = ["ArgDef", "AttrDef", "OpSignature", "all_names", "expand", "fill_defaults", "known", "signature"]
