"""TensorFlow Serving's gRPC services: PredictionService, ModelService, SessionService.

Messages are of our private pool (`coldframe.formats.messages`), so that a process can have TensorFlow Serving's own
ones as well. After ``tensorflow_serving/apis/*.proto``.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from coldframe.errors import ColdframeError
from coldframe.formats import messages, tensor_proto
from coldframe.formats.tensor_wire import contents_apart, encode_tensor, tensor_entry
from coldframe.formats.wire import bytes_field, integer_field
from coldframe.serve import config
from coldframe.serve.core import CLASSIFY, REGRESS, Answer, Classes, Core, Values
from coldframe.serve.examples import classification, regression, serialized
from coldframe.serve.naming import ModelSpec
from coldframe.serve.servable import DEFAULT_SIGNATURE, Servable, output_name
from coldframe.serve.status import Code, Redacted, RequestError, code_of, invalid

log = logging.getLogger("coldframe.serve")

Handler = Callable[..., Awaitable[bytes]]
SERVICES: Final = (
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.SessionService",
)
_STATUS: Final = {s.value[0]: s for s in grpc.StatusCode}
_MISSING, _NAMELESS = "Missing ModelSpec", "ModelSpec has no name specified."
_NO_KEY: Final = (Code.FAILED_PRECONDITION, 'Serving signature key "{}" not found.')
_NOT_IN_GRAPH: Final = (Code.INVALID_ARGUMENT, "Requested signature not found in model graph: {}")
_LONGEST: Final = 4000  # bytes of an error message as it is sent; clients take 8 KiB with all that goes along
_INPUTS: Final = 2  # a PredictRequest's, by name
_NOTHING: Final[Mapping[str, Any]] = {}
_SIGNATURES: Final = "signature_def"  # the only metadata there is


def message(name: str) -> Any:
    """Return the class of one of TensorFlow Serving's messages."""
    return messages.message_class(f"tensorflow.serving.{name}")


class TensorFlowServing:
    """The three services.

    Args:
        core: what answers.
        as_content: whether numbers in replies go into ``tensor_content`` rather than into lists.
        max_expansion: bytes that a request's tensors may take beyond those that were sent.
    """

    def __init__(self, core: Core, *, as_content: bool = False, max_expansion: int = 1 << 28) -> None:
        self._core, self._as_content, self._max_expansion = core, as_content, max_expansion

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return what a `grpc.aio.Server` takes."""
        return [
            service(SERVICES[0], self._core, {
                "Predict": (self._measured("predict", self._predict), "PredictRequest"),
                "Classify": (self._measured("classify", self._classify), "ClassificationRequest"),
                "Regress": (self._measured("regress", self._regress), "RegressionRequest"),
                "MultiInference": (self._multi_inference, "MultiInferenceRequest"),
                "GetModelMetadata": (self._metadata, "GetModelMetadataRequest"),
            }, {"Predict": functools.partial(contents_apart, number=_INPUTS)}),
            service(SERVICES[1], self._core, {
                "GetModelStatus": (self._model_status, "GetModelStatusRequest"),
                "HandleReloadConfigRequest": (self._reload, "ReloadConfigRequest"),
            }),
            service(SERVICES[2], self._core, {
                "SessionRun": (self._measured("session_run", self._session_run), "SessionRunRequest"),
            }),
        ]  # fmt: skip

    def _deadline(self, context: Any) -> float:
        remaining = context.time_remaining()
        return self._core.deadline(remaining)

    def _measured(self, method: str, handler: Handler) -> Any:
        async def measured(request: Any, context: Any, *apart: Any) -> bytes:
            with self._core.metrics.request(request.model_spec.name, method, "grpc"):
                return await handler(request, context, *apart)

        return measured

    async def _predict(self, request: Any, context: Any, apart: Mapping[str, memoryview]) -> bytes:
        name = request.model_spec.signature_name

        def read(servable: Servable) -> Any:
            return servable.signature(name, _NO_KEY), self._arrays(request.inputs.items(), apart)

        answer = await self._core.predict(
            _asked(request), read, tuple(request.output_filter), deadline=self._deadline(context)
        )
        parts: list[Any] = []
        for key, value in answer.outputs.items():
            parts += tensor_entry(1, key, value, as_content=self._as_content)
        return b"".join((*parts, _encoded_spec(answer.model, answer.version, answer.signature)))

    def _encoded(self, value: Any) -> bytes:
        return encode_tensor(value, as_content=self._as_content)

    def _arrays(self, tensors: Iterable[tuple[str, Any]], apart: Mapping[str, memoryview] = _NOTHING) -> dict[str, Any]:
        """Return a request's tensors, none of which is made before it is known what all of them will take.

        Args:
            tensors: TensorProtos by name.
            apart: the contents of those that were cut out of the message.
        """
        left = self._max_expansion
        given = [(key, proto, apart.get(key, proto.tensor_content)) for key, proto in tensors]
        for key, proto, content in given:
            left -= tensor_proto.expansion(proto, content)
            if left < 0:
                raise invalid(
                    f"input `{key}` is too large for what was sent of it",
                    expected=f"values for every element, or at most {self._max_expansion} bytes of repeated ones",
                    found=str([d.size for d in proto.tensor_shape.dim[: tensor_proto.MAX_RANK]]),
                )
        return {key: _decoded(proto, content, f"of input `{key}`") for key, proto, content in given}

    async def _classify(self, request: Any, context: Any) -> bytes:
        found = await self._core.classify(
            _asked(request),
            request.model_spec.signature_name,
            serialized(request.input),
            deadline=self._deadline(context),
        )
        out = message("ClassificationResponse")(result=classification(found.rows))
        _name(out.model_spec, found)
        return bytes(out.SerializeToString())

    async def _regress(self, request: Any, context: Any) -> bytes:
        found = await self._core.regress(
            _asked(request),
            request.model_spec.signature_name,
            serialized(request.input),
            deadline=self._deadline(context),
        )
        out = message("RegressionResponse")(result=regression(found.rows))
        _name(out.model_spec, found)
        return bytes(out.SerializeToString())

    async def _multi_inference(self, request: Any, context: Any) -> bytes:
        deadline = self._deadline(context)
        names = {t.model_spec.name for t in request.tasks}
        if not request.tasks:
            raise invalid(_NAMELESS)
        if not all(names):
            raise invalid("Found ModelSpec with an empty model name.")
        if len(names) > 1:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        signatures = [t.model_spec.signature_name or DEFAULT_SIGNATURE for t in request.tasks]
        for i, signature in enumerate(signatures):
            if signature in signatures[:i]:
                raise invalid(f"Duplicate evaluation of signature: {signature}")
        examples = serialized(request.input)
        out = message("MultiInferenceResponse")()
        found: list[Classes | Values] = await asyncio.gather(
            *(self._task(t, examples, deadline) for t in request.tasks)
        )
        for each in found:
            result = out.results.add()
            _name(result.model_spec, each)
            if isinstance(each, Classes):
                result.classification_result.CopyFrom(classification(each.rows))
            else:
                result.regression_result.CopyFrom(regression(each.rows))
        return bytes(out.SerializeToString())

    async def _task(self, task: Any, examples: list[bytes], deadline: float) -> Classes | Values:
        spec, signature = _spec(task.model_spec), task.model_spec.signature_name
        if task.method_name == CLASSIFY:
            return await self._core.classify(spec, signature, examples, deadline=deadline, absent=_NOT_IN_GRAPH)
        if task.method_name == REGRESS:
            return await self._core.regress(spec, signature, examples, deadline=deadline, absent=_NOT_IN_GRAPH)
        raise RequestError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")

    async def _metadata(self, request: Any, context: Any) -> bytes:
        asked = _asked(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != _SIGNATURES:
                raise invalid(f"Metadata field {field} is not supported", expected=_SIGNATURES)
        with self._core.catalog.lease(asked) as servable:
            out = message("GetModelMetadataResponse")()
            out.model_spec.name = servable.name
            out.model_spec.version.value = servable.version
            out.metadata[_SIGNATURES].Pack(servable.signature_defs)
            return bytes(out.SerializeToString())

    async def _model_status(self, request: Any, context: Any) -> bytes:
        out = message("GetModelStatusResponse")()
        for status in self._core.catalog.statuses(_asked(request, nameless=True)):
            version = out.model_version_status.add(version=status.version, state=status.phase)
            version.status.error_code, version.status.error_message = status.code, status.message
        return bytes(out.SerializeToString())

    async def _reload(self, request: Any, context: Any) -> bytes:
        out = message("ReloadConfigResponse")()
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        configs = config.model_configs(request.config, where="in the request")
        await self._core.reconfigure(configs, context.time_remaining())
        return bytes(out.SerializeToString())

    async def _session_run(self, request: Any, context: Any) -> bytes:
        if request.tensor_name_is_alias:
            raise RequestError(Code.UNIMPLEMENTED, "tensor_name_is_alias is not supported: name tensors")
        fetches = [output_name(name) for name in request.fetch]
        targets = list(request.target)

        def read(servable: Servable) -> Any:
            feeds = self._arrays((t.name, t.tensor) for t in request.feed)
            return [fetches, [t.partition(":")[0] for t in targets]], feeds

        answer = await self._core.session_run(_asked(request), read, deadline=self._deadline(context))
        out = message("SessionRunResponse")()
        _name(out.model_spec, answer)
        values: Any = answer.outputs
        for name, value in zip(request.fetch, values[0], strict=True):
            array = np.asarray(value, object) if isinstance(value, bytes) else np.asarray(value)
            out.tensor.add(name=name).tensor.ParseFromString(self._encoded(array))
        return bytes(out.SerializeToString())


def service(
    name: str,
    core: Core,
    methods: Mapping[str, tuple[Handler, str]],
    cuts: Mapping[str, Callable[[bytes], tuple[bytes, Any]]] = _NOTHING,
) -> Any:
    """Return the handler of a service whose methods take a message and return the bytes of one.

    Args:
        name: the service's full name.
        core: what answers: it hears who asks, and says how many bytes of messages there may be at the same time.
        methods: for each, what answers and the name of the request's message, in the service's package.
        cuts: for those of them whose messages are large, what takes the bulk out of one; it is their third argument.
    """
    package = name.rpartition(".")[0]
    found: dict[str, Any] = {
        method: grpc.unary_unary_rpc_method_handler(
            _answering(handler, messages.message_class(f"{package}.{request}"), method, core, cuts.get(method))
        )
        for method, (handler, request) in methods.items()
    }
    return grpc.method_handlers_generic_handler(name, found)


def _answering(
    handler: Handler, kind: Any, method: str, core: Core, cut: Callable[[bytes], tuple[bytes, Any]] | None
) -> Callable[[bytes, Any], Awaitable[bytes]]:
    """Read a handler's messages, and turn what it raises into a gRPC status."""
    budget, callers = core.budget, core.callers

    async def answer(data: bytes, context: Any) -> bytes:
        callers.heard(context.peer())
        try:
            with budget.holding() as holding:
                holding.take(len(data))
                if budget.pause is not None:
                    await budget.pause.wait()
                if cut is None:
                    return await handler(_parsed(kind, data), context)
                rest, apart = cut(data)
                return await handler(_parsed(kind, rest), context, apart)
        except Exception as e:  # whatever it is, the client gets a status, and the server goes on
            code = code_of(e)
            if code is Code.INTERNAL:
                log.exception("%s failed", method)
            await context.abort(_STATUS[code], _shortened(Redacted()(e)))
            raise AssertionError from e  # `abort` has raised

    return answer


def _shortened(told: str) -> str:
    """Return a message as short as gRPC takes it: what is not ASCII is sent as three characters a byte."""
    if told.isascii():
        return told
    sent = 0
    for kept, character in enumerate(told):
        sent += 1 if character.isascii() else 3 * len(character.encode("utf-8", "surrogatepass"))
        if sent > _LONGEST:
            return told[:kept] + "..."
    return told


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise invalid(f"the request is no {kind.DESCRIPTOR.name} message") from None


def _decoded(proto: Any, content: bytes | memoryview, where: str) -> Any:
    try:
        array = tensor_proto.to_array(proto, where=where, content=content)
        return array if array.flags.aligned else array.copy()
    except ColdframeError as e:
        raise invalid(str(e)) from e


def _asked(request: Any, *, nameless: bool = False) -> ModelSpec:
    """Return which model a request is for; `nameless`: a name may be missing, since no model has an empty one."""
    if not request.HasField("model_spec"):
        raise invalid(_MISSING)
    return _spec(request.model_spec, nameless=nameless)


def _spec(proto: Any, *, nameless: bool = False) -> ModelSpec:
    if not proto.name and not nameless:
        raise invalid(_NAMELESS)
    choice = proto.WhichOneof("version_choice")
    return ModelSpec(
        proto.name,
        proto.version.value if choice == "version" else None,
        proto.version_label if choice == "version_label" else None,
    )


def _name(proto: Any, found: Answer | Classes | Values) -> None:
    proto.name, proto.signature_name = found.model, found.signature
    proto.version.value = found.version


@functools.lru_cache(256)
def _encoded_spec(model: str, version: int, signature: str) -> bytes:
    """Return a PredictResponse's field 2, a ModelSpec: 1 name, 2 version { 1 value }, 3 signature_name."""
    return bytes_field(
        2,
        bytes_field(1, model.encode()) + bytes_field(2, integer_field(1, version)) + bytes_field(3, signature.encode()),
    )
