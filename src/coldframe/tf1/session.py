"""`Session`: runs a graph that programs build, keeps its variables, and speaks TF1's interface.

Running itself is `coldframe.runtime.session`; this module turns tensors, variables and structures of them into names
and back, and errors into those that TF1 programs catch.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Self

import numpy as np

from coldframe.errors import ColdframeError
from coldframe.graph.names import TensorRef
from coldframe.runtime.files import AnyFile
from coldframe.runtime.session import Session as Runtime
from coldframe.tf1.errors import from_coldframe
from coldframe.tf1.framework.convert import IndexedSlices, SparseTensor, as_array
from coldframe.tf1.framework.graph import Graph, get_default_graph
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.framework.tensor import Operation, Tensor

ENGINE_VARIABLE: Final = "COLDFRAME_ENGINE"
"""The environment variable that says which engine sessions use where the program does not."""

_REMEMBERED: Final = 256  # structures of fetches that are not flattened again


class SparseTensorValue(NamedTuple):
    """What a fetched `SparseTensor` gives, and what may be fed to one."""

    indices: Any
    values: Any
    dense_shape: Any


class IndexedSlicesValue(NamedTuple):
    """What fetched `IndexedSlices` give, and what may be fed to them."""

    values: Any
    indices: Any
    dense_shape: Any


# --- default sessions -------------------------------------------------------------------------------------------
class _Stack(threading.local):
    def __init__(self) -> None:
        self.sessions: list[Any] = []


_STACK = _Stack()


def get_default_session() -> Any:
    """Return the session of the innermost ``with`` block of this thread, or None."""
    return _STACK.sessions[-1] if _STACK.sessions else None


@contextlib.contextmanager
def _as_default(session: Any) -> Iterator[Any]:
    _STACK.sessions.append(session)
    try:
        yield session
    finally:
        _STACK.sessions.remove(session)


# --- fetches ----------------------------------------------------------------------------------------------------
class _Fetches:
    """A structure of fetches, flattened: what to compute, what only to run, and how to build the results."""

    def __init__(self, graph: Graph, fetches: Any) -> None:
        self.graph = graph
        self.tensors: dict[TensorRef, int] = {}
        self.targets: dict[str, None] = {}
        self.build: Callable[[list[Any]], Any] = self._collect(fetches)
        self.refs, self.names = tuple(self.tensors), tuple(self.targets)

    def _collect(self, item: Any) -> Callable[[list[Any]], Any]:
        if item is None:
            raise TypeError("Fetch argument None has invalid type <class 'NoneType'>")
        if isinstance(item, Mapping):
            parts = {k: self._collect(v) for k, v in item.items()}
            kind: Any = type(item) if type(item).__name__ in ("dict", "OrderedDict") else dict
            return lambda values: kind((k, p(values)) for k, p in parts.items())
        if isinstance(item, SparseTensor):
            fields = [self._collect(t) for t in (item.indices, item.values, item.dense_shape)]
            return lambda values: SparseTensorValue(*(f(values) for f in fields))
        if isinstance(item, IndexedSlices):
            slices = [None if t is None else self._collect(t) for t in (item.values, item.indices, item.dense_shape)]
            return lambda values: IndexedSlicesValue(*(None if f is None else f(values) for f in slices))
        if isinstance(item, tuple) and hasattr(item, "_fields"):
            named = [self._collect(v) for v in item]
            return lambda values: type(item)(*(f(values) for f in named))
        if isinstance(item, (list, tuple)):
            items = [self._collect(v) for v in item]
            sequence: Any = tuple if isinstance(item, tuple) else list
            return lambda values: sequence([i(values) for i in items])
        return self._leaf(item)

    def _leaf(self, item: Any) -> Callable[[list[Any]], Any]:
        try:
            element = self.graph.as_graph_element(item, allow_tensor=True, allow_operation=True)
        except TypeError as e:
            raise TypeError(
                f"Fetch argument {item!r} has invalid type {type(item).__name__!r}, must be a string or Tensor. ({e})"
            ) from None
        except KeyError as e:
            raise ValueError(f"Fetch argument {item!r} cannot be interpreted as a Tensor. ({e})") from e
        if isinstance(element, Operation):
            self.targets[element.name] = None
            return lambda values: None
        at = self.tensors.setdefault(element.ref, len(self.tensors))
        return lambda values: values[at]


def _key(fetches: Any) -> Any:
    """Return a key that equal structures of the same tensors share, or None where there is no cheap one."""
    if isinstance(fetches, (Tensor, Operation, str)):
        return fetches
    if isinstance(fetches, (list, tuple)) and not hasattr(fetches, "_fields"):
        parts = [_key(f) for f in fetches]
        return None if None in parts else (type(fetches), *parts)
    return None


# --- sessions ---------------------------------------------------------------------------------------------------
class BaseSession:
    """A graph that runs, and the values of its variables.

    Args:
        target: accepted for compatibility; everything runs in this process.
        graph: the graph; the default one otherwise.
        config: a ``ConfigProto``; its thread settings are used.
        engine: ``auto``, ``onnxruntime``, ``xla`` or ``reference``; the environment variable ``COLDFRAME_ENGINE``, else
            ``auto``, otherwise.
    """

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None, engine: str = "") -> None:
        if graph is not None and not isinstance(graph, Graph):
            raise TypeError(f"Argument `graph` must be a tf.Graph, but got {type(graph).__name__!r}")
        self._graph = get_default_graph() if graph is None else graph
        self._config, self._target = config, target
        threads = int(getattr(config, "intra_op_parallelism_threads", 0) or 0)
        chosen = engine or os.environ.get(ENGINE_VARIABLE, "") or "auto"
        self._runtime = Runtime(self._graph.ir, chosen, threads=threads, files=AnyFile())
        self._runtime.state.functions = self._graph.registry
        self._fetches: dict[Any, _Fetches] = {}
        self._closed = False

    @property
    def graph(self) -> Graph:
        return self._graph

    @property
    def graph_def(self) -> Any:
        return self._graph.as_graph_def()

    @property
    def sess_str(self) -> str:
        return self._target

    @property
    def runtime(self) -> Runtime:
        """Coldframe's own session behind this one: its variables, its plans and their report."""
        return self._runtime

    def close(self) -> None:
        """End the session: what waits in queues is cancelled, variables are forgotten."""
        self._closed = True
        close = getattr(self._runtime, "close", None)
        if close is not None:
            close()

    def as_default(self) -> contextlib.AbstractContextManager[Any]:
        """Make this the session that ``eval()`` and ``run()`` of tensors and operations use, in a ``with`` block."""
        return _as_default(self)

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """Return the values of `fetches`, in their structure.

        Args:
            fetches: a tensor, an operation (its value is None), a variable, a name, or nested lists, tuples and
                dicts of these.
            feed_dict: values by tensor; any tensor can be fed, not only placeholders.
            options, run_metadata: accepted for compatibility.

        Raises:
            tf.errors.OpError: of the class that says what is wrong.
            ValueError, TypeError: a fetch is not of this graph, or a value does not fit what it is fed to.
        """
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")
        if not self._graph.version:
            raise RuntimeError("The Session graph is empty. Add operations to the graph before calling run().")
        wanted = self._flattened(fetches)
        feeds = self._feeds(feed_dict) if feed_dict else {}
        try:
            values = self._runtime.execute(wanted.refs, wanted.names, feeds)
        except ColdframeError as e:
            raise self._as_tf_error(e) from e
        return wanted.build(values)

    def _flattened(self, fetches: Any) -> _Fetches:
        key = _key(fetches)
        if key is None:
            return _Fetches(self._graph, fetches)
        found = self._fetches.get(key)
        if found is None:
            found = _Fetches(self._graph, fetches)
            if len(self._fetches) < _REMEMBERED:
                self._fetches[key] = found
        return found

    def _feeds(self, feed_dict: Mapping[Any, Any]) -> dict[TensorRef, Any]:
        feeds: dict[TensorRef, Any] = {}
        for key, value in feed_dict.items():
            for tensor, part in self._fed(key, value):
                feeds[tensor.ref] = _as_feed(tensor, part)
        return feeds

    def _fed(self, key: Any, value: Any) -> Iterator[tuple[Tensor, Any]]:
        if isinstance(key, SparseTensor):
            yield from zip((key.indices, key.values, key.dense_shape), value, strict=True)
        elif isinstance(key, IndexedSlices):
            yield key.values, value[0]
            yield key.indices, value[1]
        elif isinstance(key, tuple):
            for k, v in zip(key, value, strict=True):
                yield from self._fed(k, v)
        else:
            try:
                tensor = self._graph.as_graph_element(key, allow_operation=False)
            except (KeyError, ValueError, TypeError) as e:
                raise TypeError(f"Cannot interpret feed_dict key as Tensor: {e}") from e
            if not self._graph.is_feedable(tensor):
                raise ValueError(f"Tensor {tensor} may not be fed.")
            yield tensor, value

    def _as_tf_error(self, error: ColdframeError) -> Exception:
        name = error.where.partition("`")[2].partition("`")[0]
        op = self._graph._operations.get(name)
        return from_coldframe(error, op)

    def make_callable(self, fetches: Any, feed_list: Any = None, accept_options: bool = False) -> Callable[..., Any]:
        """Return a function of the values for `feed_list` that gives the values of `fetches`."""
        keys = list(feed_list or ())
        if not accept_options:
            return lambda *values: self.run(fetches, dict(zip(keys, values, strict=True)))
        return lambda *values, **_: self.run(fetches, dict(zip(keys, values, strict=True)))

    def list_devices(self) -> list[Any]:
        """Return the one device there is."""
        return [_Device("/job:localhost/replica:0/task:0/device:CPU:0", "CPU")]

    def partial_run_setup(self, fetches: Any, feeds: Any = None) -> Any:
        raise NotImplementedError("partial runs are not supported; use Session.run with all feeds at once")


class _Device(NamedTuple):
    name: str
    device_type: str


def _as_feed(tensor: Tensor, value: Any) -> Any:
    if isinstance(value, Tensor):
        raise TypeError(
            "The value of a feed cannot be a tf.Tensor object. Acceptable feed values include Python scalars, strings, "
            f"lists, numpy ndarrays. The tensor {tensor.name} was fed {value!r}."
        )
    dtype = tensor.dtype
    if dtype.kind == "o":
        return value
    if dtype.kind == "s":
        array = as_array(value, dtype)
    else:
        try:
            array = np.asarray(value, dtype.numpy)
            fits = not isinstance(value, int) or int(array) == value
        except OverflowError:
            fits = False
        if not fits:
            raise TypeError(f"Type of feed value {value} with type {type(value)} is not compatible with {dtype.name}.")
    dims = tensor.static_shape.dims
    if dims is not None and (
        len(dims) != array.ndim or any(d is not None and d != n for d, n in zip(dims, array.shape, strict=True))
    ):
        raise ValueError(
            f"Cannot feed value of shape {array.shape} for Tensor {tensor.name!r}, which has shape "
            f"{str(TensorShape(tensor.static_shape))!r}"
        )
    return array


class Session(BaseSession):
    """A session for ``with`` blocks: inside one, it and its graph are the default ones. See `BaseSession`."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None, engine: str = "") -> None:
        super().__init__(target, graph, config, engine)
        self._blocks: list[contextlib.ExitStack] = []

    def __enter__(self) -> Self:
        block = contextlib.ExitStack()
        block.enter_context(self.graph.as_default())
        block.enter_context(self.as_default())
        self._blocks.append(block)
        return self

    def __exit__(self, *error: object) -> None:
        self._blocks.pop().close()
        self.close()

    @staticmethod
    def reset(target: str, containers: Any = None, config: Any = None) -> None:
        """Do nothing: there are no containers shared between sessions."""


class InteractiveSession(BaseSession):
    """A session that is the default one from the start, until it is closed. See `BaseSession`."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None, engine: str = "") -> None:
        super().__init__(target, graph, config, engine)
        self._block = contextlib.ExitStack()
        if graph is not None:
            self._block.enter_context(graph.as_default())
        self._block.enter_context(self.as_default())

    def close(self) -> None:
        super().close()
        self._block.close()
