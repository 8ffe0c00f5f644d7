"""Hold one op against TensorFlow on both interpreters.

A `Row` is one call of an op. `check(row)` asks TensorFlow for the answer (or for its refusal) and compares numpy's and
ONNX Runtime's with it. ONNX Runtime is tried with the shapes known and with every dimension open.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import tensorflow as tf

from coldframe import dtypes
from coldframe.errors import ExecutionError
from coldframe.graph.signatures import signature
from coldframe.graph.values import TensorValue
from coldframe.ops import table
from coldframe.ops.call import Call, bind
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.numpy_xp import NumpyPrimitives
from coldframe.primitives.onnx_builder import from_wire, to_wire
from coldframe.primitives.onnx_xp import OnnxPrimitives
from coldframe.shapes import Shape

NUMPY = NumpyPrimitives()
# On these dtypes an op that is not host-only must lower, unless its row says why not.
COMMON = {"float32", "int32", "int64", "bool"}
TOLERANCE = {
    "float16": 4e-3,
    "bfloat16": 3e-2,
    "float32": 2e-5,
    "float64": 1e-10,
    "complex64": 2e-5,
    "complex128": 1e-10,
}


@dataclasses.dataclass
class Row:
    """One call of an op.

    Attributes:
        op: the op's name.
        inputs: one entry per argument of the op: an array, or a list of arrays for a list argument.
        attrs: attributes beyond those that the inputs' dtypes tell; dtypes as names or `DType`, strings as str.
        lowers: whether ONNX Runtime must run it (True), cannot (False: say why in `why`), or either (None: the
            default rule, see COMMON).
        why: why it does not lower.
        tol: relative tolerance where the dtype's default will not do.
        const: flat positions of inputs that the ONNX interpreter is told as constants instead of feeding them.
        refused: TensorFlow refuses this call, and coldframe must too.
    """

    op: str
    inputs: list[Any]
    attrs: dict[str, Any] = dataclasses.field(default_factory=dict)
    lowers: bool | None = None
    why: str = ""
    tol: float | None = None
    refused: bool = False
    const: tuple[int, ...] = ()
    name: str = ""

    def __str__(self) -> str:
        kinds = [str(np.asarray(x[0] if isinstance(x, list) and x else x).dtype) for x in self.inputs]
        shapes = ["list" if isinstance(x, list) else "x".join(map(str, np.shape(x))) for x in self.inputs]
        extra = ",".join(f"{k}={v}" for k, v in self.attrs.items())
        return self.name or f"{self.op}({', '.join(f'{k}[{s}]' for k, s in zip(kinds, shapes, strict=True))};{extra})"


def rows(*items: Row) -> Any:
    """Parametrize a test over rows, with readable ids."""
    return pytest.mark.parametrize("row", items, ids=[str(i) for i in items])


def check(row: Row) -> None:
    """Assert that both interpreters give TensorFlow's answer for `row`."""
    want = from_tensorflow(row)
    call, flat = bound(row)
    if want is None:
        assert row.refused, f"TensorFlow refuses {row}; say so in the row"
        with pytest.raises((ExecutionError, ValueError, IndexError)):
            call.run(NUMPY, flat)
        if not (call.op.host or call.op.stateful or call.op.lenient):
            _check_onnx_refuses(row, call, flat)
        return
    assert not row.refused, f"TensorFlow does not refuse {row}"
    got = call.run(NUMPY, flat)
    compare(row, call, got, want, "numpy")
    if call.op.host or call.op.stateful:
        return
    _check_onnx(row, call, flat, want)


def _check_onnx_refuses(row: Row, call: Call, flat: list[Any]) -> None:
    """ONNX Runtime must not answer what TensorFlow refuses: numpy then says why."""
    for open_dims in (False, True):
        try:
            run_onnx(call, flat, open_dims=open_dims, const=row.const)
        except Exception:
            continue
        pytest.fail(f"{row} is answered by ONNX Runtime{' with open dims' if open_dims else ''}")


def _check_onnx(row: Row, call: Call, flat: list[Any], want: list[Any]) -> None:
    kinds = {d.name for _, d in call.inputs + call.outputs}
    must = row.lowers if row.lowers is not None else kinds <= COMMON
    for open_dims in (False, True):
        try:
            got = run_onnx(call, flat, open_dims=open_dims, const=row.const)
        except Unlowerable as e:
            if must and not open_dims:
                pytest.fail(f"{row} does not lower: {e}")
            continue
        assert row.lowers is not False, f"{row} lowers now: {row.why}"
        compare(row, call, got, want, "onnx, open dims" if open_dims else "onnx")


def bound(row: Row) -> tuple[Call, list[Any]]:
    """Return the call of a row, dtype attributes deduced from its inputs, and its flat inputs as arrays."""
    sig = signature(row.op)
    attrs: dict[str, Any] = {k: _attr(sig.attrs[k].type, v) for k, v in row.attrs.items()}
    flat: list[Any] = []
    for arg, x in zip(sig.inputs, row.inputs, strict=True):
        items = x if arg.is_list else [x]
        arrays = [_array(i) for i in items]
        if arg.number_attr:
            attrs.setdefault(arg.number_attr, len(arrays))
        if arg.type_list_attr:
            attrs.setdefault(arg.type_list_attr, tuple(dtypes.from_numpy(a.dtype) for a in arrays))
        if arg.type_attr and arrays:
            attrs.setdefault(arg.type_attr, dtypes.from_numpy(arrays[0].dtype))
        flat += arrays
    return bind(table()[row.op], attrs), flat


def _array(x: Any) -> Any:
    a = np.asarray(x)
    if a.dtype.kind in "SU":
        a = np.array([v.encode() if isinstance(v, str) else v for v in a.ravel().tolist()], object).reshape(a.shape)
    return a


def _attr(kind: str, v: Any) -> Any:
    if kind.startswith("list("):
        return tuple(_attr(kind[5:-1], i) for i in v)
    if kind == "float":
        return float(np.float32(v))  # as a file holds it
    if kind == "type":
        return dtypes.as_dtype(v)
    if kind == "shape":
        return Shape.of(v)
    if kind == "string" and isinstance(v, str):
        return v.encode()
    if kind == "tensor":
        return TensorValue.of(v)
    return v


_REFUSALS = (
    tf.errors.InvalidArgumentError,
    tf.errors.OutOfRangeError,
    tf.errors.InternalError,
    tf.errors.FailedPreconditionError,
    tf.errors.DataLossError,
    ValueError,
)


def from_tensorflow(row: Row) -> list[Any] | None:
    """Return TensorFlow's outputs as arrays, or None where it refuses."""
    sig = signature(row.op)
    if sig.deprecated is not None or not hasattr(tf.raw_ops, row.op):
        return _from_a_graph(row, sig.deprecated)
    args: dict[str, Any] = {}
    for arg, x in zip(sig.inputs, row.inputs, strict=True):
        as_type = row.attrs.get(arg.type_attr or "")
        args[arg.name] = [_tensor(i, as_type) for i in x] if arg.is_list else _tensor(x, as_type)
    takes = inspect.signature(getattr(tf.raw_ops, row.op)).parameters
    for k, v in row.attrs.items():
        if k not in takes and any(k == a.type_attr for a in sig.inputs):
            continue  # told by the inputs
        kind = sig.attrs[k].type
        if kind == "type":
            v = tf.as_dtype(dtypes.as_dtype(v).enum)
        elif kind == "list(type)":
            v = [tf.as_dtype(dtypes.as_dtype(d).enum) for d in v]
        args[k] = v
    # Python calls some arguments otherwise than the registry does: `axis` for `split_dim`.
    known = {a.name for a in sig.inputs} | set(sig.attrs) | {"name"}
    renamed = dict(zip([k for k in args if k not in takes], [p for p in takes if p not in known], strict=False))
    args = {renamed.get(k, k): v for k, v in args.items()}
    try:
        with tf.device("/CPU:0"):
            out = getattr(tf.raw_ops, row.op)(**args)
    except _REFUSALS:
        return None
    flat = list(tf.nest.flatten(out)) if isinstance(out, (list, tuple)) else [out]
    return [_values(o) if hasattr(o, "numpy") else o for o in flat]


def _from_a_graph(row: Row, deprecated: int | None) -> list[Any] | None:
    """Like `from_tensorflow`, of an op that Python cannot call: the optimizer writes it, or only old graphs have it."""
    call, flat = bound(row)
    proto = tf.compat.v1.GraphDef()
    proto.versions.producer = tf.version.GRAPH_DEF_VERSION if deprecated is None else deprecated - 1
    for k, a in enumerate(flat):
        n = proto.node.add(name=f"i{k}", op="Const")
        n.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(a))
        n.attr["dtype"].type = n.attr["value"].tensor.dtype
    node = proto.node.add(name="row", op=row.op, input=[f"i{k}" for k in range(len(flat))])
    for name, spec in signature(row.op).attrs.items():
        if name in call.attrs:
            _set_attr(node.attr[name], spec.type, call.attrs[name])
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    with tf.Graph().as_default() as graph, tf.device("/CPU:0"):
        try:
            tf.import_graph_def(proto, name="")
            with tf.compat.v1.Session(graph=graph, config=config) as session:
                return list(session.run([f"row:{k}" for k in range(len(call.outputs))]))
        except (*_REFUSALS, tf.errors.UnimplementedError):
            return None


def _set_attr(attr: Any, kind: str, v: Any) -> None:
    field = {"string": "s", "int": "i", "float": "f", "bool": "b", "type": "type"}
    if kind.startswith("list("):
        values = [i.enum for i in v] if kind == "list(type)" else list(v)
        attr.list.SetInParent()
        getattr(attr.list, field[kind[5:-1]]).extend(values)
    else:
        setattr(attr, field[kind], v.enum if kind == "type" else v)


def _tensor(x: Any, as_type: Any) -> Any:
    """A tensor; of a quantized type where the row says so."""
    t = tf.constant(x)
    wanted = None if as_type is None else tf.as_dtype(dtypes.as_dtype(as_type).enum)
    return tf.bitcast(t, wanted) if wanted is not None and wanted.is_quantized else t


def _values(t: Any) -> Any:
    if t.dtype.is_quantized:
        t = tf.bitcast(t, tf.as_dtype(dtypes.from_enum(t.dtype.as_datatype_enum).numpy))
    return t.numpy()


def run_onnx(call: Call, flat: list[Any], *, open_dims: bool, const: tuple[int, ...] = ()) -> list[Any]:
    """Lower `call` and run it on ONNX Runtime; static inputs are constants, the others are fed."""
    xp = OnnxPrimitives()
    static, feeds, values = set(call.static_inputs()), {}, []
    for i, ((_, dtype), a) in enumerate(zip(call.inputs, flat, strict=True)):
        if i in static:
            values.append(a)
            continue
        if i in const:
            values.append(xp.constant(a, dtype))
            continue
        dims = tuple(None for _ in a.shape) if open_dims else a.shape
        values.append(xp.input(f"i{i}", dtype, dims))
        feeds[f"i{i}"] = a
    out = call.run(xp, values, aspect="onnx")
    lifted = [xp.lift(o) for o in out]
    for (arg, dtype), o in zip(call.outputs, lifted, strict=True):
        assert o.dtype.numpy == dtype.numpy, f"{call.op.name} output {arg.name}: lowered to {o.dtype}, expected {dtype}"
    held = xp.held()
    if held.const is not None and not held.const:
        raise Unlowerable("it refuses the run")
    checks = [("held", held)] if held.const is None else []
    model, weights = xp.model([*((f"o{k}", o) for k, o in enumerate(lifted)), *checks])
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if weights:
        arrays = [np.ascontiguousarray(w) for w in weights.values()]  # ONNX Runtime reads them where they are
        values_ = [ort.OrtValue.ortvalue_from_numpy(a) for a in arrays]
        options.add_external_initializers(list(weights), values_)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    used = {i.name for i in session.get_inputs()}
    fed = {k: to_wire(v) for k, v in feeds.items() if k in used}
    if broken := xp.conditions.broken(fed):
        raise Unlowerable(broken)
    made = session.run(None, fed)
    if checks and not made.pop():
        raise RuntimeError("a promise is broken")
    results = [from_wire(r, o.dtype.numpy) for r, o in zip(made, lifted, strict=True)]
    for o, g in zip(lifted, results, strict=True):
        known = [d for d in zip(o.dims, g.shape, strict=True) if d[0] is not None]
        assert all(a == b for a, b in known), f"{call.op.name}: traced dims {o.dims}, found {g.shape}"
    return results


def compare(row: Row, call: Call, got: list[Any], want: list[Any], who: str) -> None:
    """Assert equal dtypes, shapes and values."""
    assert len(got) == len(want), f"{row} on {who}: {len(got)} outputs, expected {len(want)}"
    for k, ((_, dtype), g, w) in enumerate(zip(call.outputs, got, want, strict=True)):
        g, w = np.asarray(g), np.asarray(w, object if isinstance(w, bytes) else None)  # bytes_ would lose final zeros
        where = f"{row} output {k} on {who}"
        assert g.shape == w.shape, f"{where}: shape {g.shape}, expected {w.shape}"
        assert g.dtype == dtype.numpy, f"{where}: dtype {g.dtype}, expected {dtype.numpy}"
        if g.dtype.kind == "O" or g.dtype.kind in "biu":
            assert np.array_equal(g, w.astype(g.dtype) if g.dtype.kind != "O" else w), f"{where}: {g} expected {w}"
            continue
        tol = row.tol if row.tol is not None else TOLERANCE.get(g.dtype.name, 0.1)
        wide = np.complex128 if g.dtype.kind == "c" else np.float64
        ga, wa = g.astype(wide), w.astype(wide)
        finite = np.abs(wa[np.isfinite(wa)])
        scale = min(1.0, float(finite.max())) if finite.size else 1.0
        np.testing.assert_allclose(ga, wa, rtol=tol, atol=tol * scale, equal_nan=True, err_msg=where)


def sample(dtype: Any, *shape: int, seed: int = 0, low: float = -3, high: float = 3) -> Any:
    """Reproducible values of a dtype, between `low` and `high`; unsigned ones from 0."""
    rng = np.random.default_rng(seed)
    d = dtypes.as_dtype(dtype).numpy
    if d == np.bool_:
        return rng.random(shape) < 0.5
    if d.kind == "c":
        return (rng.uniform(low, high, shape) + 1j * rng.uniform(low, high, shape)).astype(d)
    if d.kind in "iu":
        return rng.integers(0 if d.kind == "u" else int(low), int(high) + 1, shape).astype(d)
    return rng.uniform(low, high, shape).astype(d)


FLOATS = ("float16", "bfloat16", "float32", "float64")
INTS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
COMPLEX = ("complex64", "complex128")


def each(dtypes_: Any, make: Any) -> list[Row]:
    """Return ``make(dtype)`` for each dtype, flattened where it gives several."""
    out: list[Row] = []
    for d in dtypes_:
        r = make(d)
        out.extend(r if isinstance(r, list) else [r])
    return out


Attrs = Mapping[str, Any]
