"""The op signatures equal TensorFlow's registry."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.framework import tensor_util

from coldframe import dtypes
from coldframe.errors import GraphError, UnsupportedOpError
from coldframe.graph import signatures
from coldframe.graph.signatures import ArgDef, AttrDef, OpSignature, all_names, expand, fill_defaults, known, signature
from coldframe.ops import table
from coldframe.shapes import Shape

ROOT = Path(__file__).parents[2]
FILE = ROOT / "src" / "coldframe" / "graph" / "signatures.json"

pytestmark = pytest.mark.skipif(
    json.loads(FILE.read_text())["#tensorflow"] != tf.__version__, reason="signatures.json is of another TensorFlow"
)


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "dump_op_signatures.py"))


@pytest.fixture(scope="module")
def registry(tool: dict[str, Any]) -> list[op_def_pb2.OpDef]:
    return list(tool["registered_ops"]())


def test_the_file_is_up_to_date(tool: dict[str, Any]) -> None:
    assert FILE.read_text() == tool["render"](), "run tools/dump_op_signatures.py"


def test_the_file_has_no_prose(registry: list[op_def_pb2.OpDef]) -> None:
    text = FILE.read_text()
    sentences = {d for op in registry for a in [op, *op.input_arg, *op.attr] if len(d := a.description) > 20}
    assert len(sentences) > 50
    assert not [s for s in sentences if json.dumps(s)[1:-1] in text]
    assert " " not in text, "names, numbers and single words only"


def _former() -> set[str]:
    rows = json.loads(FILE.with_name("former_signatures.json").read_text())
    return {name for name in rows if not name.startswith("#")}


def test_every_op_is_there_once_and_sorted(registry: list[op_def_pb2.OpDef]) -> None:
    names = [op.name for op in registry]
    assert not _former() & set(names), "it is no former op"
    assert all_names() == tuple(sorted([*names, *_former()]))
    assert {"BatchMatMul", "Concat", "Gather", "TensorArrayV2", "Switch"} <= set(all_names()), "ops of old graphs too"


def test_every_op_equals_tensorflows_op_def(registry: list[op_def_pb2.OpDef]) -> None:
    wrong = [op.name for op in registry if _differs(signature(op.name), op)]
    assert not wrong


def test_every_former_op_has_a_body() -> None:
    """Somebody wrote its signature by hand, for no other reason."""
    assert _former() <= set(table())
    assert signature("CompareAndBitpack").outputs == (ArgDef("output", dtypes.uint8, None, None, None, False),)


def _differs(sig: OpSignature, op: op_def_pb2.OpDef) -> bool:
    flags = ("is_stateful", "is_commutative", "is_aggregate", "allows_uninitialized_input")
    return (
        sig.name != op.name
        or [_arg(a) for a in sig.inputs] != [_arg_def(a) for a in op.input_arg]
        or [_arg(a) for a in sig.outputs] != [_arg_def(a) for a in op.output_arg]
        or list(sig.attrs) != [a.name for a in op.attr]
        or any(_attr(sig.attrs[a.name]) != _attr_def(a) for a in op.attr)
        or any(getattr(sig, f) != getattr(op, f) for f in flags)
        or (sig.deprecated or 0) != op.deprecation.version
    )


def _arg(a: ArgDef) -> tuple[Any, ...]:
    number = a.type.enum if a.type else 0
    return (a.name, number, a.type_attr or "", a.number_attr or "", a.type_list_attr or "", a.is_ref)


def _arg_def(a: op_def_pb2.OpDef.ArgDef) -> tuple[Any, ...]:
    return (a.name, a.type, a.type_attr, a.number_attr, a.type_list_attr, a.is_ref)


def _attr(a: AttrDef) -> tuple[Any, ...]:
    allowed = [v.enum if isinstance(v, dtypes.DType) else v.encode() for v in a.allowed]
    return (a.name, a.type, a.has_default, _comparable(a.default), allowed, a.minimum)


def _attr_def(a: op_def_pb2.OpDef.AttrDef) -> tuple[Any, ...]:
    allowed = [*a.allowed_values.list.type, *a.allowed_values.list.s]
    has_default = a.HasField("default_value")
    default = _python(a.default_value, a.type) if has_default else None
    return (a.name, a.type, has_default, _comparable(default), allowed, a.minimum if a.has_minimum else None)


def _python(value: Any, kind: str) -> Any:
    if kind.startswith("list("):
        return tuple(_item(v, kind[5:-1]) for _, items in value.list.ListFields() for v in items)
    return _item(getattr(value, {"int": "i", "float": "f", "bool": "b", "string": "s"}.get(kind, kind)), kind)


def _item(value: Any, kind: str) -> Any:
    if kind == "type":
        return dtypes.from_enum(value)
    if kind == "shape":
        return Shape.unknown() if value.unknown_rank else Shape.of(d.size for d in value.dim)
    if kind == "tensor":
        return tensor_util.MakeNdarray(value)
    return value.name if kind == "func" else value


def _comparable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tolist())
    return tuple(_comparable(v) for v in value) if isinstance(value, tuple) else (type(value), value)


def test_values_are_python_values() -> None:
    conv = signature("Conv2D")
    assert conv.attrs["data_format"].default == b"NHWC"
    assert conv.attrs["data_format"].allowed == ("NHWC", "NCHW")
    assert conv.attrs["dilations"].default == (1, 1, 1, 1)
    assert not conv.attrs["strides"].has_default
    assert conv.attrs["T"].allowed[0] is dtypes.float16
    assert signature("PlaceholderV2").attrs["shape"].default is None
    assert signature("Placeholder").attrs["shape"].default == Shape.unknown()
    assert signature("Placeholder").attrs["shape"].has_default
    assert signature("FusedBatchNorm").attrs["epsilon"].default == float(np.float32(1e-4))
    assert signature("ImageSummary").attrs["bad_color"].default.tolist() == [255, 0, 0, 255]
    assert signature("Assign").inputs[0].is_ref
    assert signature("Assign").allows_uninitialized_input
    assert signature("BatchNormWithGlobalNormalization").deprecated == 9
    assert signature("AddN").inputs[0].is_list


def test_signatures_are_cached_and_immutable() -> None:
    add = signature("Add")
    assert signature("Add") is add
    assert hash(add) == hash(signature("Add"))
    with pytest.raises(TypeError):
        add.attrs["T"] = add.attrs["T"]  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        signature("ImageSummary").attrs["bad_color"].default[0] = 1


def test_an_unknown_op_names_its_neighbours() -> None:
    assert known("MatMul")
    assert not known("MatMull")
    assert not known("#tensorflow")
    with pytest.raises(UnsupportedOpError, match=r"(?s)^TensorFlow has no op called `MatMull`\nhint: .*`MatMul`"):
        signature("MatMull")


def test_defaults_are_filled_in() -> None:
    sig = signature("MatMul")
    assert fill_defaults(sig, {"T": dtypes.float32, "transpose_b": True}) == {
        "T": dtypes.float32,
        "transpose_a": False,
        "transpose_b": True,
        "grad_a": False,
        "grad_b": False,
    }


@pytest.mark.parametrize(
    ("op", "attrs", "inputs"),
    [
        ("MatMul", {"T": dtypes.float16}, "a:float16 b:float16"),
        ("ConcatV2", {"N": 2, "T": dtypes.int8, "Tidx": dtypes.int32}, "values:int8 values:int8 axis:int32"),
        ("AddN", {"N": 0, "T": dtypes.int8}, ""),
        ("IdentityN", {"T": (dtypes.int8, dtypes.string)}, "input:int8 input:string"),
        ("RestoreV2", {"dtypes": (dtypes.int8,)}, "prefix:string tensor_names:string shape_and_slices:string"),
    ],
)
def test_arguments_are_expanded(op: str, attrs: dict[str, Any], inputs: str) -> None:
    assert " ".join(f"{a.name}:{d}" for a, d in expand(signature(op).inputs, attrs)) == inputs


@pytest.mark.parametrize(
    ("op", "attrs", "message"),
    [
        ("MatMul", {}, "attribute `T` of argument `a`: expected a dtype, found no such attribute"),
        ("MatMul", {"T": 1}, "attribute `T` of argument `a`: expected a dtype, found 1"),
        ("AddN", {"T": dtypes.int8, "N": -1}, "attribute `N` gives argument `inputs` an impossible length: "),
        ("AddN", {"T": dtypes.int8, "N": 1 << 60}, f"expected 0 to {signatures.MAX_LIST}, found {1 << 60}"),
        ("IdentityN", {"T": dtypes.int8}, "attribute `T` of argument `input`: expected a list of dtypes, found int8"),
        ("IdentityN", {"T": (dtypes.int8, 3)}, "attribute `T` of argument `input`: expected a list of dtypes, found 3"),
    ],
)
def test_arguments_that_cannot_be_expanded(op: str, attrs: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError) as caught:
        expand(signature(op).inputs, attrs)
    assert message in str(caught.value)


def test_loading_decodes_only_what_is_asked_for() -> None:
    """One signature must not cost a parse of the whole file."""
    code = (
        "import json; calls = []; loads = json.loads\n"
        "json.loads = lambda s: (calls.append(len(s)), loads(s))[1]\n"
        "from coldframe.graph import signatures\n"
        "signatures.signature('Add'); signatures.known('Abs'); signatures.all_names()\n"
        "print(len(calls), sum(calls) < 1000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True"]
