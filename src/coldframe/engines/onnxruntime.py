"""ONNX Runtime: the default engine. Nodes are traced into one ONNX model per island.

Weights are handed over as arrays beside the model, never inside a serialized protobuf. An op whose body or rule raises
`Unlowerable` is refused with that reason. Nodes over constants are folded on numpy while tracing.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from coldframe import dtypes
from coldframe.collecting import RESTING
from coldframe.dtypes import DType, from_numpy
from coldframe.engines import onnx_short
from coldframe.engines.base import (
    NOT_COMPILED,
    BoundNode,
    Compiled,
    Dims,
    Draw,
    EngineFailure,
    EngineOptions,
    Guard,
    Island,
    Runner,
    Short,
)
from coldframe.engines.functions import TracedFunctions
from coldframe.engines.reference import REFUSALS, execute, read_only, sample
from coldframe.errors import ColdframeError
from coldframe.graph.names import TensorRef
from coldframe.ops.fusions import fused, fusions
from coldframe.primitives import onnx_external
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.onnx_builder import WIRED, OnnxValue, from_wire, to_wire
from coldframe.primitives.onnx_lists import OnnxList
from coldframe.primitives.onnx_origins import Conditions
from coldframe.primitives.onnx_weights import Layout, Weight
from coldframe.primitives.onnx_xp import OnnxPrimitives
from coldframe.records import dataclass

_DTYPE = operator.attrgetter("dtype")
_MODEL, _WEIGHTS = "model.onnx", "weights"  # files of a program that processes share
_LARGE: Final = 1 << 20  # bytes of weights, from which on it matters how many copies there are
_MOST_OUTPUTS = 1000  # of one node; beyond it compiling takes longer than running
_BRIEFLY: Final = (1, 27)  # from this version on, threads can be told how long to spin
_MOMENT: Final = "20"  # microseconds; as long as threads wait for each other from node to node, and no longer


@dataclass(slots=True)
class OnnxRuntimeEngine:
    """Compiles islands with ONNX Runtime's CPU provider."""

    options: EngineOptions = dataclasses.field(default_factory=EngineOptions)
    name: str = "onnxruntime"
    exact_shapes: bool = False

    def declines(self, bound: BoundNode) -> str:
        """Say what the op table says: host-only, stateful and effectful ops are not compiled."""
        op = bound.call.op
        if op.role == "assert":  # what it would say is for numpy
            return ""
        kinds = {d.kind for _, d in bound.call.inputs + bound.call.outputs}
        flows = "onnx" in op.rules and (op.stateful or "o" in kinds or op.host)  # loops, branches and lists
        if op.host and not flows:
            return op.host
        if (op.stateful or op.effect) and not flows:
            return "it has state or effects"
        if "s" in kinds or ("o" in kinds and not _on_lists(bound)):
            return NOT_COMPILED
        if len(bound.call.outputs) > _MOST_OUTPUTS:
            return f"it has more than {_MOST_OUTPUTS} outputs"
        return "random" if op.random else ""

    def compile(self, island: Island) -> Compiled:
        """Trace what can be traced; `Compiled.start` makes a session of it, which takes the most time."""
        return compiled(island, lambda model: OnnxProgram(model, self.options))


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """An island as an ONNX model.

    Attributes:
        serialized: the model, without its large weights.
        weights: these, by name.
        inputs: the names of its inputs, in the order in which their values come.
        results: what it returns: of each the value, or the form of the list.
        facts: dtype and dims of its tensors, see `Builder.facts`.
        conditions: what must be true of them.
        promised: whether one more output tells if what must be true was true.
        trains: whether it computes new values of variables.
        alone: whether it is all that a run needs: then threads may wait busily for the next run, too. Else they would
            keep the processors from what comes next, which other sessions' threads do.
        rows: the first sizes of the inputs with which the island is compiled, by name.
    """

    serialized: bytes
    weights: Mapping[str, Weight]
    inputs: Sequence[str]
    results: Sequence[Any]
    facts: Mapping[str, tuple[DType, Dims]]
    conditions: Conditions = dataclasses.field(default_factory=Conditions)
    promised: bool = False
    trains: bool = False
    alone: bool = True
    rows: Mapping[str, int] = dataclasses.field(default_factory=dict)


class Program(Runner, Protocol):
    """What runs an ONNX model."""

    def start(self) -> None:
        """Make it ready; see `Compiled.start`."""

    def __call__(self, values: list[Any]) -> list[Any]:
        """Return the results, from the values of the inputs and others that are only guarded."""


def compiled(island: Island, make: Callable[[OnnxModel], Program]) -> Compiled:
    """Trace what can be traced of `island`, and have `make` make a program of it."""
    with RESTING:
        return _compiled(island, make)


def _compiled(island: Island, make: Callable[[OnnxModel], Program]) -> Compiled:
    trace = _Trace(island)
    for bound in island.nodes:
        trace.add(bound)
    names = {b.name for b in trace.done}
    outputs = [r for b in trace.done for r in b.outputs() if island.needed(r, names)]
    constants = {r: read_only(c) for r in outputs if (c := trace.values[r].const) is not None}
    computed = tuple(r for r in outputs if r not in constants)
    # Not fed, but still guarded: what constants were made of, and inputs of which the sizes alone are used.
    if not computed and not trace.xp.promises:
        return Compiled(trace.done, trace.refused, tuple(trace.guards()), (), constants, lambda values: [])
    results = [_stacked(trace.values[r]) for r in computed]
    if promised := bool(trace.xp.promises):
        results.append(trace.xp.held())
    serialized, weights = trace.xp.model([(f"out_{k}", v) for k, v in enumerate(results)])
    forms = [trace.values[r] for r in computed]
    names_in = sorted(trace.xp.given, key=lambda name: name not in trace.draws)
    xp, about = trace.xp, (promised, island.trains, island.whole and not trace.refused, trace.xp.rows)
    model = OnnxModel(serialized, weights, names_in, forms, xp.facts, xp.conditions, *about)
    run = make(model)
    draws = tuple(trace.draws[name] for name in names_in if name in trace.draws)
    fed = [trace.inputs[name] for name in names_in[len(draws) :]]
    others = [g for g in trace.guards() if g.ref not in {f.ref for f in fed}]
    return Compiled(
        trace.done, trace.refused, (*fed, *others), computed, constants, run,
        fresh=True, draws=draws, start=run.start, runner=run,
    )  # fmt: skip


def _on_lists(bound: BoundNode) -> bool:
    """Whether tensor lists, and no other objects, may flow through a node."""
    dtypes = {d.name for _, d in bound.call.inputs + bound.call.outputs if d.kind == "o"}
    return dtypes == {"variant"} and ("onnx" in bound.call.op.rules or bound.call.op.role in ("identity", "add_n"))


@dataclass(frozen=True, slots=True)
class _Unseen:
    """A tensor that nothing compiled computes with: a string, of which an Assert would tell."""

    dtype: DType
    const: None = None

    def __getattr__(self, name: str) -> Any:
        raise Unlowerable("a string or a list is no tensor of ONNX")


class _Trace:
    """The tracing of one island."""

    def __init__(self, island: Island) -> None:
        self.island = island
        self.xp = OnnxPrimitives()
        self.xp.functions = TracedFunctions(self)
        self.values: dict[TensorRef, Any] = {}
        self.inputs: dict[str, Guard] = {}
        self.draws: dict[str, Draw] = {}
        self.done: list[BoundNode] = []
        self.refused: dict[str, str] = {}
        self._waiting: set[str] = set()  # nodes that depend on a refused one
        self._nodes: dict[str, BoundNode] = {}  # those traced
        self._fusions = fusions({b.call.op.name for b in island.nodes})

    def add(self, bound: BoundNode) -> None:
        """Trace one node, or note why not."""
        if self.refused:
            sources = {r.node for r in bound.node.inputs} | set(bound.node.controls)
            if sources & (self._waiting | self.refused.keys()):
                self._waiting.add(bound.name)
                return
        mark = len(self.xp.nodes), len(self.xp.promises)
        try:
            outs = self.lower(bound, [self._value(r) for r in bound.node.inputs])
        except (Unlowerable, ColdframeError) as e:  # an op that refuses its shapes reports that when it is run
            self._refuse(bound, mark, str(e))
            return
        except REFUSALS as e:  # so does one given what no body expects
            self._refuse(bound, mark, f"lowering failed: {type(e).__name__}: {e}")
            return
        if any(p.const is not None for p in self.xp.promises[mark[1] :]):
            self._refuse(bound, mark, "it refuses the run")
            return
        self.values.update(zip(bound.outputs(), outs, strict=True))
        self.done.append(bound)
        self._nodes[bound.name] = bound
        self._fuse(bound)

    def _fuse(self, bound: BoundNode) -> None:
        """Compute the result of a node better where it ends a pattern. What that leaves unread is not emitted."""
        ref = bound.node.out()
        if len(bound.call.outputs) != 1 or self.values[ref].const is not None:
            return
        out = fused(self.xp, self._fusions, bound.call.op.name, ref, self, self.values.__getitem__)
        if out is not None:
            self.values[ref] = out

    # --- what patterns see ------------------------------------------------------------------------------------------
    def made_by(self, ref: TensorRef) -> tuple[str, tuple[TensorRef, ...], Mapping[str, Any]] | None:
        """See `coldframe.ops.patterns.View`."""
        made = self._nodes.get(ref.node)
        if made is None or len(made.call.outputs) != 1 or ref in self.island.inputs:
            return None
        return made.call.op.name, tuple(made.node.inputs), made.call.attrs

    def value(self, ref: TensorRef) -> Any:
        """See `coldframe.ops.patterns.View`."""
        known = self.values.get(ref)
        return self.island.constants.get(ref) if known is None else known.const

    def origin(self, ref: TensorRef) -> TensorRef:
        """See `coldframe.ops.patterns.View`."""
        while (made := self._nodes.get(ref.node)) is not None and made.call.op.role == "identity":
            if ref in self.island.inputs or len(made.node.inputs) != 1:
                break
            ref = made.node.inputs[0]
        return ref

    def guards(self) -> list[Guard]:
        """Return the guards of the inputs that the traced nodes read."""
        read = {r: None for b in self.done for r in b.node.inputs if r in self.values and r in self.island.inputs}
        return [self.island.inputs[r] for r in read]

    def _refuse(self, bound: BoundNode, mark: tuple[int, int], reason: str) -> None:
        nodes, promises = mark
        gone = {o for n in self.xp.nodes[nodes:] for o in n.output}
        del self.xp.nodes[nodes:], self.xp.promises[promises:]
        self.xp.forget(gone)
        self.refused[bound.name] = reason

    def _value(self, ref: TensorRef) -> Any:
        if ref in self.values:
            return self.values[ref]
        if ref in self.island.constants:
            value = self.xp.constant(self.island.constants[ref])
        else:
            guard = self.island.inputs[ref]
            if guard.dtype is dtypes.string:
                return _Unseen(guard.dtype)
            if guard.pinned is not None:
                value = self.xp.constant(guard.pinned)
            else:
                name = f"in_{len(self.inputs)}"
                value = self.xp.input(name, guard.dtype, guard.dims)
                self.inputs[name] = guard
                if guard.rows is not None:
                    self.xp.rows[name] = guard.rows
        self.values[ref] = value
        return value

    def lower(self, bound: BoundNode, inputs: Sequence[Any]) -> list[Any]:
        """Return what a node makes of `inputs`."""
        call = bound.call
        lists = any(d.kind == "o" for _, d in call.outputs)
        if call.op.pure and not lists and all(i.const is not None for i in inputs):
            try:
                folded = execute(bound, [i.const for i in inputs], None)
            except ColdframeError as e:  # the op refuses its constants: that is for the run to report
                raise Unlowerable(e.what) from e
            return [self.xp.constant(a, d) for a, (_, d) in zip(folded, call.outputs, strict=True)]
        if call.op.random and all(i.const is not None for i in inputs):
            return [self._drawn(bound, [i.const for i in inputs])]
        if call.op.host and "onnx" not in call.op.rules:
            raise Unlowerable(call.op.host)
        args: list[Any] = list(inputs)
        for i in call.static_inputs():
            args[i] = self.xp.static(inputs[i], f"input `{call.inputs[i][0].name}`")
        outs = [self.xp.lift(o) for o in call.run(self.xp, args, aspect="onnx")]
        for o, (arg, dtype) in zip(outs, call.outputs, strict=True):
            if o.dtype.numpy != dtype.numpy or (dtype.kind == "o") != isinstance(o, OnnxList):
                raise Unlowerable(f"output `{arg.name}` lowered to {o.dtype}, not {dtype}")
        return outs

    def _drawn(self, bound: BoundNode, inputs: Sequence[Any]) -> OnnxValue:
        """Return random numbers as an input: numpy draws them before each run."""
        numbers = sample(bound, inputs)
        name = f"drawn_{len(self.draws)}"
        self.draws[name] = Draw(bound, tuple(inputs))
        return self.xp.input(name, bound.call.outputs[0][1], numbers.shape)


class OnnxProgram:
    """A session of ONNX Runtime; see `Program`."""

    engine = "onnxruntime"

    def __init__(self, model: OnnxModel, options: EngineOptions, reason: str = "") -> None:
        self._model: bytes = model.serialized
        self._weights: Mapping[str, Weight] = model.weights
        self._arrays: dict[str, Any] = {}
        self._input_names, self._promised = model.inputs, model.promised
        self._conditions = model.conditions
        self._outputs: list[Any] = [o if isinstance(o, OnnxList) else o.dtype.numpy for o in model.results]
        self._scalars = {i for i, o in enumerate(model.results) if not isinstance(o, OnnxList) and not o.dims}
        self._threads, self._alone = options.threads, model.alone
        self._spin = options.spin and not model.trains  # between steps, the next batch is prepared
        self._shared, self._tables = options.shared, frozenset[str]()
        self.reason = reason

    def start(self) -> None:
        """Make the session."""
        layout = Layout(self._weights, self._threads)
        try:
            import onnxruntime  # noqa: F401 - meanwhile; here, so that inspecting and host-only runs never load it

            # Arrays must outlive the session: it reads them in place.
            self._arrays = layout.arrays()
            large = [k for k, a in self._arrays.items() if a.nbytes >= _LARGE]
            self._tables = onnx_external.tables(self._model, large) if large else frozenset()
            if self._shared and not self._tables.issuperset(large):
                self._session = self._from_files()
            else:
                self._session = self._first_made()
        except Exception as e:  # ONNX Runtime's exceptions share no base of their own
            raise EngineFailure(str(e)) from e
        self._names = [o.name for o in self._session.get_outputs()]
        self._model, self._weights = b"", {}

    def _first_made(self) -> Any:
        """Return a session; of the model as it is, where ONNX Runtime's own passes make of it what it cannot load."""
        try:
            return self._made(self._model, self._arrays)
        except Exception as first:
            import onnxruntime as ort

            plain = self._options()
            plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            try:
                return self._made(self._model, self._arrays, plain)
            except Exception:  # it is the model's fault, and the first message tells of it
                raise first from None

    def _made(self, model: bytes | str, arrays: Mapping[str, Any], options: Any = None) -> Any:
        """Return a session of a model with `arrays` as weights."""
        import onnxruntime as ort

        so = options or self._options()
        values = {k: ort.OrtValue.ortvalue_from_numpy_with_onnx_type(*_bits(a)) for k, a in arrays.items()}
        if values:
            so.add_external_initializers(list(values), list(values.values()))
        for name in self._tables & values.keys():  # of others it makes a copy, which kernels then lay out anew
            so.add_initializer(name, values[name])
        session = ort.InferenceSession(model, so, providers=["CPUExecutionProvider"])
        self._values = list(values.values())
        return session

    def _options(self) -> Any:
        import onnxruntime as ort

        so = ort.SessionOptions()
        so.log_severity_level = 4
        so.intra_op_num_threads = self._threads
        _share_memory()
        so.add_session_config_entry("session.use_env_allocators", "1")
        if not self._spin and tuple(map(int, ort.__version__.split(".")[:2])) < _BRIEFLY:
            so.add_session_config_entry("session.intra_op.allow_spinning", "0")
        elif not self._spin:
            so.add_session_config_entry("session.intra_op.spin_duration_us", _MOMENT)
        if not self._spin or not self._alone:
            so.add_session_config_entry("session.force_spinning_stop", "1")
        return so

    def _from_files(self) -> Any:
        """Return a session that maps its weights from a file, which other processes map as well."""
        import logging  # here, like what else is for workers alone

        import onnxruntime as ort

        from coldframe.engines import shared_files

        tables = {k: self._arrays[k] for k in sorted(self._tables)}
        stored = {k: a for k, a in self._arrays.items() if k not in tables}

        # Of the arrays, the model has names, dtypes and shapes.
        key = shared_files.named(
            [ort.__version__, self._model, *(a.reshape(-1).view(np.uint8) for a in stored.values())]
        )

        def make(folder: Path) -> None:
            """Save the model that ONNX Runtime makes of this one, with weights as its kernels lay them out."""
            so = ort.SessionOptions()
            so.log_severity_level = 4
            so.enable_cpu_mem_arena = False  # what it takes is to go with it
            so.optimized_model_filepath = str(folder / _MODEL)
            so.add_session_config_entry("session.optimized_model_external_initializers_file_name", _WEIGHTS)
            so.add_session_config_entry("session.save_external_prepacked_constant_initializers", "1")
            self._made(onnx_external.with_inputs(self._model, tables), stored, so)
            saved = (folder / _MODEL).read_bytes()
            fault = onnx_external.fault(saved, (folder / _WEIGHTS).stat().st_size)
            if fault:
                raise OSError(f"weights cannot be shared: {fault}")
            (folder / _MODEL).write_bytes(onnx_external.with_weights(self._model, saved, tables))

        try:
            use = shared_files.use(Path(self._shared) / key, make)
            weakref.finalize(self, use.end)
            so = self._options()
            so.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # it has been optimized
            session = self._made(str(use.path / _MODEL), tables, so)
        except Exception as e:  # a full disk; or a kernel cannot store what it lays out
            log = logging.getLogger("coldframe.engines")
            log.warning("weights are not shared with other processes: %s", e)
            return self._made(self._model, self._arrays)
        self._arrays = tables
        return session

    def __call__(self, values: list[Any]) -> list[Any]:
        feeds = dict(zip(self._input_names, map(to_wire, values)))  # noqa: B905 - what is only guarded follows
        if broken := self._conditions.broken(feeds):
            raise EngineFailure(broken)
        try:
            got = self._session.run(self._names, feeds)
        except Exception as e:
            raise EngineFailure(str(e)) from e
        if self._promised and not got.pop():
            raise EngineFailure("the graph refuses the run")
        if all(map(operator.is_, map(_DTYPE, got), self._outputs)):
            return got  # type: ignore[no-any-return]
        return [
            _host_list(d, g) if isinstance(d, OnnxList) else from_wire(g, d)
            for g, d in zip(got, self._outputs, strict=True)
        ]

    def short(self, feeds: Mapping[str, np.dtype[Any]], fetches: Mapping[str, int]) -> Short | None:
        """See `Runner.short`. There is one where users see the very arrays that the session takes and gives."""
        wanted = tuple(fetches.values())
        results = [self._outputs[i] for i in wanted]
        plain = all(isinstance(d, np.dtype) and d.kind in WIRED for d in (*feeds.values(), *results))
        if self._promised or not plain or len(feeds) != len(self._input_names) or len({*wanted}) != len(wanted):
            return None
        inputs = [(fed, name, kind) for (fed, kind), name in zip(feeds.items(), self._input_names, strict=True)]
        outputs = {key: self._names[i] for key, i in fetches.items()}
        scalars = any(i in self._scalars for i in wanted)
        return onnx_short.short(self._session, inputs, self._conditions, outputs, scalars)


def _stacked(v: Any) -> Any:
    """Return what leaves the program of a value: of a list its elements, or how long it is where it has none."""
    if not isinstance(v, OnnxList):
        return v
    return v.length if v.buffer is None else v.buffer


def _host_list(form: OnnxList, made: Any) -> Any:
    """Return a list as ops on numpy know it."""
    from coldframe.ops.tensor_list import TensorList  # here, since few islands return lists

    rows = [None] * int(made) if form.buffer is None else list(from_wire(made, form.element.numpy))
    out = np.empty((), object)
    out[()] = TensorList(form.element, form.shape if form.declared is None else form.declared, tuple(rows))
    return out


@functools.cache
def _share_memory() -> None:
    """Let all sessions take what they compute in from one arena: each would keep its largest demand for itself.

    A graph that host steps cut into eight islands takes a third of the memory so.
    """
    import onnxruntime as ort

    kind = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(kind, None)  # where the process has one already, that stays


def _bits(a: Any) -> tuple[Any, int]:
    number = from_numpy(a.dtype).onnx or 0
    return (a.view(np.uint16) if a.dtype.name == "bfloat16" else a), number
