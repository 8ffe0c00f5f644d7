"""Models: a graph with its signatures and weights, loaded and ready to run."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from coldframe.collecting import RESTING
from coldframe.errors import FeedError, MisuseError, NotFoundError, near_names
from coldframe.graph.ir import Graph
from coldframe.graph.names import is_tensor_name
from coldframe.graph.traverse import needed
from coldframe.runtime.direct import Direct
from coldframe.runtime.session import Session, as_feeds
from coldframe.runtime.source import Signature, Source, Stored, open_source, read_tables
from coldframe.shapes import TensorSpec

_SERVING: Final = "serving_default"
_GUESSED: Final = "default"
_Asked = tuple[type, Any, str | None, Direct]
"""What was asked for: the fetches with their type, the signature, and the short way to run that."""
_REMEMBERED: Final = 64  # combinations of feeds and fetches that may have a short way, as many as plans are kept


class Model:
    """A loaded model.

    Attributes:
        graph: the graph.
        session: where it runs.
    """

    def __init__(
        self,
        source: Source,
        *,
        engine: str = "auto",
        threads: int = 0,
        spin: bool = True,
        mapped: bool = False,
        shared: str | os.PathLike[str] = "",
    ) -> None:
        self.source = source
        self.graph = source.graph
        self.session = Session(
            source.graph,
            engine,
            threads=threads,
            spin=spin,
            constant_variables=True,
            files=[*source.assets.values(), *source.asset_variables.values()],
            shared=shared,
        )
        self.session.state.stored = Stored(source)
        self.session.state.mapped = mapped
        self._lock = threading.Lock()
        self._turns = threading.Lock()
        self._short: dict[Any, _Asked | None] = {}
        self._last: _Asked | None = None
        self._initialized = False

    @functools.cached_property
    def signatures(self) -> Mapping[str, Signature]:
        """By name; a plain graph has one, called ``default``, of its inputs and likely outputs."""
        return self.source.signatures or {_GUESSED: _guess(self.graph)}

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """What the default signature takes."""
        return self._signature(None).inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """What the default signature gives."""
        return self._signature(None).outputs

    def run(
        self,
        feeds: Mapping[str, Any] | None = None,
        fetches: Iterable[str] | None = None,
        *,
        signature: str | None = None,
    ) -> dict[str, Any]:
        """Run the model by name.

        Args:
            feeds: values by the signature's input name or by tensor name (``x:0``, ``x``).
            fetches: the signature's output names, or tensor names, or a single one; None for all outputs of the
                signature.
            signature: which signature; None for the default one.

        Returns:
            The values by the names that were asked for.

        Raises:
            NotFoundError, FeedError, UnsupportedOpError, ExecutionError: as `Session.run`.
            MisuseError: feeds and fetches have changed places, or are of other types.
        """
        last = self._last
        # (First what was asked for the last time: of a tiny model's run, each tuple made takes a hundredth.)
        if (
            last is not None
            and type(fetches) is last[0]
            and fetches == last[1]
            and signature == last[2]
            and type(feeds) is dict
            and feeds
        ):
            found = last[3].run(feeds)
            if found is not None:
                return found
        feeds, fetches = as_feeds(feeds), _as_names(fetches)
        asked = (signature, None if fetches is None else tuple(fetches), tuple(feeds))
        known = self._short.get(asked)
        if known is not None and (known is not last or type(feeds) is not dict):
            found = known[3].run(feeds)
            if found is not None:
                self._last = known
                return found
        fed, wanted, given = self._named(feeds, fetches, signature)
        values: dict[str, Any] = self.run_graph(wanted, given)
        if asked not in self._short:
            whole = len(given) == len(feeds)  # no defaults, and no tensor under two names
            self._remember(asked, type(fetches), self.session.direct(wanted, fed, feeds) if whole else None)
        elif known is not None:
            known[3].look()
        return values

    def _named(
        self, feeds: Mapping[str, Any], fetches: Sequence[str] | None, signature: str | None
    ) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
        """Return the tensors' names by those of `feeds` and of `fetches`, and what is fed by tensor name."""
        names = self._signature(signature) if fetches is None or signature is not None else self._default()
        inputs, outputs = (names.inputs, names.outputs) if names is not None else ({}, {})
        if fetches is None:
            fetches = list(outputs)
            if not fetches:
                raise MisuseError("nothing to fetch", hint="name the tensors you want: `coldframe names` lists them")
        fed = {k: self._tensor(inputs, k) for k in feeds}
        given = {fed[k]: v for k, v in feeds.items()}
        if names is not None:
            for key, value in names.defaults.items():
                given.setdefault(inputs[key].name, value)
        return fed, {f: self._tensor(outputs, f) for f in fetches}, given

    def _remember(self, asked: Any, kind: type, short: Direct | None) -> None:
        """Keep the short way of what was asked, with fetches of some type; the oldest goes where there are many."""
        signature, fetches, _ = asked
        wanted = fetches if fetches is None or kind is tuple else list(fetches)
        with self._lock:
            if len(self._short) >= _REMEMBERED:
                del self._short[next(iter(self._short))]
            self._short[asked] = None if short is None else (type(wanted), wanted, signature, short)

    def run_graph(self, fetches: Any, feeds: Mapping[str, Any]) -> Any:
        """Run by the graph's own names, without signatures; tables are filled before. As `Session.run`.

        Runs that write variables take turns: a counter that several threads count up loses none.
        """
        self._initialize()
        with self._turns if self.session.writes(fetches) else contextlib.nullcontext():
            return self.session.run(fetches, feeds)

    def rehearse(self, fetches: Any, feeds: Mapping[str, Any]) -> None:
        """Plan and compile what `run_graph` would run, without changing variables. As `Session.rehearse`."""
        self._initialize()
        self.session.rehearse(fetches, feeds)

    def __call__(self, *args: Any, signature: str | None = None, **kwargs: Any) -> Any:
        """Run a signature positionally (in the order of its input names) or by keyword.

        Returns:
            The output where the signature has one, else a dict of outputs.
        """
        chosen = self._signature(signature)
        if len(args) > len(chosen.inputs):
            raise FeedError(f"signature `{chosen.name}` takes {len(chosen.inputs)} inputs", found=len(args))
        feeds: dict[str, Any] = dict(zip(chosen.inputs, args, strict=False))
        for k, v in kwargs.items():
            if k not in chosen.inputs:
                raise NotFoundError(
                    f"signature `{chosen.name}` has no input `{k}`", expected=list(chosen.inputs),
                    hint=near_names(k, chosen.inputs),
                )  # fmt: skip
            if k in feeds:
                raise FeedError(f"input `{k}` is given twice")
            feeds[k] = v
        out = self.run(feeds, signature=chosen.name)
        return next(iter(out.values())) if len(out) == 1 else out

    def engine_report(self) -> list[list[dict[str, Any]]]:
        """Return what ran where, and why, for each combination of inputs and outputs run so far.

        Each is a list of steps, dicts with ``engine``, ``nodes``, ``ops`` (how many of each) and ``reason``, which is
        empty where an engine runs them; `coldframe.runtime.reporting.described` makes lines of it.
        """
        return self.session.report()

    def _signature(self, name: str | None) -> Signature:
        if not self.source.signatures and name in (None, _GUESSED):
            return self.signatures[_GUESSED]
        return self.source.signature(name)

    def _default(self) -> Signature | None:
        """The default signature, or None where the model names none."""
        known = self.source.signatures
        return self._signature(None) if len(known) == 1 or _SERVING in known else None

    def _initialize(self) -> None:
        """Run what fills the model's tables, once, before the first run."""
        with self._lock:
            if not self._initialized:
                self._restore_tables()
                assets = {name: os.fsencode(path) for name, path in self.source.assets.items()}
                if self.source.init_ops:
                    self.session.run(list(self.source.init_ops), assets)
                self._initialized = True

    def _restore_tables(self) -> None:
        """Fill the tables that the program changed before it was saved, as the restore op does."""
        tables = self.source.tables
        if tables is not None:
            restoring = Session(tables.graph, "reference")
            restoring.state = self.session.state
            restoring.run(list(tables.nodes), read_tables(self.source, tables))

    @staticmethod
    def _tensor(specs: Mapping[str, TensorSpec], name: str) -> str:
        if not isinstance(name, str):
            raise MisuseError("what a model is given is fed by name", found=repr(name), expected=list(specs) or None)
        if name in specs:
            return specs[name].name
        return name if is_tensor_name(name) else f"{name}:0"


def _as_names(fetches: Any) -> Sequence[str] | None:
    """Return the fetches of a run as names, a single one as a list of it."""
    if fetches is None:
        return None
    if isinstance(fetches, str):
        return [fetches]
    names = (
        fetches if isinstance(fetches, list | tuple) else list(fetches) if isinstance(fetches, Iterable) else [fetches]
    )
    if not all(isinstance(name, str) for name in names):
        raise MisuseError(
            "a model's fetches are a list of names of outputs or tensors",
            found=repr(fetches),
            hint="`Session.run` takes nested structures and the names of ops, too",
        )
    return names


def _guess(graph: Graph) -> Signature:
    from coldframe.runtime import ends  # here, since most runs name what they feed and fetch

    outputs = ends.guess_outputs(graph)
    used = needed(graph, [e.ref.node for e in outputs])
    inputs = [e for e in ends.inputs(graph) if e.ref.node in used]
    return Signature(_GUESSED, ends.specs_by_node(graph, inputs), ends.specs_by_node(graph, outputs))


def load(
    path: str | os.PathLike[str] | Any,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    tags: Sequence[str] | None = None,
    engine: str = "auto",
    threads: int = 0,
    spin: bool = True,
    mapped: bool = False,
    shared: str | os.PathLike[str] = "",
) -> Model:
    """Load a model.

    Args:
        path: a ``.pb`` or ``.pbtxt`` graph, a ``.meta`` with its checkpoint, or a SavedModel folder.
        checkpoint: where the variables' values are, for a graph or ``.meta``.
        tags: which meta graph of a SavedModel; default ``serve``, or the only one.
        engine: ``auto``, ``onnxruntime``, ``openvino``, ``xla`` or ``reference``.
        threads: threads within an op; 0 lets the engine choose.
        spin: whether such threads keep processors busy while they wait for work: faster where nothing else wants
            them. Otherwise they wait for 20 microseconds, from one node to the next, before they sleep.
        mapped: whether variables stay where the checkpoint's file is mapped, and large constants where the graph's is,
            so that processes share them. The files may be replaced then, but never written into: that would change the
            model, or end the process.
        shared: a folder that is this user's alone, in which processes that load the same model share what ONNX Runtime
            makes of its weights, rather than having it each. What nobody uses any more is removed.

    Raises:
        WrongFileError: the file is something else; the message says what.
        CorruptError: the file is damaged.
    """
    RESTING.look()
    with RESTING:
        source = open_source(path, checkpoint=checkpoint, tags=tags, mapped=mapped)
        return Model(source, engine=engine, threads=threads, spin=spin, mapped=mapped, shared=shared)
