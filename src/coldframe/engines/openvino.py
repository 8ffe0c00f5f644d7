"""OpenVINO: the ONNX models that ONNX Runtime would get, where they are dense work that it computes faster.

Nodes are traced as for ONNX Runtime (`coldframe.engines.onnxruntime`). What `coldframe.primitives.onnx_openvino` finds
fit becomes a program of OpenVINO's CPU plugin, everything else one of ONNX Runtime, with the reason in the report. So
does a run that OpenVINO fails, and one whose values it would not compute as TensorFlow does: 64-bit integers that do
not fit in 32 bits, indices out of range, no elements, numbers that are not finite.

Weights are inputs of the model while it is read, and then constants in the memory where they are: OpenVINO has no other
way to be handed arrays. It fuses more where it knows all sizes, so the first program is for those with which the island
is compiled; a second one, made when others come, is for any batch. Requests, which hold the memory of a run, are kept
and reused, one for each thread that runs at the same time.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import threading
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from coldframe.dtypes import from_onnx
from coldframe.engines.base import BoundNode, Compiled, EngineOptions, Island
from coldframe.engines.onnxruntime import OnnxModel, OnnxProgram, OnnxRuntimeEngine, Program, compiled
from coldframe.errors import MisuseError
from coldframe.formats import messages
from coldframe.primitives.onnx_builder import to_wire
from coldframe.primitives.onnx_lists import OnnxList
from coldframe.primitives.onnx_openvino import Lookup, Survey, has_depthwise, survey
from coldframe.primitives.onnx_weights import Layout, Weight

WORTH: Final = 100_000_000
"""Multiplications per example from which on OpenVINO gets an island; see docs/decisions/0018."""

_CONVERTER: Final = "openvino.tools.ovc"
_LOCK: Final = threading.Lock()
_SHOWN: Final = 300  # characters of a reason
_LEAST, _MOST = np.iinfo(np.int32).min, np.iinfo(np.int32).max


def installed() -> bool:
    """Whether OpenVINO is there; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


class OpenVinoEngine:
    """Compiles islands with OpenVINO's CPU plugin, and those that it should not get with ONNX Runtime.

    Args:
        options: threads.
        selective: give OpenVINO dense work alone, which it does faster.
    """

    name = "openvino"
    exact_shapes = False

    def __init__(self, options: EngineOptions | None = None, *, selective: bool = False) -> None:
        if not installed():
            raise MisuseError(
                "the engine `openvino` needs OpenVINO, which is not installed", hint="pip install 'coldframe[openvino]'"
            )
        self.options = options or EngineOptions()
        self._selective = selective
        self._general = OnnxRuntimeEngine(self.options)

    def declines(self, bound: BoundNode) -> str:
        """Say what ONNX Runtime's engine says."""
        return self._general.declines(bound)

    def compile(self, island: Island) -> Compiled:
        """Trace what can be traced and have OpenVINO compile it, or ONNX Runtime."""
        return compiled(island, self._program)

    def _program(self, model: OnnxModel) -> Program:
        if self._selective and model.trains:
            return OnnxProgram(model, self.options)
        parsed = messages.onnx.ModelProto.FromString(model.serialized)
        # Its threads fall asleep between the runs of a server, and what they gain by depthwise convolutions is lost.
        if self._selective and not self.options.spin and has_depthwise(parsed.graph.node):
            return OnnxProgram(model, self.options)
        found = _surveyed(model, parsed)
        if self._selective and found.work < WORTH:
            return OnnxProgram(model, self.options)
        if found.reason:
            return OnnxProgram(model, self.options, f"not for OpenVINO: {found.reason}")
        return OpenVinoProgram(model, parsed, found.lookups, self.options)


def _surveyed(model: OnnxModel, parsed: Any) -> Survey:
    if any(isinstance(r, OnnxList) for r in model.results):
        return Survey("a tensor list", (), 0)
    if any(o.dtype.kind == "c" for o in model.results):
        return Survey("complex numbers", (), 0)
    facts = dict(model.facts)
    known: dict[str, Any] = {}
    for t in parsed.graph.initializer:
        dtype = from_onnx(t.data_type)
        facts[t.name] = dtype, tuple(t.dims)
        known[t.name] = None if t.name in model.weights else np.frombuffer(t.raw_data, dtype.numpy)
    return survey(parsed.graph.node, facts, known, [o.name for o in parsed.graph.output])


class OpenVinoProgram:
    """A model that OpenVINO compiled; see `Program`."""

    def __init__(self, model: OnnxModel, parsed: Any, lookups: tuple[Lookup, ...], options: EngineOptions) -> None:
        self._model, self._lookups, self._options = model, lookups, options
        self._text = _text(parsed, model.weights, lookups)
        self._dtypes = [o.dtype.numpy for o in model.results]
        self._sizes = _sizes(model)
        self._first: _Requests | None = None
        self._any: _Requests | None = None
        self._lock = threading.Lock()
        self.engine, self.reason = "openvino", ""

    def start(self) -> None:
        """Have it compiled, by ONNX Runtime where OpenVINO fails."""
        try:
            self._first = _Requests(_compiled(self._text, self._model.weights, self._options, self._sizes))
            self._tensor = _library().Tensor
        except Exception as e:  # OpenVINO's exceptions share no base of their own
            self.engine, self.reason = self._spare.engine, f"OpenVINO fails: {_first(e)}"
            self._text = b""

    def __call__(self, values: list[Any]) -> list[Any]:
        made = self.answer(values)
        return self._spare(values) if made is None else made

    def short(self, feeds: Mapping[str, Any], fetches: Mapping[str, int]) -> None:
        """There is nothing shorter: values are looked at before each run."""

    def answer(self, values: list[Any]) -> list[Any] | None:
        """Return the results; None where OpenVINO fails, or would treat `values` otherwise than others do."""
        # What is only guarded follows the inputs.
        feeds = {n: to_wire(v) for n, v in zip(self._model.inputs, values, strict=False)}
        if self._first is None or not all(map(_plain, feeds.values())):
            return None
        made = self._made(feeds, self._fitting(feeds))
        return made and [a.astype(d, copy=False) for a, d in zip(made, self._dtypes, strict=True)]

    def _fitting(self, feeds: Mapping[str, Any]) -> _Requests | None:
        """Return requests of the program for the sizes of `feeds`; None where OpenVINO does not compile it."""
        if not self._sizes or all(feeds[n].shape == s for n, s in self._sizes.items()):
            return self._first
        with self._lock:
            if self._any is None and self._text:
                self._any = self._for_any()
                self._text = b""
        return self._any

    def _for_any(self) -> _Requests | None:
        try:
            return _Requests(_compiled(self._text, self._model.weights, self._options, {}))
        except Exception:  # OpenVINO's exceptions share no base of their own
            import logging  # here, like what else few need

            log = logging.getLogger("coldframe.engines")
            log.warning("OpenVINO takes no other sizes than %s", self._sizes, exc_info=True)
            return None

    def _made(self, feeds: dict[str, Any], requests: _Requests | None) -> list[Any] | None:
        """Return the results; None where OpenVINO fails or was given what it does not check."""
        if requests is None:
            return None
        request = requests.take()
        try:
            request.infer({n: self._tensor(_writable(a), shared_memory=True) for n, a in feeds.items()})
            count = len(self._dtypes)
            if self._model.promised and not request.get_output_tensor(count).data:
                return None
            first = count + self._model.promised
            bounds = [int(request.get_output_tensor(first + i).data) for i in range(2 * len(self._lookups))]
            # (A bound is taken in float32, and what is too large for an integer then becomes a negative one.)
            ends = zip(bounds[::2], bounds[1::2], self._lookups, strict=True)
            if not all(least >= 0 and 0 <= most < k.size for least, most, k in ends):
                return None
            made = [np.array(request.get_output_tensor(i).data) for i in range(count)]
            return made if all(a.size for a in made) else None
        except RuntimeError:  # of which ONNX Runtime, or else numpy, says why
            return None
        finally:
            requests.give(request)

    @functools.cached_property
    def _spare(self) -> OnnxProgram:
        program = OnnxProgram(self._model, self._options)
        program.start()
        return program


class _Requests:
    """The requests of a compiled model that no run uses at the moment."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._idle: list[Any] = []

    def take(self) -> Any:
        """Return a request that is this thread's own until it gives it back."""
        try:
            return self._idle.pop()  # in one go: threads take turns
        except IndexError:
            return self._compiled.create_infer_request()

    def give(self, request: Any) -> None:
        """Take a request back."""
        self._idle.append(request)


def _sizes(model: OnnxModel) -> dict[str, tuple[int, ...]]:
    """Return the sizes of the inputs with which a model is compiled; empty where they are not all known, or none."""
    found = {}
    for name in model.inputs:
        dims = model.facts[name][1]
        if dims and dims[0] is None:
            dims = (model.rows.get(name), *dims[1:])
        if not all(dims):
            return {}
        found[name] = tuple(d or 0 for d in dims)
    return found


def _plain(a: Any) -> bool:
    """Whether OpenVINO computes with an array as others do."""
    if not a.size:
        return False
    if a.dtype.kind == "f":
        return bool(np.isfinite(np.add.reduce(a, axis=None)))
    if a.dtype == np.int64:
        return bool(a.min() >= _LEAST and a.max() <= _MOST)
    return True


def _text(parsed: Any, weights: Mapping[str, Any], lookups: tuple[Lookup, ...]) -> bytes:
    """Return a model whose weights are inputs, and which returns the bounds of each index besides."""
    onnx = messages.onnx
    made = onnx.ModelProto.FromString(parsed.SerializeToString())
    g = made.graph
    kept = [t for t in g.initializer if t.name not in weights]
    forms = {t.name: t for t in g.initializer if t.name in weights}
    del g.initializer[:]
    g.initializer.extend(kept)
    for name, t in forms.items():
        info = g.input.add(name=name)
        info.type.tensor_type.elem_type = t.data_type
        info.type.tensor_type.shape.SetInParent()
        for d in t.dims:
            info.type.tensor_type.shape.dim.add(dim_value=d)
    for i, lookup in enumerate(lookups):
        for op, name in (("ReduceMin", f"least_{i}"), ("ReduceMax", f"most_{i}")):
            node = g.node.add(op_type=op, input=[lookup.index], output=[name])
            node.attribute.add(name="keepdims", type=2, i=0)
            g.output.add(name=name).type.tensor_type.SetInParent()
    return bytes(made.SerializeToString())


def _compiled(
    model: bytes, weights: Mapping[str, Weight], options: EngineOptions, sizes: Mapping[str, tuple[int, ...]]
) -> Any:
    """Return what OpenVINO makes of a model, for inputs of `sizes`."""
    layout = Layout(weights, options.threads)
    ov = _library()
    core = _core()
    read = core.read_model(model)
    arrays = layout.arrays()
    for parameter in list(read.get_parameters()):
        array = arrays.get(parameter.output(0).get_any_name())
        if array is None:
            continue
        constant = ov.op.Constant(_writable(array), shared_memory=True)
        for reader in parameter.output(0).get_target_inputs():
            reader.replace_source_output(constant.output(0))
        read.remove_parameter(parameter)
    if sizes:
        read.reshape({name: list(dims) for name, dims in sizes.items()})
    # Left to itself it computes in bfloat16 where the processor can.
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if options.threads:
        config["INFERENCE_NUM_THREADS"] = str(options.threads)
    if not options.spin:  # other models run beside
        config["ENABLE_CPU_PINNING"] = "NO"
    return core.compile_model(read, "CPU", config)


def _writable(array: Any) -> Any:
    """Return an array in the same memory that may be written: OpenVINO asks for that, and only reads."""
    return array if array.flags.writeable else np.asarray(_Memory(array))


class _Memory:
    """The memory of an array. numpy keeps it, and so the array, for as long as the array that it makes of it."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


@functools.cache
def _core() -> Any:
    return _library().Core()


def _library() -> Any:
    """Import OpenVINO, without its converter where nobody has imported that.

    The converter takes most of the time of the import, and reports each one to OpenVINO's makers, from a forked
    process. It is loaded when somebody asks for it.
    """
    with _LOCK:
        first = "openvino" not in sys.modules
        if first:
            sys.modules[_CONVERTER] = None  # type: ignore[assignment]
        try:
            import openvino  # here, so that only those who ask for it load it
        finally:
            if first:
                del sys.modules[_CONVERTER]
        if first:
            openvino.__getattr__ = _converter
        return openvino


def _converter(name: str) -> Any:
    """Return what the module `openvino` lacks without its converter."""
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute '{name}'")
    return importlib.import_module(_CONVERTER).convert_model


def _first(e: Exception) -> str:
    """Return what is worth showing of an exception: its last line that says something."""
    lines = [s.strip() for s in str(e).splitlines() if s.strip()]
    return (lines[-1] if lines else type(e).__name__)[:_SHOWN]
