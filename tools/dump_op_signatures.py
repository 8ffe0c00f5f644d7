"""Write src/coldframe/graph/signatures.json: the signature of every op in TensorFlow's registry, without its prose.

Run with TensorFlow installed: ``python tools/dump_op_signatures.py [--check]``. The layout of the file is described in
src/coldframe/graph/signatures.py, which reads it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tensorflow.core.framework import attr_value_pb2, op_def_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.framework import tensor_util
from tensorflow.python.framework.versions import __version__ as tf_version

TARGET = Path(__file__).parents[1] / "src" / "coldframe" / "graph" / "signatures.json"

FLAGS = (
    ("s", "is_stateful"),
    ("c", "is_commutative"),
    ("a", "is_aggregate"),
    ("u", "allows_uninitialized_input"),
)


def registered_ops() -> list[op_def_pb2.OpDef]:
    """Every op that is registered in the C++ library right after the import of TensorFlow, sorted by name."""
    raw = pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    return sorted(op_def_pb2.OpList.FromString(raw).op, key=lambda op: op.name)


def _shortest_float32(value: float) -> float:
    """The shortest decimal that reads back as the same float32: 0.001, not 0.0010000000474974513."""
    return float(str(np.float32(value)))


def _plain(value: attr_value_pb2.AttrValue, kind: str) -> Any:
    """An attribute value of type `kind` as JSON."""
    if kind.startswith("list("):
        return [_item(v, kind[5:-1]) for _, items in value.list.ListFields() for v in items]
    field = {"int": "i", "float": "f", "bool": "b", "string": "s"}.get(kind, kind)
    return _item(getattr(value, field), kind)


def _item(value: Any, kind: str) -> Any:
    match kind:
        case "int" | "bool" | "type":
            return value
        case "float":
            return _shortest_float32(value)
        case "string":
            return value.decode("latin-1")
        case "shape":
            return None if value.unknown_rank else [d.size for d in value.dim]
        case "tensor":
            array = tensor_util.MakeNdarray(value)
            return [value.dtype, list(array.shape), array.ravel().tolist()]
        case "func":
            if value.attr:
                raise ValueError(f"the default function {value.name!r} has attributes, which the file does not hold")
            return value.name
    raise ValueError(f"no layout for an attribute of type {kind!r}")


def _arg(arg: op_def_pb2.OpDef.ArgDef) -> list[Any]:
    kind = arg.type or arg.type_attr or f"*{arg.type_list_attr}"
    row = [arg.name, kind, arg.number_attr, int(arg.is_ref)]
    while not row[-1]:
        row.pop()
    return row


def _attr(attr: op_def_pb2.OpDef.AttrDef) -> list[Any]:
    facts: dict[str, Any] = {}
    if attr.HasField("default_value"):
        facts["d"] = _plain(attr.default_value, attr.type)
    if attr.HasField("allowed_values"):
        kind = attr.type.removeprefix("list(").removesuffix(")")
        facts["a"] = _plain(attr.allowed_values, f"list({kind})")
    if attr.has_minimum:
        facts["m"] = attr.minimum
    return [attr.name, attr.type, facts] if facts else [attr.name, attr.type]


def _op(op: op_def_pb2.OpDef) -> list[Any]:
    row: list[Any] = [
        [_arg(a) for a in op.input_arg],
        [_arg(a) for a in op.output_arg],
        [_attr(a) for a in op.attr],
        "".join(letter for letter, field in FLAGS if getattr(op, field)),
        op.deprecation.version if op.HasField("deprecation") else 0,
    ]
    while len(row) > 3 and not row[-1]:
        row.pop()
    return row


def render() -> str:
    """The text of the file: one JSON object, TensorFlow's version on the first line, then one op per line."""
    lines = [f'"#tensorflow":{json.dumps(tf_version)}']
    lines += [f"{json.dumps(op.name)}:{json.dumps(_op(op), separators=(',', ':'))}" for op in registered_ops()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the file is up to date")
    check = parser.parse_args().check
    text = render()
    if check:
        fresh = TARGET.exists() and TARGET.read_text() == text
        print(f"{TARGET.name} is {'up to date' if fresh else 'out of date'}")
        return 0 if fresh else 1
    TARGET.write_text(text)
    print(f"wrote {TARGET.name}: {text.count(chr(10)) - 3} ops, {len(text):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
