"""XLA, by way of JAX: whole training steps and loops, compiled for the very shapes that flow.

Nodes are traced by the JAX interpreter of their bodies (or their ``jax`` rules) into one program per island, loops and
branches with their functions included. Compiling takes seconds where ONNX Runtime takes milliseconds; what comes out
fuses what lies between products of matrices, and keeps loops out of Python.

64-bit numbers: JAX cuts them to 32 bits unless it is told otherwise. It is told so for the thread and the time of
tracing and running only (``jax.enable_x64``), since other JAX code of the process may count on the default.

Weights are handed over once and stay on the device. So do results: when an array that a program returned comes back as
an input, as variables do in training, the device's own copy is used (`coldframe.engines.xla_device`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from coldframe.engines.base import (
    BoundNode,
    Compiled,
    Draw,
    EngineFailure,
    EngineOptions,
    FunctionBody,
    Guard,
    Held,
    Island,
)
from coldframe.engines.functions import body_of, handed_on, refuse_effects
from coldframe.engines.reference import REFUSALS, execute, read_only, sample
from coldframe.engines.xla_device import SMALL, Device, DeviceArray, LargeArray, is_large
from coldframe.errors import ColdframeError, MisuseError
from coldframe.graph.names import TensorRef
from coldframe.primitives.base import Unlowerable

_MOST_OUTPUTS: Final = 1000  # of one node; beyond it compiling takes longer than running
_MOST_TRIPS: Final = 10_000  # of a loop that is counted before it is compiled
_SHOWN: Final = 300  # characters of a reason
# XLA's newer kernels of convolutions use one processor; what they replace uses all. Newer kernels of sums stay.
_SLIDING: Final = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
FAILURES: Final = (*REFUSALS, NotImplementedError, AttributeError, AssertionError)


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """64-bit numbers stay 64 bits wide."""
    import jax

    with jax.enable_x64(True):
        yield


class XlaEngine:
    """Compiles islands with XLA, for JAX's default device."""

    name = "xla"
    exact_shapes = True

    def __init__(self, options: EngineOptions | None = None) -> None:
        try:
            import jax  # here, so that only those who ask for XLA load it
        except ImportError as e:
            raise MisuseError(
                "the engine `xla` needs jax, which is not installed", hint="pip install 'coldframe[xla]'"
            ) from e
        # A step waits for its program anyway: without a change of threads it gets its results sooner. The setting
        # holds where no other JAX code has run anything yet.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        self.options = options or EngineOptions()
        self._device = Device()

    def declines(self, bound: BoundNode) -> str:
        """Say what the op table says: ops with state or effects are compiled by a rule for it only."""
        op = bound.call.op
        if op.random:
            return "random"
        if any(d.name == "resource" for _, d in bound.call.inputs + bound.call.outputs):
            return "strings and resources are not compiled"
        if "jax" in op.rules:
            return ""
        if op.stateful or op.effect:
            return "it has state or effects"
        if any(d.kind in "so" for _, d in bound.call.inputs + bound.call.outputs) and op.host:
            return op.host
        if any(d.kind == "s" for _, d in bound.call.inputs + bound.call.outputs):
            return "strings and resources are not compiled"
        return f"it has more than {_MOST_OUTPUTS} outputs" if len(bound.call.outputs) > _MOST_OUTPUTS else ""

    def compile(self, island: Island) -> Compiled:
        """Trace what can be traced and compile it."""
        import jax

        with exact(), jax.numpy_dtype_promotion("strict"), jax.default_matmul_precision("highest"):
            known = _folded(island)
            trace = _Trace(island, known)
            traced = trace.trace()
            used = trace.used()
            if used != set(trace.fed) or trace.draws:  # again: without what only refused nodes read
                nodes = [b for b in island.nodes if b.name in {d.name for d in trace.done}]
                refused = trace.refused
                trace = _Trace(dataclasses.replace(island, nodes=nodes), known, used, trace.draws)
                traced = trace.trace()
                trace.refused = refused | trace.refused
            pinned = tuple(g for r, g in island.inputs.items() if g.pinned is not None and r in trace.touched)
            guards = (*(island.inputs[r] for r in trace.fed), *pinned)  # constants may be made of the sizes of inputs
            if not trace.outputs:
                return Compiled(trace.done, trace.refused, guards, (), trace.constants, lambda values: [])
            slides = jax.default_backend() == "cpu" and any(b.call.op.windows for b in trace.done)
            program = _compiled(trace.writing(traced).lower(), _SLIDING if slides else {})
            weights = [self._device.put(a) for a in trace.weights]
            draws = tuple(d for d, _ in trace.draws.values())
            run = _Program(program, weights, len(draws) + len(trace.fed), trace, self._device)
        return Compiled(trace.done, trace.refused, guards, trace.outputs, trace.constants, run, True, draws, run.held)


def _compiled(lowered: Any, options: dict[str, str]) -> Any:
    """Compile, with `options` where this version of XLA knows them."""
    if options:
        with contextlib.suppress(Exception):  # XLA's failures share no base of their own
            return lowered.compile(compiler_options=options)
    try:
        return lowered.compile()
    except Exception as e:
        raise EngineFailure(str(e)[:_SHOWN]) from e


def _folded(island: Island) -> dict[TensorRef, Any]:
    """Return what is known before tracing: constants, pinned inputs, and what pure nodes make of them."""
    known: dict[TensorRef, Any] = dict(island.constants)
    known.update((r, g.pinned) for r, g in island.inputs.items() if g.pinned is not None)
    for b in island.nodes:
        _fold(b, known)
    return known


def _fold(bound: BoundNode, known: dict[TensorRef, Any]) -> bool:
    if not bound.call.op.pure or not all(r in known for r in bound.node.inputs):
        return False
    if any(d.kind == "o" for _, d in bound.call.outputs):
        return False  # lists are traced
    try:
        made = execute(bound, [known[r] for r in bound.node.inputs], None)
    except ColdframeError:  # the op refuses its constants: that is for the run to report
        return False
    known.update(zip(bound.outputs(), made, strict=True))
    return True


class _Trace:
    """The tracing of one island.

    Attributes:
        fed: the tensors that are arguments of the program, in order.
        weights: large known tensors, which are arguments too.
        done, refused: what it runs, and why it does not run the others.
        touched: the tensors that what it runs reads.
        outputs, constants: what it returns, and what turned out known.
        forms: of each output that is a list, what is known of it; of others, whether it is an argument as it is,
            whose memory may be the caller's.
        made: the shapes and dtypes of the other outputs; None for lists and arguments.
        spares: those of large ones.
        draws: by node: the random numbers that it is to be given, and their form. What an earlier trace found are
            arguments; for the others something else stands.
    """

    def __init__(
        self,
        island: Island,
        known: Mapping[TensorRef, Any],
        only: set[TensorRef] | None = None,
        draws: Mapping[str, tuple[Draw, Any]] | None = None,
    ) -> None:
        self._island = island
        self.draws = dict(draws or {})
        self._known = dict(known)
        self.fed = [r for r, g in island.inputs.items() if g.pinned is None and (only is None or r in only)]
        large = {r for b in island.nodes for r in b.node.inputs if r in known and _is_large(known[r])}
        self._large = sorted(large, key=str)
        self.weights = [known[r] for r in self._large]
        self.done: list[BoundNode] = []
        self.refused: dict[str, str] = {}
        self.touched: set[TensorRef] = set()
        self.outputs: tuple[TensorRef, ...] = ()
        self.constants: dict[TensorRef, Any] = {}
        self.forms: list[Any] = []
        self.made: list[Any] = []
        self.spares: list[tuple[Any, Any]] = []

    def trace(self) -> Any:
        """Trace what can be compiled."""
        import jax

        fed = [form for _, form in self.draws.values()] + [self._form(self._island.inputs[r]) for r in self.fed]
        weights = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in self.weights]
        return jax.jit(self._program).trace(weights, fed)

    def writing(self, traced: Any) -> Any:
        """Return what was traced as a program that is given the memory of its large outputs, too."""
        import jax
        from jax.extend.core import jaxpr_as_fun

        program, tree = jaxpr_as_fun(traced.jaxpr), jax.tree.structure(traced.out_info)
        results = zip(traced.out_info[0], self.forms, strict=True)
        self.made = [(o.shape, o.dtype) if f is False else None for o, f in results]
        self.spares = [form for form in self.made if form is not None and is_large(form)]

        def run(weights: Any, fed: Any, spares: Any) -> Any:
            return jax.tree.unflatten(tree, program(*weights, *fed))

        given = [jax.ShapeDtypeStruct(*form) for form in self.spares]
        return jax.jit(run, donate_argnums=2, keep_unused=True).trace(*traced.args_info[0], given)

    def used(self) -> set[TensorRef]:
        """Return the arguments that something reads."""
        return {r for r in self.fed if r in self.touched}

    def _form(self, guard: Guard) -> Any:
        import jax

        if guard.dtype.kind in "so":
            return jax.ShapeDtypeStruct((), np.bool_)  # nothing reads it: see _value
        return jax.ShapeDtypeStruct(tuple(d or 0 for d in guard.dims), guard.dtype.numpy)

    def _program(self, weights: Sequence[Any], fed: Sequence[Any]) -> Any:
        from coldframe.primitives.jax_base import JaxList, traced
        from coldframe.primitives.jax_lists import whole
        from coldframe.primitives.jax_xp import JaxPrimitives

        xp = JaxPrimitives(_Functions())
        scope = _Scope(xp, dict(self._known), dict(zip(self._large, weights, strict=True)))
        assert isinstance(xp.functions, _Functions)
        xp.functions.xp = xp
        drawn = dict(zip(self.draws, fed, strict=False))
        scope.draw = lambda bound, inputs: self._drawn(xp, bound, inputs, drawn)
        values = dict(zip(self.fed, fed[len(drawn) :], strict=True))
        scope.values.update((r, v) for r, v in values.items() if self._island.inputs[r].dtype.kind not in "so")
        waiting: set[str] = set()
        for bound in self._island.nodes:
            sources = {r.node for r in bound.node.inputs} | set(bound.node.controls)
            if sources & (waiting | self.refused.keys()):
                waiting.add(bound.name)
            elif reason := self._refusal(scope, bound):
                self.refused[bound.name] = reason
            else:
                self.done.append(bound)
                self.touched.update(bound.node.inputs)
        names = {b.name for b in self.done}
        wanted = [r for b in self.done for r in b.outputs() if self._island.needed(r, names)]
        self.constants = {r: read_only(np.asarray(v)) for r in wanted if not traced(v := scope.values[r])}
        self.outputs = tuple(r for r in wanted if r not in self.constants)
        results = [whole(v) if isinstance(v, JaxList) else v for v in (scope.values[r] for r in self.outputs)]
        given = {id(v) for v in fed}
        self.forms = [dataclasses.replace(r, buffer=None, length=0) if isinstance(r, JaxList)
                      else id(r) in given for r in results]  # fmt: skip
        ok = None
        for p in xp.promises:
            ok = p if ok is None else ok & p
        return [(r.buffer, r.length) if isinstance(r, JaxList) else r for r in results], ok

    def _drawn(self, xp: Any, bound: BoundNode, inputs: Sequence[Any], given: Mapping[str, Any]) -> list[Any]:
        """Return the random numbers of a node: computed from their place where there is a rule for it, else given."""
        import jax

        from coldframe.primitives.jax_base import traced

        if traced(inputs):
            raise Unlowerable("how many random numbers are drawn is not known when compiling")
        if bound.name not in self.draws:
            numbers = sample(bound, inputs)
            own = "drawn" in bound.call.op.rules and numbers.size > 0
            form = jax.ShapeDtypeStruct((3,), np.uint64) if own else jax.ShapeDtypeStruct(numbers.shape, numbers.dtype)
            self.draws[bound.name] = Draw(bound, tuple(inputs), numbers.size if own else 0), form
        draw, form = self.draws[bound.name]
        found = given[bound.name] if bound.name in given else jax.numpy.zeros(form.shape, form.dtype)
        return bound.call.run(xp, inputs, aspect="drawn", state=found) if draw.count else [found]

    def _refusal(self, scope: _Scope, bound: BoundNode) -> str:
        promises = len(scope.xp.promises)
        try:
            scope.add(bound)
        except Unlowerable as e:
            reason = str(e)
        except ColdframeError as e:  # an op that refuses its shapes reports that when it is run
            reason = str(e)
        except FAILURES as e:  # so does one given what no body expects
            reason = f"lowering failed: {type(e).__name__}: {e}"
        else:
            return ""
        del scope.xp.promises[promises:]
        return reason[:_SHOWN] or "it cannot be compiled"


def _is_large(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.size > SMALL and a.dtype.kind != "O"


class _Scope:
    """Values of the tensors of a graph or of a function while it is being traced.

    `given` are known tensors that are arguments of the program, too: ops get these, unless they need to know them.

    Attributes:
        draw: returns the random numbers of a node; None where there are none.
    """

    def __init__(self, xp: Any, values: dict[TensorRef, Any], given: Mapping[TensorRef, Any] | None = None) -> None:
        self.xp, self.values, self._given = xp, values, given or {}
        self.draw: Callable[[BoundNode, Sequence[Any]], list[Any]] | None = None

    def add(self, bound: BoundNode) -> None:
        """Trace one node."""
        from coldframe.primitives.jax_base import large, traced

        inputs = []
        for r in bound.node.inputs:
            if r not in self.values:
                raise Unlowerable(f"`{r}` is not compiled")
            inputs.append(self.values[r])
        call = bound.call
        rule = "jax" in call.op.rules
        if not traced(inputs) and call.op.pure and all(d.kind != "o" for _, d in call.outputs):
            try:
                outs = execute(bound, inputs, None)
            except ColdframeError as e:
                raise Unlowerable(e.what) from e
        elif call.op.random and self.draw is not None:
            outs = self.draw(bound, inputs)
        else:
            if call.op.host and not rule:
                raise Unlowerable(call.op.host)
            static = set(call.static_inputs())
            for i, (r, (arg, _)) in enumerate(zip(bound.node.inputs, call.inputs, strict=True)):
                if i in static:
                    inputs[i] = self.xp.static(inputs[i], f"input `{arg.name}`")
                else:
                    inputs[i] = self._given.get(r, large(inputs[i]))
            outs = call.run(self.xp, inputs, aspect="jax")
        self.values.update(zip(bound.outputs(), _checked(call, outs), strict=True))


def _checked(call: Any, outs: Sequence[Any]) -> list[Any]:
    from coldframe.primitives.jax_base import JaxList, traced

    checked = []
    for value, (arg, dtype) in zip(outs, call.outputs, strict=True):
        v = value if traced(value) else np.asarray(value)
        if (dtype.name == "variant") != isinstance(v, JaxList):
            raise Unlowerable(f"output `{arg.name}` is no tensor list")
        if not isinstance(v, JaxList) and v.dtype != dtype.numpy:
            raise Unlowerable(f"output `{arg.name}` lowered to {v.dtype}, not {dtype}")
        checked.append(v)
    return checked


class _Functions:
    """Functions of the graph, traced where they are called."""

    def __init__(self) -> None:
        self.xp: Any = None

    def call(self, function: Any, args: Sequence[Any]) -> list[Any]:
        body = body_of(function)
        if len(args) != len(body.inputs):
            raise Unlowerable("a function is called with the wrong number of arguments")
        scope = _Scope(self.xp, {**body.constants, **dict(zip(body.inputs, args, strict=True))})
        for bound in body.nodes:
            refuse_effects(bound, "jax")
            try:
                scope.add(bound)
            except Unlowerable as e:
                raise Unlowerable(f"{e} (`{bound.name}`)") from e
        return [scope.values[r] for r in body.outputs]

    def invariant(self, body: Any) -> list[bool]:
        return handed_on(body_of(body))

    def trips(self, condition: Any, body: Any, values: Sequence[Any]) -> int | None:
        stays = self.invariant(body)
        test, step = (self._always(f, values, stays) for f in (condition, body))
        state: list[Any] = [v if isinstance(v, (np.ndarray, np.generic)) else None for v in values]
        for n in range(_MOST_TRIPS):
            go = _partly(test, state)[0]
            if go is not None and not self.xp.holds(go):
                return n
            before, state = state, _partly(step, state)
            if all(a is None or np.array_equal(a, b) for a, b in zip(state, before, strict=True)):
                return None  # nothing known changes any more
        return None

    def _always(self, function: Any, values: Sequence[Any], stays: Sequence[bool]) -> FunctionBody:
        """Return a function's body with all that is the same in each round, shapes above all, among its constants."""
        import jax

        from coldframe.primitives.jax_base import traced

        body, found = body_of(function), {}
        moving = [r for r, s in zip(body.inputs, stays, strict=True) if not s]

        def look(args: Sequence[Any]) -> int:
            known = {r: v for r, v, s in zip(body.inputs, values, stays, strict=True) if s}
            scope = _Scope(self.xp, {**body.constants, **known, **dict(zip(moving, args, strict=True))})
            for bound in body.nodes:
                with contextlib.suppress(Unlowerable, ColdframeError, *FAILURES):  # what cannot be told stays unknown
                    if not (bound.call.op.random or bound.call.op.stateful or bound.call.op.effect):
                        scope.add(bound)
            found.update({r: v for r, v in scope.values.items() if not traced(v)})
            return 0

        promises, self.xp.promises = self.xp.promises, []
        jax.eval_shape(look, [v for v, s in zip(values, stays, strict=True) if not s])
        self.xp.promises = promises
        return dataclasses.replace(body, constants=found)


def _partly(body: FunctionBody, args: Sequence[Any]) -> list[Any]:
    """Run a function as far as its arguments are known; None stands for what is not."""
    known = dict(body.constants)
    known.update((r, a) for r, a in zip(body.inputs, args, strict=True) if a is not None)
    for b in body.nodes:
        if any(r not in known for r in b.outputs()) and not _fold(b, known):
            _fold_either(b, known)
    return [known.get(r) for r in body.outputs]


def _fold_either(bound: BoundNode, known: dict[TensorRef, Any]) -> None:
    """Fold a node that gives the same whether its one unknown input, a truth value, is true or false."""
    unknown = [(r, d) for r, (_, d) in zip(bound.node.inputs, bound.call.inputs, strict=True) if r not in known]
    if len(unknown) != 1 or len(bound.node.inputs) < 2 or unknown[0][1].name != "bool":
        return
    found: list[Any] = []
    for guess in (False, True):
        attempt = {**known, unknown[0][0]: np.bool_(guess)}
        if not _fold(bound, attempt):
            return
        found.append([attempt[r] for r in bound.outputs()])
    if all(np.array_equal(a, b) for a, b in zip(*found, strict=True)):
        known.update(zip(bound.outputs(), found[0], strict=True))


class _Program:
    """A compiled program on its device.

    Attributes:
        forms, made: see `_Trace`.
        spares: shape and dtype of each large output, into which the program writes instead of new memory.
    """

    def __init__(self, program: Any, weights: list[Any], count: int, trace: _Trace, device: Device) -> None:
        self._program, self._weights, self._device = program, weights, device
        self._forms, self._spares = trace.forms, trace.spares
        self._made = [(form, LargeArray if form in self._spares else DeviceArray) for form in trace.made]
        self._count = count
        device.expect(self._spares)

    def __call__(self, values: list[Any]) -> list[Any]:
        return [v.array() if isinstance(v, Held) else v for v in self.held(values)]

    def held(self, values: list[Any]) -> list[Any]:
        """Run, and leave the results on the device."""
        import jax

        with jax.enable_x64(True), self._device.fed(values[: self._count]) as given:  # pinned guards follow unfed
            try:
                made, ok = self._program(self._weights, given, self._device.spares(self._spares))
                kept = ok is None or bool(np.asarray(ok))  # five times as fast as XLA's own bool
            except Exception as e:  # XLA's failures share no base of their own
                raise EngineFailure(str(e)[:_SHOWN]) from e
            if not kept:
                raise EngineFailure("an op refuses its inputs")
            results = zip(made, self._forms, self._made, strict=True)
            return [kind(m, form, self._device) if f is False else _out(m, f) for m, f, (form, kind) in results]


def _out(made: Any, form: Any) -> Any:
    return np.array(made) if form is True else _host_list(form, made)


def _host_list(form: Any, made: Any) -> Any:
    """Return a list as ops on numpy know it."""
    from coldframe.ops.tensor_list import TensorList

    buffer, length = made[0], int(made[1])
    if buffer is None:
        rows = [None if form.every is None else form.every.array()] * length
    else:
        rows = list(np.asarray(buffer)[:length])
    out = np.empty((), object)
    declared = form.shape if form.declared is None else form.declared
    out[()] = TensorList(form.dtype, declared, tuple(rows), form.most)
    return out
