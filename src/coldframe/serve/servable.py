"""One version of a model, loaded and ready to answer.

A version is a folder with a SavedModel, or with one frozen graph (``.pb``, ``.pbtxt``), or with one ``.meta`` and its
checkpoint, or such a file itself. What is loaded has its tables filled and has run once, before requests come.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.errors import (
    ColdframeError,
    ExecutionError,
    FeedError,
    MisuseError,
    NotFoundError,
    NotInitializedError,
    near_names,
)
from coldframe.formats import messages
from coldframe.formats.tensor_proto import shape_proto
from coldframe.records import dataclass
from coldframe.runtime.ends import with_defaults
from coldframe.runtime.model import Model, load
from coldframe.runtime.source import Signature
from coldframe.serve.status import Code, Redacted, RequestError, code_of, invalid
from coldframe.shapes import TensorSpec

Array = npt.NDArray[Any]
DEFAULT_SIGNATURE: Final = "serving_default"
Absent = tuple[Code, str]
ABSENT: Final[Absent] = (Code.INVALID_ARGUMENT, 'Serving signature name: "{}" not found in signature def')
"""What is told of a signature that is not there: the status, and the words, with a place for the name."""
_SAVED_MODELS: Final = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")
_GRAPHS: Final = (".pb", ".pbtxt")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How models are loaded.

    Attributes:
        engine: as `coldframe.load`.
        threads: threads within an op; 0 lets the engine choose.
        tags: which meta graph of SavedModels; None for ``serve``.
        mapped: whether variables stay where their file is mapped, so that workers share them.
        spin: whether threads within an op keep processors busy while they wait.
        shared: a folder in which workers share what the engine makes of weights; empty for none.
    """

    engine: str = "auto"
    threads: int = 0
    tags: tuple[str, ...] | None = None
    mapped: bool = False
    spin: bool = False
    shared: str = ""


class Servable:
    """A loaded version.

    Attributes:
        name: the model's name.
        version: its number.
        path: where it came from.
        model: the model.
        signatures: by name; a graph without any has one, guessed, called ``serving_default``.
        optional: the inputs of each signature that may be left out.
        redacted: tells errors without paths.
        took: the seconds that runs took of late, by signature and by how many bits their inputs' bytes are counted in.
    """

    def __init__(self, name: str, version: int, path: Path, model: Model) -> None:
        self.name, self.version, self.path, self.model = name, version, path, model
        self.signatures: Mapping[str, Signature] = model.signatures
        self._own_names: Mapping[str, str] = {}  # the model's, of signatures that are served under another name
        if not model.source.signatures:
            (guessed,) = model.signatures.values()
            self.signatures = {DEFAULT_SIGNATURE: dataclasses.replace(guessed, name=DEFAULT_SIGNATURE)}
            self._own_names = {DEFAULT_SIGNATURE: guessed.name}
        defaults = with_defaults(model.graph)
        self.optional: Mapping[str, frozenset[str]] = {
            name: frozenset(k for k, spec in s.inputs.items() if k in s.defaults or spec.name in defaults)
            for name, s in self.signatures.items()
        }
        self.took: dict[tuple[str, int], deque[float]] = {}
        self.redacted = Redacted({path, path.parent, path.resolve(), path.resolve().parent})

    def signature(self, name: str | None, absent: Absent = ABSENT) -> Signature:
        """Return the signature called `name`, or the default one.

        Args:
            name: its name; None or empty for the default one.
            absent: what is told where there is none: TensorFlow Serving has other words for it in each call.

        Raises:
            RequestError: there is none.
        """
        wanted = name or DEFAULT_SIGNATURE
        found = self.signatures.get(wanted)
        if found is None:
            code, told = absent
            raise RequestError(
                code,
                told.format(wanted),
                expected=f"one of {', '.join(sorted(self.signatures)) or 'none'}",
                hint=near_names(wanted, self.signatures),
            )
        return found

    def check(self, signature: Signature, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the inputs as the model takes them; what is left out and has a default is filled in.

        Raises:
            RequestError: names or dtypes do not fit the signature (INVALID_ARGUMENT). Shapes are the model's own
                business: signatures often claim more than the graph demands.
        """
        if inputs.keys() != signature.inputs.keys():
            self._check_names(signature, inputs)
        checked = {k: _fitting(k, v, signature.inputs[k]) for k, v in inputs.items()}
        return checked if len(checked) == len(signature.inputs) else {**signature.defaults, **checked}

    def _check_names(self, signature: Signature, inputs: Mapping[str, Array]) -> None:
        optional = self.optional[signature.name]
        missing = [k for k in signature.inputs if k not in inputs and k not in optional]
        unknown = [k for k in inputs if k not in signature.inputs]
        if missing or unknown:
            given, wanted = (",".join(sorted(k)) for k in (inputs, signature.inputs))
            raise invalid(
                f"input size does not match signature: {len(inputs)}!={len(signature.inputs)} len({{{given}}}) != "
                f"len({{{wanted}}}). Sent extra: {{{','.join(sorted(unknown))}}}. "
                f"Missing but required: {{{','.join(sorted(missing))}}}.",
                hint=near_names(unknown[0], signature.inputs) if unknown else "",
            )

    def run(self, signature: Signature, inputs: Mapping[str, Array], outputs: Sequence[str] = ()) -> dict[str, Array]:
        """Run a signature.

        Args:
            signature: one of this servable's.
            inputs: what `check` returned.
            outputs: keys of the wanted outputs; none for all.

        Raises:
            RequestError: an output is unknown or asked for twice, or the model refused its inputs.
        """
        wanted = self._outputs(signature, outputs)
        name = self._own_names.get(signature.name, signature.name)
        found = self._told(lambda: self.model.run(inputs, wanted, signature=name))
        return {k: np.asarray(v, object) if isinstance(v, bytes) else np.asarray(v) for k, v in found.items()}

    def check_feeds(self, feeds: Mapping[str, Array]) -> None:
        """Refuse values of another dtype than the tensor's: here, as in TensorFlow, they are not converted.

        Raises:
            RequestError: a tensor does not exist, or has another dtype.
        """
        for name, value in feeds.items():
            dtype = self._told(functools.partial(self.model.session.fed_as, name))
            given = dtypes.from_numpy(value.dtype)
            if dtype not in (None, given):
                raise invalid(f"the value fed to `{name}` has the wrong dtype", expected=dtype, found=given)

    def call(self, fetches: Any, feeds: Mapping[str, Any]) -> Any:
        """Run by tensor names, as `Session.run`; errors become RequestErrors."""
        return self._told(lambda: self.model.run_graph(fetches, feeds))

    def _told(self, work: Callable[[], Any]) -> Any:
        """Do something with the model; errors become RequestErrors."""
        try:
            return work()
        except RequestError:
            raise
        except NotFoundError as e:
            raise RequestError(Code.INVALID_ARGUMENT, self.redacted(e)) from e
        except ColdframeError as e:
            raise RequestError(code_of(e), self.redacted(e)) from e

    def _outputs(self, signature: Signature, asked: Sequence[str]) -> Sequence[str]:
        if not asked:
            return list(signature.outputs)
        for i, key in enumerate(asked):
            if key not in signature.outputs:
                raise invalid(
                    f"output tensor alias not found in signature: {key} Outputs expected to be in the set "
                    f"{{{','.join(sorted(signature.outputs))}}}.",
                    hint=near_names(key, signature.outputs),
                )
            if key in asked[:i]:
                raise invalid(f"duplicate output tensor alias: {key}")
        return asked

    @functools.cached_property
    def signature_defs(self) -> Any:
        """The signatures as a SignatureDefMap message, internal ones included, as the SavedModel has them."""
        out = messages.message_class("tensorflow.serving.SignatureDefMap")()
        meta = self.model.source.meta
        if meta is not None and meta.signature_def:
            for key in meta.signature_def:
                out.signature_def[key].CopyFrom(meta.signature_def[key])
                out.signature_def[key].ClearField("defaults")
            return out
        for key, signature in self.signatures.items():
            proto = out.signature_def[key]
            proto.method_name = signature.method or "tensorflow/serving/predict"
            for specs, infos in ((signature.inputs, proto.inputs), (signature.outputs, proto.outputs)):
                for name, spec in specs.items():
                    infos[name].name, infos[name].dtype = spec.name, spec.dtype.enum
                    infos[name].tensor_shape.CopyFrom(shape_proto(spec.shape.dims))
        return out

    def try_out(self) -> list[str]:
        """Run every signature once on made-up inputs, so that it is planned and compiled.

        Returns:
            What inputs the model refused: made-up ones need not make sense to it.

        Raises:
            ColdframeError: it cannot run at all: ops, or values of variables, are missing.
        """
        refused = []
        for signature in self.signatures.values():
            left_out = self.optional[signature.name]
            feeds = {s.name: _made_up(s) for k, s in signature.inputs.items() if k not in left_out}
            feeds |= {signature.inputs[k].name: v for k, v in signature.defaults.items()}
            if not signature.outputs:
                continue
            try:
                self.model.rehearse([s.name for s in signature.outputs.values()], feeds)
            except NotInitializedError:
                raise
            except (ExecutionError, FeedError) as e:
                refused.append(f"{signature.name}: {self.redacted(e)}")
        return refused


def output_name(name: str) -> str:
    """Return the tensor that SessionRun fetches by a name: that of an operation stands for its first output."""
    return name if ":" in name else f"{name}:0"


def _fitting(key: str, value: Array, spec: TensorSpec) -> Array:
    if spec.dtype.kind == "s":
        if value.dtype != object:
            raise _mismatch(key, spec, value)
    elif value.dtype != spec.dtype.numpy:
        raise _mismatch(key, spec, value)
    return value


def _mismatch(key: str, spec: TensorSpec, value: Array) -> RequestError:
    found = "string" if value.dtype == object else dtypes.from_numpy(value.dtype)
    return invalid(
        f"input `{key}` does not fit the signature",
        expected=f"{spec.dtype}{_shown(spec)}",
        found=f"{found}{list(value.shape)}",
    )


def _shown(spec: TensorSpec) -> str:
    dims = spec.shape.dims
    return "[...]" if dims is None else f"[{', '.join('?' if d is None else str(d) for d in dims)}]"


def _made_up(spec: TensorSpec) -> Array:
    dims = spec.shape.dims
    if dims is None:  # most often serialized examples, or rows of numbers
        dims = (1,)
    shape = [1 if d is None else d for d in dims]
    if spec.dtype.kind == "s":
        out = np.empty(shape, object)
        out[...] = b""
        return out
    return np.zeros(shape, spec.dtype.numpy)


def load_servable(
    name: str, version: int, path: Path, options: LoadOptions, *, checkpoint: str | None = None
) -> Servable:
    """Load the version of a model at `path`.

    Raises:
        ColdframeError: it cannot be loaded; the message says why.
    """
    graph, beside = find_model(path)
    model = load(
        graph,
        checkpoint=checkpoint or beside,
        tags=options.tags,
        engine=options.engine,
        threads=options.threads,
        spin=options.spin,  # by default not: the processors have requests to read, and other models to run
        mapped=options.mapped,
        shared=options.shared,
    )
    _check_model(model, path, graph)
    return Servable(name, version, path, model)


def _check_model(model: Model, path: Path, graph: Path) -> None:
    """Refuse what would load, but never answer, or answer with something that nobody chose."""
    missing = sorted(model.source.variable_nodes.keys() - model.source.variables.keys())
    if missing and model.source.checkpoint is None:
        raise NotFoundError(
            "the graph has variables, but no checkpoint with their values",
            where=f"in {graph}",
            found=f"{len(missing)} variables, such as `{missing[0]}`",
            hint="put the checkpoint beside it, or freeze the graph: `coldframe freeze`",
        )
    if path.is_dir() and model.source.kind == "meta_graph" and not model.source.signatures:
        raise MisuseError(
            "a meta graph without signatures",
            where=f"in {graph}",
            hint="name the file itself to serve the ends that it is likely to have, or freeze it: `coldframe freeze`",
        )


def find_model(path: Path) -> tuple[Path, str | None]:
    """Return what to load of a version's folder, and the checkpoint to load it with, if it is not beside.

    Raises:
        NotFoundError: there is no model.
        MisuseError: there are several.
    """
    if not path.is_dir():
        if not path.exists():
            raise NotFoundError("no such model", where=f"at {path}")
        return path, None
    if any((path / n).is_file() for n in _SAVED_MODELS):
        return path, None
    files = sorted(p for p in path.iterdir() if p.is_file())
    graphs = [p for p in files if p.suffix in _GRAPHS and p.name != "fingerprint.pb"]
    graphs = graphs or [p for p in files if p.suffix == ".meta"]
    if len(graphs) == 1:
        return graphs[0], None
    if graphs:
        raise MisuseError("several models", where=f"in {path}", expected="one", found=", ".join(p.name for p in graphs))
    raise NotFoundError(
        "no model",
        where=f"in {path}",
        expected="saved_model.pb, or one .pb, or one .meta with its checkpoint",
        found=", ".join(p.name for p in files[:5]) or "an empty folder",
    )
