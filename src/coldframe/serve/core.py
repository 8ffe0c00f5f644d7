"""What clients ask for, whatever protocol they ask in: predict, classify, regress, multi-inference, status.

::

    rest, open_inference ─┐
    rpc ──────────────────┼──► Core ──► Catalog.lease ──► Runner ──► Servable.run
                          │              which version     when, and with whom

Semantics are those of ``tensorflow_serving/servables/tensorflow``: `predict_util`, `classifier`, `regressor`,
`multi_inference`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.formats import messages
from coldframe.records import dataclass
from coldframe.runtime.source import Signature
from coldframe.serve.bodies import Budget
from coldframe.serve.callers import Callers
from coldframe.serve.config import ModelConfig
from coldframe.serve.examples import classification, regression
from coldframe.serve.lifecycle import Catalog
from coldframe.serve.metrics import Metrics
from coldframe.serve.naming import ModelSpec
from coldframe.serve.recording import Recorder
from coldframe.serve.servable import Absent, Servable
from coldframe.serve.status import Code, RequestError, invalid

Array = npt.NDArray[Any]
T = TypeVar("T")

PREDICT: Final = "tensorflow/serving/predict"
CLASSIFY: Final = "tensorflow/serving/classify"
REGRESS: Final = "tensorflow/serving/regress"
NO_SIGNATURE: Final[Absent] = (Code.INVALID_ARGUMENT, "No signature was found with the name: {}")

_LONGEST: Final = 86400.0  # seconds: what no client waits for; clocks of event loops end somewhere
_QUICK: Final = 0.25e-3  # seconds that may be spent in the event loop
_SHORT: Final = 20e-3  # seconds that may be spent there as long as one client asks: another would wait for that
_SMALL: Final = 1 << 16  # bytes of inputs; larger ones take longer than those before them did
_RECENT: Final = 8  # runs with inputs of like size, the quickest of which counts: others waited for the processor


async def within(work: Awaitable[T], deadline: float) -> T:
    """Wait for something until a monotonic time.

    Raises:
        RequestError: it was not there by then (DEADLINE_EXCEEDED); it is cancelled.
    """
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):  # unlike `wait_for` it makes no task
            return await work
    except TimeoutError:
        raise RequestError(Code.DEADLINE_EXCEEDED, "the deadline passed before there was an answer") from None


class Runner(Protocol):
    """Runs a servable, at once or together with other requests."""

    async def run(
        self,
        servable: Servable,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float,
    ) -> dict[str, Array]:
        """Run a signature on inputs that were checked.

        Args:
            servable: what to run; it is leased by the caller.
            signature: which of its signatures.
            inputs: arrays by key.
            outputs: the wanted outputs; none for all.
            deadline: the monotonic time by which an answer is of use.

        Raises:
            RequestError: there was none by then (DEADLINE_EXCEEDED), or `Servable.run` raises it.
        """

    async def call(self, work: Callable[[], T], deadline: float) -> T:
        """Do other work on a servable in a thread."""

    def close(self) -> None:
        """Finish what was begun, and refuse what comes after."""


class DirectRunner:
    """Runs each request by itself, in one of a few threads.

    What took less than a quarter of a millisecond of late is run where it is, in the event loop: handing it to a thread
    and back would take longer. So is what took less than 20 milliseconds, while there is nobody but one client who
    waits for the answer.

    Args:
        threads: how many run at the same time.
        queued: how many may wait for a thread; a request beyond is refused.
        callers: who asks; None: this is not known.
    """

    def __init__(self, threads: int, queued: int = 1000, callers: Callers | None = None) -> None:
        self._callers = callers
        self._pool = ThreadPoolExecutor(threads, "run")
        self._room = threads + queued
        self._inside = 0

    async def run(
        self,
        servable: Servable,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float,
    ) -> dict[str, Array]:
        """See `Runner`."""
        size = sum(v.nbytes for v in inputs.values())
        kind = signature.name, size.bit_length()
        recent = servable.took.get(kind)
        if recent is None:
            recent = servable.took[kind] = deque((math.inf,), _RECENT)

        def work() -> dict[str, Array]:
            started = time.perf_counter()
            found = servable.run(signature, inputs, outputs)
            recent.append(time.perf_counter() - started)
            return found

        if (size < _SMALL and min(recent) < _QUICK) or (self._is_alone() and max(recent) < _SHORT):
            return self._unless_late(work, deadline)
        return await self.call(work, deadline)

    def _is_alone(self) -> bool:
        """Whether whom a request is from is the only one who asks."""
        return self._callers is not None and self._callers.is_one and not self._inside

    async def call(self, work: Callable[[], T], deadline: float) -> T:
        """See `Runner`."""
        if self._inside >= self._room:
            raise RequestError(Code.RESOURCE_EXHAUSTED, "too many requests are waiting", expected=self._room)
        self._inside += 1
        try:
            ran = asyncio.get_running_loop().run_in_executor(self._pool, self._unless_late, work, deadline)
            return await within(ran, deadline)
        finally:
            self._inside -= 1

    @staticmethod
    def _unless_late(work: Callable[[], T], deadline: float) -> T:
        if time.monotonic() > deadline:
            raise RequestError(Code.DEADLINE_EXCEEDED, "the deadline passed while the request waited")
        return work()

    def close(self) -> None:
        """See `Runner`."""
        self._pool.shutdown()


@dataclass(frozen=True, slots=True)
class Answer:
    """The outputs of a signature, and of which version they are.

    Attributes:
        model, version, signature: what gave the answer.
        outputs: arrays by key.
    """

    model: str
    version: int
    signature: str
    outputs: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Classes:
    """Classifications: for each example, labels with scores.

    Attributes:
        model, version, signature: what gave the answer.
        rows: for each example the pairs of label and score.
    """

    model: str
    version: int
    signature: str
    rows: Sequence[Sequence[tuple[str, float]]]


@dataclass(frozen=True, slots=True)
class Values:
    """Regressions: a value for each example.

    Attributes:
        model, version, signature: what gave the answer.
        rows: the values.
    """

    model: str
    version: int
    signature: str
    rows: Sequence[float]


class Core:
    """Answers requests.

    Args:
        catalog: the models.
        runner: what runs them.
        timeout: seconds that a request may take whose client does not say.
        metrics: where it notes what it does.
        recorder: records some of the requests.
        budget: how many bytes of requests there may be at the same time.
        callers: hears who asks.
        check_methods: whether signatures classify, and are regressions, only if their method says so.

    Attributes:
        reconfigure: serves other models, and waits until that is done; raises RequestError where it is not.
    """

    def __init__(
        self,
        catalog: Catalog,
        runner: Runner,
        *,
        timeout: float = 30.0,
        metrics: Metrics | None = None,
        recorder: Recorder | None = None,
        budget: Budget | None = None,
        callers: Callers | None = None,
        check_methods: bool = False,
    ) -> None:
        self.budget = budget if budget is not None else Budget()
        self.callers = callers if callers is not None else Callers()
        self.catalog, self.runner, self.timeout = catalog, runner, timeout
        self.recorder = recorder
        self._check_methods = check_methods
        self.metrics = metrics if metrics is not None else Metrics()
        self.reconfigure: Callable[[Sequence[ModelConfig], float | None], Awaitable[None]] = self._reconfigure

    async def _reconfigure(self, configs: Sequence[ModelConfig], timeout: float | None) -> None:
        await asyncio.to_thread(self.catalog.replace, configs, timeout=timeout)

    def deadline(self, seconds: float | None = None) -> float:
        """Return the monotonic time until which a request that arrived now may take.

        Args:
            seconds: the time that its client gives it; None where that says nothing, as over HTTP.
        """
        return time.monotonic() + (self.timeout if seconds is None else min(seconds, _LONGEST))

    async def predict(
        self,
        spec: ModelSpec,
        read: Callable[[Servable], tuple[Signature, Mapping[str, Array]]],
        outputs: Sequence[str] = (),
        *,
        deadline: float,
    ) -> Answer:
        """Run a signature.

        Args:
            spec: which model.
            read: gives the signature and the inputs that the request holds; told the servable, since JSON can be read
                only by the signature's dtypes.
            outputs: the wanted outputs; none for all.
            deadline: when to give up, monotonic time.

        Raises:
            RequestError: see `Catalog.lease`, `Servable.check`, `Servable.run`.
        """
        with self.catalog.lease(spec) as servable:
            started = time.perf_counter()
            signature, inputs = read(servable)
            checked = servable.check(signature, inputs)
            self.metrics.stage(spec.name, "read", time.perf_counter() - started)
            found = await self._run(servable, signature, checked, outputs, deadline)
            if self.recorder is not None and self.recorder.wants(spec.name):
                self.recorder.predict((spec.name, servable.version, signature.name), checked, outputs, found)
            return Answer(spec.name, servable.version, signature.name, found)

    async def classify(
        self,
        spec: ModelSpec,
        signature: str | None,
        examples: Sequence[bytes],
        *,
        deadline: float,
        absent: Absent = NO_SIGNATURE,
    ) -> Classes:
        """Run a classification signature on serialized Examples; `absent` is as `Servable.signature` takes it.

        Raises:
            RequestError: the signature is none for classification, or gives something else.
        """
        with self.catalog.lease(spec) as servable:
            chosen = servable.signature(signature, absent)
            self._check_method(chosen, CLASSIFY, "classification")
            _check_classification(chosen)
            found = await self._on_examples(servable, chosen, examples, deadline)
            rows = _classes(found.get("classes"), found.get("scores"), len(examples))
            if self.recorder is not None and self.recorder.wants(spec.name):
                named = (spec.name, servable.version, chosen.name)
                self.recorder.examples("classify", named, examples, lambda: classification(rows))
            return Classes(spec.name, servable.version, chosen.name, rows)

    async def regress(
        self,
        spec: ModelSpec,
        signature: str | None,
        examples: Sequence[bytes],
        *,
        deadline: float,
        absent: Absent = NO_SIGNATURE,
    ) -> Values:
        """Run a regression signature on serialized Examples; `absent` is as `Servable.signature` takes it.

        Raises:
            RequestError: the signature is none for regression, or gives something else.
        """
        with self.catalog.lease(spec) as servable:
            chosen = servable.signature(signature, absent)
            self._check_method(chosen, REGRESS, "regression")
            _check_regression(chosen)
            found = await self._on_examples(servable, chosen, examples, deadline)
            rows = _values(found["outputs"], len(examples))
            if self.recorder is not None and self.recorder.wants(spec.name):
                named = (spec.name, servable.version, chosen.name)
                self.recorder.examples("regress", named, examples, lambda: regression(rows))
            return Values(spec.name, servable.version, chosen.name, rows)

    def _check_method(self, signature: Signature, method: str, what: str) -> None:
        if self._check_methods and signature.method != method:
            raise invalid(f"Expected {what} signature method_name to be {method}. Was: {signature.method}")

    async def _on_examples(
        self, servable: Servable, signature: Signature, examples: Sequence[bytes], deadline: float
    ) -> dict[str, Array]:
        if not examples:
            raise invalid("Input is empty.")
        batch = np.empty(len(examples), object)
        batch[:] = examples
        # Whatever dtype the signature claims: some say that of the parsed features. The graph knows better.
        return await self._run(servable, signature, {"inputs": batch}, (), deadline)

    async def _run(
        self,
        servable: Servable,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float,
    ) -> dict[str, Array]:
        started = time.perf_counter()
        found = await self.runner.run(servable, signature, inputs, outputs, deadline)
        self.metrics.stage(servable.name, "run", time.perf_counter() - started)
        return found

    async def session_run(
        self,
        spec: ModelSpec,
        read: Callable[[Servable], tuple[Any, Mapping[str, Array]]],
        *,
        deadline: float,
    ) -> Answer:
        """Run by tensor names, as ``Session.run``.

        Args:
            spec: which model.
            read: gives the fetches and the feeds that the request holds.
            deadline: when to give up, monotonic time.

        Raises:
            RequestError: a name is unknown, or the model refused its inputs.
        """
        with self.catalog.lease(spec) as servable:
            fetches, feeds = read(servable)
            servable.check_feeds(feeds)
            found = await self.runner.call(lambda: servable.call(fetches, feeds), deadline)
            return Answer(spec.name, servable.version, "", found)


def _check_classification(signature: Signature) -> None:
    """Refuse a signature that cannot classify; as in TensorFlow Serving, its names count."""
    _check_inputs(signature, "classification")
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if not {"classes", "scores"} & signature.outputs.keys():
        raise invalid(
            'Expected classification signature outputs to contain at least one of "classes" or "scores"',
            found=", ".join(signature.outputs),
        )


def _check_regression(signature: Signature) -> None:
    """Refuse a signature that is no regression, likewise."""
    _check_inputs(signature, "regression")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.", found=", ".join(signature.outputs) or "none")
    if "outputs" not in signature.outputs:
        raise invalid("No regression outputs found in SignatureDef", found=", ".join(signature.outputs))


def _check_inputs(signature: Signature, what: str) -> None:
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.", found=", ".join(signature.inputs) or "none")
    if "inputs" not in signature.inputs:
        raise invalid(f"No {what} inputs found in SignatureDef", found=", ".join(signature.inputs))


def _classes(classes: Array | None, scores: Array | None, count: int) -> list[list[tuple[str, float]]]:
    for what, found, dtype in (("classes", classes, dtypes.string), ("scores", scores, dtypes.float32)):
        if found is None:
            continue
        if found.ndim != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(found)}")
        if found.dtype != dtype.numpy:
            raise invalid(f"Expected {what} Tensor of {_enum(dtype.numpy)}. Got: {_enum(found.dtype)}")
        if len(found) != count:
            raise invalid(f"Expected {what} output batch size of {count}. Got: {len(found)}")
    if classes is not None and scores is not None and classes.shape != scores.shape:
        raise invalid(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    given = classes if classes is not None else scores
    assert given is not None  # one of the two is there
    labels = [[_text(v) for v in row] for row in classes] if classes is not None else [[""] * given.shape[1]] * count
    values = scores.astype(np.float64).tolist() if scores is not None else [[0.0] * given.shape[1]] * count
    return [list(zip(a, b, strict=True)) for a, b in zip(labels, values, strict=True)]


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _values(found: Array, count: int) -> list[float]:
    if found.ndim not in (1, 2) or (found.ndim == 2 and found.shape[1] != 1):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got " + _shape(found)
        )
    if len(found) != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {len(found)}")
    if found.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_enum(found.dtype)}")
    return found.reshape(-1).astype(np.float64).tolist()


def _shape(found: Array) -> str:
    return f"[{','.join(map(str, found.shape))}]"


def _enum(dtype: np.dtype[Any]) -> str:
    """Return TensorFlow's name of a dtype: DT_FLOAT."""
    names = messages.pool().FindEnumTypeByName("tensorflow.DataType").values_by_number
    return str(names[dtypes.from_numpy(dtype).enum].name)
