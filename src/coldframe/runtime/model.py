"""Models: a graph with its signatures and weights, loaded and ready to run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any


from coldframe.errors import FeedError, MisuseError, NotFoundError, near_names
from coldframe.graph.names import is_tensor_name
from coldframe.runtime.session import Session
from coldframe.runtime.source import Signature, Source, open_source
from coldframe.shapes import TensorSpec


class Model:
    """A loaded model.

    Attributes:
        signatures: by name; a plain graph has one, called ``default``, of its inputs and likely outputs.
        inputs, outputs: those of the default signature, by their names in it.
        graph: the graph.
        session: where it runs.
    """

    def __init__(self, source: Source, *, engine: str = "auto", threads: int = 0) -> None:
        self.source = source
        self.graph = source.graph
        self.session = Session(source.graph, engine, threads=threads, constant_variables=True)
        self.signatures: Mapping[str, Signature] = source.signatures
        source.initialize(self.session)

    @property
    def default_signature(self) -> Signature:
        """``serving_default`` where there is one, else the only signature, else the first."""
        if not self.signatures:
            raise MisuseError("the model has no signature", hint="call `run` with tensor names")
        return self.signatures.get("serving_default") or next(iter(self.signatures.values()))

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """What the default signature takes."""
        return self.default_signature.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """What the default signature gives."""
        return self.default_signature.outputs

    def run(
        self,
        feeds: Mapping[str, Any] | None = None,
        fetches: Sequence[str] | None = None,
        *,
        signature: str | None = None,
    ) -> dict[str, Any]:
        """Run the model by name.

        Args:
            feeds: values by the signature's input name or by tensor name (``x:0``, ``x``).
            fetches: the signature's output names, or tensor names; None for all outputs of the signature.
            signature: which signature; None for the default one.

        Returns:
            The values by the names that were asked for.

        Raises:
            NotFoundError, FeedError, UnsupportedOpError, ExecutionError: as `Session.run`.
        """
        names = self._signature(signature) if signature is not None or self.signatures else None
        given = {self._tensor(names.inputs if names else {}, k): v for k, v in (feeds or {}).items()}
        if fetches is None:
            fetches = list(names.outputs) if names else []
            if not fetches:
                raise MisuseError("nothing to fetch", hint="name the tensors you want: `coldframe names` lists them")
        wanted = {f: self._tensor(names.outputs if names else {}, f) for f in fetches}
        return self.session.run(wanted, given)  # type: ignore[no-any-return]

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
        """Return what ran where, and why, for each combination of inputs and outputs run so far."""
        return self.session.report()

    def _signature(self, name: str | None) -> Signature:
        if name is None:
            return self.default_signature
        try:
            return self.signatures[name]
        except KeyError:
            raise NotFoundError(
                f"the model has no signature `{name}`",
                expected=list(self.signatures),
                hint=near_names(name, self.signatures),
            ) from None

    @staticmethod
    def _tensor(specs: Mapping[str, TensorSpec], name: str) -> str:
        if name in specs:
            return specs[name].name
        return name if is_tensor_name(name) else f"{name}:0"


def load(
    path: str | os.PathLike[str] | Any,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    tags: Sequence[str] | None = None,
    engine: str = "auto",
    threads: int = 0,
) -> Model:
    """Load a model.

    Args:
        path: a ``.pb`` or ``.pbtxt`` graph, a ``.meta`` with its checkpoint, or a SavedModel folder.
        checkpoint: where the variables' values are, for a graph or ``.meta``.
        tags: which meta graph of a SavedModel; default ``serve``, or the only one.
        engine: ``auto``, ``onnxruntime`` or ``reference``.
        threads: threads within an op; 0 lets the engine choose.

    Raises:
        WrongFileError: the file is something else; the message says what.
        CorruptError: the file is damaged.
    """
    return Model(open_source(path, checkpoint=checkpoint, tags=tags), engine=engine, threads=threads)
