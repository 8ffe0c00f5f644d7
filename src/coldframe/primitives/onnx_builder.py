"""Emitting ONNX: symbolic values, nodes, weights, and what ONNX Runtime's CPU kernels accept.

An `OnnxValue` knows its dtype and its rank always, its dimensions and its values where they are known. A value whose
array is known is a constant: it becomes an initializer only when a node reads it. Where a kernel lacks a dtype the
builder computes in a wider one and casts back; where no wider one gives the same numbers it raises `Unlowerable`.

Messages come from coldframe's own descriptors; the ``onnx`` package is not needed to run.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.formats import messages
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.onnx_nodes import live, op_types, reads, set_attribute, tensor
from coldframe.primitives.onnx_origins import Conditions, Origins
from coldframe.primitives.onnx_weights import Weight
from coldframe.records import dataclass

Array = npt.NDArray[Any]
Dims = tuple[int | None, ...]

OPSET: Final = 21
IR_VERSION: Final = 10
_INLINE_LIMIT: Final = 1024  # bytes; larger weights are handed to the runtime beside the model, without a copy

# Where a kernel lacks a dtype: the dtypes that hold all its values, nearest first.
_WIDER: Final[Mapping[str, tuple[DType, ...]]] = {
    "bool": (dtypes.uint8, dtypes.int32, dtypes.int64, dtypes.float32),
    "int8": (dtypes.int16, dtypes.int32, dtypes.int64),
    "uint8": (dtypes.int16, dtypes.int32, dtypes.int64),
    "int16": (dtypes.int32, dtypes.int64),
    "uint16": (dtypes.int32, dtypes.int64),
    "int32": (dtypes.int64,),
    "uint32": (dtypes.int64,),
    "float16": (dtypes.float32, dtypes.float64),
    "bfloat16": (dtypes.float32, dtypes.float64),
    "float32": (dtypes.float64,),
}

# Of numbers of a narrow dtype they make numbers of it, also where they are computed in a wider one: nothing is rounded.
_EXACT: Final = op_types("Relu Clip Max Min ReduceMax ReduceMin MaxPool Pad Abs Neg Sign Floor Ceil Round")


@functools.lru_cache(maxsize=1)
def kernels() -> Mapping[str, frozenset[str]]:
    """The dtypes that ONNX Runtime's CPU kernels take, by ONNX op (probed by ``tools/probe_onnxruntime.py``)."""
    text = Path(__file__).with_name("onnx_kernels.json").read_bytes()
    return {op: frozenset(names) for op, names in json.loads(text).items()}


def carrier(kernel: str, dtype: DType, *, modular: bool = False) -> DType:
    """Return the dtype in which `kernel` computes on `dtype`: itself, or a wider one with the same numbers.

    Args:
        kernel: an ONNX op, or a row of the probe such as ``Pad.reflect``.
        dtype: the tensor's dtype.
        modular: the result modulo 2**64 is all that counts, so that uint64 may travel as int64.

    Raises:
        Unlowerable: no kernel.
    """
    has = kernels().get(kernel)
    if has is None:
        raise Unlowerable(f"ONNX Runtime has no kernel `{kernel}`")
    if dtype.name in has:
        return dtype
    wider = _WIDER.get(dtype.name, ()) + ((dtypes.int64,) if modular and dtype is dtypes.uint64 else ())
    for w in wider:
        if w.name in has:
            return w
    raise Unlowerable(f"ONNX Runtime has no {kernel.partition('.')[0]} on {dtype.name}")


@functools.cache
def _taken(dtype: np.dtype[Any]) -> bool:
    """Whether constants may be of a dtype of numpy's."""
    return dtype.kind != "O" and dtype.name in kernels()["Identity"]


def wire(dtype: DType) -> DType:
    """Return the dtype in which a tensor enters and leaves a model: numpy and ONNX Runtime share no bfloat16."""
    return dtypes.float32 if dtype is dtypes.bfloat16 else dtype


WIRED: Final = "fiub"
"""The kinds of numpy's dtypes whose arrays models take and give as they are."""


def to_wire(array: Array) -> Array:
    """Return `array` as a model takes it: contiguous, bfloat16 as float32, complex numbers as pairs of real ones."""
    if array.dtype.kind in WIRED and array.flags.c_contiguous:
        return array
    if array.dtype == dtypes.bfloat16.numpy:
        array = array.astype(np.float32)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    if array.dtype.kind != "c":
        return array
    return array[..., None].view(array.real.dtype)


def from_wire(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return what a model gave as an array of `dtype`: the inverse of `to_wire`."""
    if array.dtype is dtype:
        return array
    if dtype.kind == "c":
        return array.view(dtype)[..., 0]
    return array if array.dtype == dtype else array.astype(dtype)


@dataclass(slots=True, eq=False)
class OnnxValue:
    """A tensor of the model being built. Arithmetic operators call the interpreter's verbs.

    Attributes:
        xp: the interpreter it belongs to.
        dtype, dims: what is known; the rank always is.
        name: its name in the model; empty for a constant that no node has read yet.
        const: its values where known.
        partial: for an integer vector or scalar, its elements where known (shapes with open dimensions).
        turned: the tensor of which it is the transpose, and by which permutation; see `onnx_layout`.
    """

    xp: Any
    dtype: DType
    dims: Dims
    name: str = ""
    const: Array | None = None
    partial: tuple[int | None, ...] | None = None
    turned: tuple[OnnxValue, tuple[int, ...]] | None = None

    @property
    def ndim(self) -> int:
        return len(self.dims)

    def known(self) -> tuple[int | None, ...] | None:
        """The elements of an integer vector or scalar, as far as known; None where nothing is."""
        if self.const is not None:
            return tuple(int(v) for v in self.const.ravel()) if self.const.dtype.kind in "iu" else None
        return self.partial

    def __add__(self, o: Any) -> Any:
        return self.xp.add(self, o)

    def __radd__(self, o: Any) -> Any:
        return self.xp.add(o, self)

    def __sub__(self, o: Any) -> Any:
        return self.xp.subtract(self, o)

    def __rsub__(self, o: Any) -> Any:
        return self.xp.subtract(o, self)

    def __mul__(self, o: Any) -> Any:
        return self.xp.multiply(self, o)

    def __rmul__(self, o: Any) -> Any:
        return self.xp.multiply(o, self)

    def __truediv__(self, o: Any) -> Any:
        return self.xp.divide(self, o)

    def __rtruediv__(self, o: Any) -> Any:
        return self.xp.divide(o, self)

    def __neg__(self) -> Any:
        return self.xp.neg(self)

    def __lt__(self, o: Any) -> Any:
        return self.xp.less(self, o)

    def __le__(self, o: Any) -> Any:
        return self.xp.less_equal(self, o)

    def __gt__(self, o: Any) -> Any:
        return self.xp.greater(self, o)

    def __ge__(self, o: Any) -> Any:
        return self.xp.greater_equal(self, o)

    def __eq__(self, o: object) -> Any:
        return self.xp.equal(self, o)

    def __ne__(self, o: object) -> Any:
        return self.xp.not_equal(self, o)

    def __and__(self, o: Any) -> Any:
        return self.xp.logical_and(self, o)

    def __or__(self, o: Any) -> Any:
        return self.xp.logical_or(self, o)

    def __invert__(self) -> Any:
        return self.xp.logical_not(self) if self.dtype is dtypes.bool_ else self.xp.invert(self)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        if self.const is not None and self.const.size == 1:
            return bool(self.const)
        raise Unlowerable("the body branches on a value that is not known when compiling")

    def __index__(self) -> int:
        if self.const is None:
            raise Unlowerable("a dimension is not known when compiling")
        return int(self.const)

    __int__ = __index__

    def __float__(self) -> float:
        if self.const is None:
            raise Unlowerable("a value is not known when compiling")
        return float(self.const)


class Builder:
    """Collects the nodes and weights of one ONNX model.

    Attributes:
        facts: dtype and dims of what is fed and what nodes make, by name; of loops and branches nothing.
        given: the inputs that the model made last has.
        conditions: what must be true of them.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.facts: dict[str, tuple[DType, Dims]] = {}
        self.inputs: list[OnnxValue] = []
        self.inline: dict[str, Array] = {}
        self.weights: dict[str, Array] = {}
        self.given: list[str] = []
        self.conditions = Conditions()
        self.origins = Origins()
        self.zeros: set[str] = set()  # tensors of nothing but zeros
        self.rows: dict[str, int] = {}  # of inputs, as many as those have with which the model is compiled
        self._lifted: dict[int, tuple[Array, str]] = {}
        self._cast: dict[tuple[str, DType], OnnxValue] = {}
        self._count = 0

    def fresh(self, hint: str = "t") -> str:
        self._count += 1
        return f"{hint}_{self._count}"

    # --- values -------------------------------------------------------------------------------------------------
    def input(self, name: str, dtype: DType, dims: Dims) -> OnnxValue:
        """Declare a model input, fed in the dtype `wire` tells."""
        if dtype.onnx is None or dtype.name not in kernels()["Identity"]:
            raise Unlowerable(f"ONNX Runtime does not take {dtype.name}")
        value = OnnxValue(self, wire(dtype), dims, name)
        self.inputs.append(value)
        self.facts[name] = value.dtype, dims
        return self.narrowed(value, dtype)

    def constant(self, array: Any, dtype: DType | None = None) -> OnnxValue:
        """Make a constant from an array or a scalar."""
        a = np.asarray(array, dtype.numpy if dtype is not None else None)
        return OnnxValue(self, dtype or dtypes.from_numpy(a.dtype), a.shape, const=a)

    def lift(self, x: Any, like: OnnxValue | None = None, dtype: DType | None = None) -> OnnxValue:
        """Return `x` as a value: Python scalars take the dtype of `like`, or `dtype`."""
        if isinstance(x, OnnxValue):
            return x
        if isinstance(x, (bool, int, float, list, tuple)) and not isinstance(x, np.generic):
            if isinstance(x, (list, tuple)):
                return self.constant(np.asarray(x, (dtype or dtypes.int64).numpy))
            return self.constant(x, dtype or (like.dtype if like is not None else None))
        return self.constant(x)

    def name_of(self, v: OnnxValue) -> str:
        """Return the name under which nodes read `v`; a constant becomes an initializer here."""
        if v.name:
            return v.name
        if v.const is None:
            raise Unlowerable("a value without a name or a constant")
        known = self._lifted.get(id(v.const))
        if known is None:
            a = v.const
            if not _taken(a.dtype):
                raise Unlowerable(f"ONNX Runtime does not take constants of {a.dtype}")
            name = self.fresh("w")
            (self.weights if a.nbytes > _INLINE_LIMIT else self.inline)[name] = a
            self._lifted[id(a)] = known = (a, name)  # holding the array keeps its id its own
        v.name = known[1]
        return v.name

    # --- nodes --------------------------------------------------------------------------------------------------
    def node(
        self,
        op_type: str,
        inputs: Sequence[OnnxValue | None],
        *,
        dtype: DType | None = None,
        dims: Dims | None = None,
        domain: str = "",
        **attrs: Any,
    ) -> OnnxValue:
        """Emit a node of one output. dtype and dims default to those of the first input. None skips an input."""
        first = inputs[0]
        dtype = dtype or (first.dtype if first is not None else dtypes.float32)
        dims = dims if dims is not None else (first.dims if first is not None else ())
        return self.nodes_out(op_type, inputs, [(dtype, dims)], domain=domain, **attrs)[0]

    def nodes_out(
        self,
        op_type: str,
        inputs: Sequence[OnnxValue | None],
        outputs: Sequence[tuple[DType, Dims]],
        *,
        domain: str = "",
        **attrs: Any,
    ) -> list[OnnxValue]:
        """Emit a node of several outputs, each given as dtype and dims."""
        names = ["" if i is None else i.name or self.name_of(i) for i in inputs]
        out = [OnnxValue(self, d, s, self.fresh()) for d, s in outputs]
        for o in out:
            self.facts[o.name] = o.dtype, o.dims
        message = messages.onnx.NodeProto(op_type=op_type, domain=domain, input=names, output=[o.name for o in out])
        for k, v in attrs.items():
            if v is not None:
                set_attribute(message.attribute.add(name=k), v)
        self.nodes.append(message)
        self.origins.note(op_type, inputs, out)
        return out

    def typed(
        self,
        kernel: str,
        inputs: Sequence[OnnxValue],
        *,
        dims: Dims | None = None,
        dtype: DType | None = None,
        modular: bool = False,
        more: Sequence[OnnxValue | None] = (),
        **attrs: Any,
    ) -> OnnxValue:
        """Emit `kernel` on `inputs` of one dtype, through a wider one where it lacks theirs.

        Args:
            kernel: an ONNX op or a row of the probe; what follows a dot only selects the row.
            inputs: inputs of the probed type.
            dims: the result's dims; default those of the first input.
            dtype: the result's dtype where it is not the inputs' (comparisons).
            modular: see `carrier`.
            more: further inputs, of types of their own.
            attrs: the node's attributes.
        """
        own = inputs[0].dtype
        work = carrier(kernel, own, modular=modular)
        cast = [self.cast(i, work) for i in inputs]
        op_type = kernel.partition(".")[0]
        out = self.node(op_type, [*cast, *more], dtype=dtype or work, dims=dims, **attrs)
        if dtype is not None:
            return out
        return self.narrowed(out, own) if own.is_float and op_type in _EXACT else self.cast(out, own)

    def cast(self, x: OnnxValue, dtype: DType) -> OnnxValue:
        """Convert as C does; the same conversion of one value is emitted once."""
        if x.dtype is dtype or (x.dtype.numpy == dtype.numpy and x.dtype.onnx == dtype.onnx):
            return x
        if x.const is not None:
            return self.constant(x.const.astype(dtype.numpy), dtype)
        key = (x.name, dtype)
        if key not in self._cast:
            if dtype.name not in kernels().get(f"Cast.{x.dtype.name}", frozenset()):
                raise Unlowerable(f"ONNX Runtime does not cast {x.dtype.name} to {dtype.name}")
            self._cast[key] = self.node("Cast", [x], dtype=dtype, to=dtype.onnx)
        out = self._cast[key]
        keep = x.partial if dtype.is_integer else None
        return dataclasses.replace(out, partial=keep) if keep is not None else out

    def narrowed(self, x: OnnxValue, dtype: DType) -> OnnxValue:
        """Convert `x`, whose numbers `dtype` holds as they are: cast back, they are `x`."""
        made = self.cast(x, dtype)
        if made is not x:
            self._cast[made.name, x.dtype] = x
        return made

    def forget(self, gone: Collection[str]) -> None:
        """Forget shared nodes that made the tensors `gone`: they were taken back, or are inside a subgraph."""
        self._cast = {k: v for k, v in self._cast.items() if v.name not in gone}

    # --- the model ----------------------------------------------------------------------------------------------
    def model(self, outputs: Iterable[tuple[str, OnnxValue]]) -> tuple[bytes, dict[str, Weight]]:
        """Return the serialized model with `outputs`, in order, and the weights to hand over beside it.

        Each output comes with the name that it gets where what it is has a name already, as inputs have.
        """
        m = messages.onnx.ModelProto(ir_version=IR_VERSION, producer_name="coldframe")
        for domain, version in (("", OPSET), ("com.microsoft", 1)):
            m.opset_import.add(domain=domain, version=version)
        g = m.graph
        g.name = "island"
        given = {i.name for i in self.inputs}
        names: list[str] = []
        for name, result in outputs:
            value = self.cast(result, wire(result.dtype))
            own = self.name_of(value)
            if own in given or own in self.inline or own in self.weights or own in names:
                self.nodes.append(messages.onnx.NodeProto(op_type="Identity", input=[own], output=[name]))
                self.facts[name] = value.dtype, value.dims
            else:  # under its own name: ONNX Runtime would copy it to another one
                name = own
            names.append(name)
            g.output.append(_info(name, value.dtype, value.dims))
        kept = live(self.nodes, names)
        if {"MatMul", "Gather"} <= {n.op_type for n in kept}:
            from coldframe.primitives.onnx_lookups import regrouped

            kept = live(regrouped(self, kept, names, reads), names)
        nodes, made = self._folded(kept, names)
        inline = {k: v for k, v in {**self.inline, **made}.items() if isinstance(v, np.ndarray)}
        used = {i for n in nodes for i in reads(n)}
        inputs = [i for i in self.inputs if i.name in used]
        self.given = [i.name for i in inputs]
        self.conditions = self.origins.conditions(self.given)
        g.input.extend(_info(i.name, i.dtype, i.dims) for i in inputs)
        g.node.extend(nodes)
        g.initializer.extend(tensor(name, array) for name, array in inline.items() if name in used)
        known = {**self.weights, **{k: v for k, v in made.items() if k not in inline}}
        weights = {name: weight for name, weight in known.items() if name in used}
        for name, array in weights.items():
            t = messages.onnx.TensorProto(name=name, dims=array.shape, data_type=dtypes.from_numpy(array.dtype).onnx)
            t.data_location = 1  # EXTERNAL: the array is given to the session, nothing is read from a file
            for key, text in (("location", "memory"), ("offset", "0"), ("length", str(array.nbytes))):
                t.external_data.add(key=key, value=text)
            g.initializer.append(t)
        return m.SerializeToString(), weights

    def _folded(self, nodes: list[Any], names: Sequence[str]) -> tuple[list[Any], dict[str, Weight]]:
        """Return `nodes` with less to do around convolutions, and the constants that this takes."""
        if not any(n.op_type == "Conv" for n in nodes):
            return nodes, {}
        from coldframe.primitives.onnx_scales import Scales

        count = Counter(names)
        for n in nodes:
            count.update(reads(n))
        return Scales(nodes, {**self.inline, **self.weights}, count, self.fresh).fold()


def graph_of(name: str, inputs: Sequence[OnnxValue], outputs: Sequence[tuple[str, OnnxValue]], nodes: Any) -> Any:
    """Return a subgraph."""
    g = messages.onnx.GraphProto(name=name)
    g.node.extend(nodes)
    g.input.extend(_info(v.name, v.dtype, v.dims) for v in inputs)
    g.output.extend(_info(n, v.dtype, v.dims) for n, v in outputs)
    return g


def _info(name: str, dtype: DType, dims: Dims) -> Any:
    info = messages.onnx.ValueInfoProto(name=name)
    t = info.type.tensor_type
    t.elem_type = dtype.onnx
    t.shape.SetInParent()
    for d in dims:
        dim = t.shape.dim.add()
        if d is not None:
            dim.dim_value = d
    return info
