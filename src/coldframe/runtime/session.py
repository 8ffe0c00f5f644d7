"""Sessions: a graph, its variables, and ``run(fetches, feeds)``."""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.util
import os
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from coldframe.collecting import RESTING
from coldframe.engines.base import Engine, EngineOptions
from coldframe.engines.onnxruntime import OnnxRuntimeEngine
from coldframe.engines.openvino import OpenVinoEngine, installed
from coldframe.engines.reference import ReferenceEngine
from coldframe.errors import FeedError, MisuseError, NotFoundError
from coldframe.graph.ir import Graph
from coldframe.graph.names import TensorRef, find_node, is_tensor_name, parse_tensor, suggest
from coldframe.graph.signatures import known
from coldframe.graph.traverse import needed, reached
from coldframe.ops import table
from coldframe.ops.call import bind
from coldframe.runtime.direct import Direct
from coldframe.runtime.files import Files
from coldframe.runtime.program import Program, Settings
from coldframe.runtime.state import SessionState

ENGINES = ("auto", "onnxruntime", "openvino", "xla", "reference")
_REMEMBERED: Final = 1000  # structures of fetches, and names of feeds, that need not be looked up again


def as_feeds(feeds: Mapping[Any, Any] | None) -> Mapping[Any, Any]:
    """Return the feeds of a run, {} for None.

    Raises:
        MisuseError: they are no mapping, as where feeds and fetches have changed places.
    """
    if feeds is None:
        return {}
    if type(feeds) is not dict and not isinstance(feeds, Mapping):  # (to ask for the type is the quicker of the two)
        raise MisuseError(
            "feeds are a dict of values by name",
            found=type(feeds).__name__,
            hint="a session takes `run(fetches, feeds)`, as TensorFlow's does, a model `run(feeds, fetches)`",
        )
    return feeds


class _Forget(Exception):  # noqa: N818 - a signal, never seen by users
    """Ends a run whose writes are not to be kept."""


class Session:
    """Runs a graph by tensor name.

    Args:
        source: a path (``.pb``, ``.pbtxt``, ``.meta``, SavedModel folder), a `Graph`, or a GraphDef message.
        engine: ``auto`` compiles what is worth compiling: training steps and loops with XLA where jax is installed
            (`coldframe.runtime.choice`), the rest with ONNX Runtime, and runs what is not on numpy; ``onnxruntime``
            compiles whatever it can; ``xla`` does so for the very shapes that flow, training steps and loops too
            (needs the extra ``xla``); ``reference`` runs everything on numpy.
        threads: threads within an op; 0 lets the engine choose.
        spin: whether such threads keep processors busy while they wait for work: faster where nothing else wants
            them.
        constant_variables: compile the variables' values in. Faster where they seldom change.
        checkpoint: where variables' values are: a checkpoint's prefix, or its folder for the latest one. Training goes
            on from there.
        files: files that the graph may read, such as vocabularies of its tables; it can touch no others, unless this
            is `coldframe.runtime.files.AnyFile()`.

    Without a checkpoint variables start without values; run the graph's initializer, or give them with `set_variables`.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Graph | Any,
        engine: str = "auto",
        *,
        threads: int = 0,
        spin: bool = True,
        constant_variables: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        files: Iterable[str | os.PathLike[str]] | Files = (),
        shared: str | os.PathLike[str] = "",
    ) -> None:
        self.graph, stored = _opened(source, checkpoint)
        self.state = SessionState(stored, files)
        weakref.finalize(self, self.state.close).atexit = False  # ends the threads of its input pipelines
        self._fetched: dict[Any, _Fetches] = {}
        self._fed: dict[str, TensorRef] = {}
        chosen = settings(engine, threads=threads, spin=spin, pin=constant_variables, shared=os.fspath(shared))
        self._program = Program(self.graph, chosen)

    def run(self, fetches: Any, feeds: Mapping[Any, Any] | None = None) -> Any:
        """Run what `fetches` need and return their values in the same structure.

        Args:
            fetches: a tensor name (``x:0``), an op name (``x``: it runs, its value is None), or lists, tuples,
                dicts of them, nested.
            feeds: values by tensor name; any tensor can be fed, not only placeholders.

        Returns:
            Arrays (numpy scalars for rank 0, bytes for string scalars) in the structure of `fetches`.

        Raises:
            NotFoundError: a name does not exist; near names are suggested.
            FeedError: a value does not fit, or a placeholder is not fed.
            MisuseError: feeds and fetches have changed places, or are of other types.
            UnsupportedOpError: the fetches need ops that coldframe lacks; all are named.
            ExecutionError: an op refused its inputs. Variables keep the values they had.
        """
        wanted = self._wanted(fetches)
        return wanted.build(self.execute(wanted.tensors, wanted.targets, self._given(feeds)))

    def rehearse(self, fetches: Any, feeds: Mapping[Any, Any] | None = None) -> None:
        """Plan and compile what `run` would run, by running it and forgetting what it wrote to variables.

        Raises:
            NotFoundError, FeedError, UnsupportedOpError, ExecutionError: as `run`.
        """
        wanted = self._wanted(fetches)
        given = self._given(feeds)
        with contextlib.suppress(_Forget), self.state.begin() as run:
            self._program.run(wanted.tensors, wanted.targets, given, run)
            raise _Forget

    def _given(self, feeds: Mapping[Any, Any] | None) -> dict[TensorRef, Any]:
        given: dict[TensorRef, Any] = {}
        for name, value in as_feeds(feeds).items():
            ref = self._to_feed(name)
            if ref in given:
                raise FeedError(f"`{ref}` is fed twice")
            given[ref] = self._program.feed(ref, value)
        return given

    def writes(self, fetches: Any) -> bool:
        """Whether running `fetches` may write variables.

        Raises:
            NotFoundError: a name does not exist.
        """
        return self._wanted(fetches).writes

    def fed_as(self, name: str) -> Any:
        """Return the dtype that values fed to tensor `name` must have; None where it is not known.

        Raises:
            NotFoundError: it does not exist.
        """
        return self._program.fed_as(self.tensor(name))[0]

    def direct(self, fetches: Mapping[str, str], fed: Mapping[str, str], feeds: Mapping[str, Any]) -> Direct | None:
        """Return the short way of running tensors again, after a run; None where only `run` will do.

        Args:
            fetches: tensor names, by the names under which the short way returns the values.
            fed: tensor names, by those under which it gets them.
            feeds: the values by the latter, as they were run.
        """
        tensors = {key: find_tensor(self.graph, name) for key, name in fetches.items()}
        refs = {key: self._to_feed(name) for key, name in fed.items()}
        given = {r: self._program.feed(r, feeds[key]) for key, r in refs.items()}
        return self._program.direct(tensors, refs, given) if len(given) == len(refs) else None

    def execute(
        self, tensors: tuple[TensorRef, ...], targets: tuple[str, ...], feeds: Mapping[TensorRef, Any]
    ) -> list[Any]:
        """Run without names to look up: return the values of `tensors`, in order; see `run`.

        Args:
            tensors: what to fetch.
            targets: names of nodes that must run as well.
            feeds: arrays of the right dtypes, which must not change while this runs.
        """
        with self.state.begin() as run:
            values = self._program.run(tensors, targets, feeds, run)
        return [_handed_out(v) for v in values]

    def _wanted(self, fetches: Any) -> _Fetches:
        key = _key(fetches)
        found = self._fetched.get(key)
        if found is None:
            found = _Fetches(self.graph, fetches)
            if len(self._fetched) < _REMEMBERED:
                self._fetched[key] = found
        return found

    def _to_feed(self, tensor: Any) -> TensorRef:
        name = tensor if type(tensor) is str else str(getattr(tensor, "name", tensor))
        found = self._fed.get(name)
        if found is None:
            found = find_tensor(self.graph, name)
            if len(self._fed) < _REMEMBERED:
                self._fed[name] = found
        return found

    def close(self) -> None:
        """Wake whoever waits in a queue, in any thread, with a `CancelledError`, and end input pipelines."""
        self.state.close()

    def tensor(self, name: Any) -> TensorRef:
        """Return the tensor meant by a name or by an object with one."""
        return find_tensor(self.graph, getattr(name, "name", name))

    def altered(self, graph: Graph) -> Session:
        """Return a session that runs `graph`, an altered copy of this one's, with the same variables and resources."""
        made = copy.copy(self)
        made.graph, made._fetched, made._fed = graph, {}, {}
        made._program = Program(graph, self._program.settings)
        return made

    def set_variables(self, values: Mapping[str, Any]) -> None:
        """Give variables values, by the names the graph knows them by."""
        for name, value in values.items():
            self.state.set(name, value)

    def report(self) -> list[list[dict[str, Any]]]:
        """Return, for each plan made so far, what runs where and why."""
        return [plan.report() for plan in self._program.plans()]


def _opened(source: Any, checkpoint: str | os.PathLike[str] | None) -> tuple[Graph, Mapping[str, Any] | None]:
    """Return the graph, and the values of its variables where they are given."""
    if isinstance(source, Graph) and checkpoint is None:
        return source, None
    from coldframe.runtime.source import Stored, open_source  # here, since programs make graphs without files

    RESTING.look()
    opened = open_source(source, checkpoint=checkpoint)
    return opened.graph, None if checkpoint is None else Stored(opened)


def settings(engine: str, *, threads: int = 0, spin: bool = True, pin: bool = False, shared: str = "") -> Settings:
    """Return what programs need to run on the engine called `engine`."""
    if engine not in ENGINES:
        raise MisuseError(f"no engine is called `{engine}`", expected=" or ".join(ENGINES))
    if threads < 0:
        raise MisuseError("a number of threads is negative", expected="0 or more", found=threads)
    if engine == "reference":
        return Settings(table(), ReferenceEngine(), selective=False, pin=False, lists=False)
    if engine == "xla":
        return Settings(table(), _xla(), selective=False, pin=pin)
    options = EngineOptions(threads, spin, shared)
    if engine == "openvino":
        return Settings(table(), OpenVinoEngine(options), selective=False, pin=pin)
    made: Engine = OnnxRuntimeEngine(options)
    if engine == "auto" and installed():
        made = OpenVinoEngine(options, selective=True)
    if engine == "onnxruntime" or importlib.util.find_spec("jax") is None:
        return Settings(table(), made, selective=engine == "auto", pin=pin)
    return Settings(table(), made, selective=True, pin=pin, exact=functools.cache(_xla))


def _xla() -> Engine:
    from coldframe.engines.xla import XlaEngine  # here, since few graphs are for it

    return XlaEngine()


def find_tensor(graph: Graph, name: str) -> TensorRef:
    """Return the tensor called `name`: ``x:0``, or ``x`` for output 0.

    Raises:
        NotFoundError: no such node, or the node has no such output.
    """
    ref = parse_tensor(str(name))
    ref = TensorRef(find_node(ref.node, graph.nodes), ref.slot)
    count = output_count(graph, ref.node)
    if count is not None and ref.slot >= count:
        node = graph.nodes[ref.node]
        hint = f"fetch the op `{ref.node}` itself to run it" if not count else suggest(ref.node, graph.nodes)
        raise NotFoundError(
            f"tensor `{ref}` does not exist",
            expected=f"an output of {node.op} below {count}",
            found=ref.slot,
            hint=hint,
        )
    return ref


def output_count(graph: Graph, name: str) -> int | None:
    """Return how many outputs a node has, or None where its op is not known."""
    node = graph.nodes[name]
    if node.op in graph.functions:
        return len(graph.functions[node.op].results)
    ops = table()
    if not known(node.op) or node.op not in ops:
        return None
    return len(bind(ops[node.op], node.attrs).outputs)


def _handed_out(value: Any) -> Any:
    """Return a fetched value as the caller may keep it: its own memory, scalars unwrapped."""
    if not isinstance(value, np.ndarray):
        return value
    if value.ndim == 0:
        return value[()]
    return value if value.flags.owndata and value.flags.writeable else value.copy()


def _key(item: Any) -> Any:
    """Return what two structures of fetches have in common that ask for the same."""
    if isinstance(item, Mapping):
        return (type(item), *((k, _key(v)) for k, v in item.items()))
    if isinstance(item, (list, tuple)):
        return (type(item), *map(_key, item))
    name = getattr(item, "name", item)
    return name if isinstance(name, str) else object()  # of which nothing is remembered: it is refused


class _Fetches:
    """Flattens a structure of fetches, and builds the same structure of values.

    Attributes:
        tensors, targets: what to fetch, what only to run.
        build: from the list of fetched values to the structure.
        writes: whether it takes nodes that write variables.
    """

    @functools.cached_property
    def writes(self) -> bool:
        ops = table()
        names = needed(self.graph, [*(t.node for t in self.tensors), *self.targets])
        nodes = (node for _, node in reached((self.graph.nodes[n] for n in names), self.graph.functions))
        kinds = {node.op for node in nodes}
        return any(kind in ops and ops[kind].role in ("assign", "update", "draw") for kind in kinds)

    def __init__(self, graph: Graph, fetches: Any) -> None:
        self.graph = graph
        self._tensors: list[TensorRef] = []
        self._targets: list[str] = []
        self.build = self.collect(fetches)
        self.tensors, self.targets = tuple(self._tensors), tuple(self._targets)

    def collect(self, item: Any) -> Any:
        """Note the fetches in `item`; return a function from the list of values to the structure."""
        if isinstance(item, Mapping):
            parts = {k: self.collect(v) for k, v in item.items()}
            return lambda values: {k: p(values) for k, p in parts.items()}
        if isinstance(item, tuple) and hasattr(item, "_fields"):
            fields = [self.collect(v) for v in item]
            return lambda values: type(item)(*(f(values) for f in fields))
        if isinstance(item, (list, tuple)):
            items = [self.collect(v) for v in item]
            kind = type(item)
            return lambda values: kind(i(values) for i in items)
        return self._leaf(item)

    def _leaf(self, item: Any) -> Any:
        name = getattr(item, "name", item)
        if not isinstance(name, str):
            raise MisuseError("a fetch is a tensor or op name, or a list, tuple or dict of them", found=repr(item))
        if not is_tensor_name(name):
            self._targets.append(find_node(name, self.graph.nodes))
            return lambda values: None
        at = len(self._tensors)
        self._tensors.append(find_tensor(self.graph, name))
        return lambda values: values[at]
