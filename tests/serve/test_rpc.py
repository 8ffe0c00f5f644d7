"""TensorFlow Serving's gRPC API, asked by the client that TensorFlow Serving publishes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
    session_service_pb2,
)

from serving import Running, half_plus, one_model, running

CODES = grpc.StatusCode


@pytest.fixture(scope="module")
def channel(served: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.rpc) as found:
        yield found


@pytest.fixture(scope="module")
def prediction(channel: grpc.Channel) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel: grpc.Channel) -> Any:
    return model_service_pb2_grpc.ModelServiceStub(channel)


def predict(signature: str = "", outputs: tuple[str, ...] = (), name: str = "m", **inputs: Any) -> Any:
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name, request.model_spec.signature_name = name, signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(value if isinstance(value, tf.make_tensor_proto([1]).__class__) else proto(value))
    return request


def proto(value: Any) -> Any:
    array = np.asarray(value)
    return tf.make_tensor_proto(array.astype(np.float32) if array.dtype == np.float64 else array)


def on_examples(request: Any, signature: str, *values: float, context: float | None = None) -> Any:
    request.model_spec.name, request.model_spec.signature_name = "m", signature
    kind = request.input.example_list if context is None else request.input.example_list_with_context
    for value in values:
        kind.examples.add().features.feature["x"].float_list.value.append(value)
    if context is not None:
        kind.examples.add()
        kind.context.features.feature["x"].float_list.value.append(context)
    return request


def refused(call: Any, request: Any, **more: Any) -> tuple[Any, str]:
    with pytest.raises(grpc.RpcError) as e:
        call(request, **more)
    return e.value.code(), e.value.details()


def test_predict(prediction: Any) -> None:
    reply = prediction.Predict(predict(x=[1.0, 2.0, 5.0]))
    assert list(reply.outputs["y"].float_val) == [2.5, 3.0, 4.5]
    assert tf.make_ndarray(reply.outputs["y"]).tolist() == [2.5, 3.0, 4.5]
    spec = reply.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("m", 2, "serving_default")


def test_predict_other_dtypes_and_some_outputs(prediction: Any) -> None:
    reply = prediction.Predict(predict("both", x=[[1.0]], n=np.array([[-1, 5]], np.int32)))
    assert {k: tf.make_ndarray(v).tolist() for k, v in reply.outputs.items()} == {"y": [[2.5]], "total": [4]}
    assert list(reply.outputs["total"].int_val) == [4]
    reply = prediction.Predict(predict("both", ("total",), x=[[1.0]], n=np.array([[2, 5]], np.int32)))
    assert list(reply.outputs) == ["total"]
    reply = prediction.Predict(predict("text", text=[b"a\xff", b""]))
    assert list(reply.outputs["upper"].string_val) == [b"A\xff", b""]
    assert prediction.Predict(predict(x=np.zeros((0, 1), np.float32))).outputs["y"].tensor_shape.dim[0].size == 0


def test_version_and_label(prediction: Any) -> None:
    request = predict(x=[0.0])
    request.model_spec.version.value = 2
    assert list(prediction.Predict(request).outputs["y"].float_val) == [2.0]
    request.model_spec.version.value = 7
    assert refused(prediction.Predict, request)[0] is CODES.NOT_FOUND
    request.model_spec.version_label = "stable"
    assert refused(prediction.Predict, request) == (
        CODES.INVALID_ARGUMENT, "Unrecognized servable version label: stable",
    )  # fmt: skip


def test_refusals(prediction: Any) -> None:
    assert refused(prediction.Predict, predict(name="other", x=[1.0]))[0] is CODES.NOT_FOUND
    assert refused(prediction.Predict, predict(name="", x=[1.0])) == (
        CODES.INVALID_ARGUMENT, "ModelSpec has no name specified.",
    )  # fmt: skip
    assert refused(prediction.Predict, predict("sig", x=[1.0]))[0] is CODES.FAILED_PRECONDITION
    code, told = refused(prediction.Predict, predict(z=[1.0]))
    assert code is CODES.INVALID_ARGUMENT
    assert told.startswith("input size does not match signature: 1!=1 len({z}) != len({x}). Sent extra: {z}. Missing")
    code, told = refused(prediction.Predict, predict(x=np.array([1], np.int32)))
    assert told == "input `x` does not fit the signature: expected float32[?, 1], found int32[1]"
    code, told = refused(prediction.Predict, predict(outputs=("yy",), x=[1.0]))
    text = "output tensor alias not found in signature: yy Outputs expected to be in the set {y}."
    assert (code, told) == (CODES.INVALID_ARGUMENT, f"{text}\nhint: did you mean `y`?")
    broken = tf.make_tensor_proto(np.zeros(4, np.float32))
    broken.tensor_shape.dim[0].size = 5
    broken.tensor_content = b"123"
    assert refused(prediction.Predict, predict(x=broken))[0] is CODES.INVALID_ARGUMENT
    huge = tf.make_tensor_proto(1.0)
    for _ in range(4):
        huge.tensor_shape.dim.add(size=1 << 10)
    assert refused(prediction.Predict, predict(x=huge))[0] is CODES.INVALID_ARGUMENT


def test_garbage_instead_of_a_message(channel: grpc.Channel) -> None:
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as e:
        call(b"\xff\xff\xff")
    assert e.value.code() is CODES.INVALID_ARGUMENT
    assert e.value.details() == "the request is no PredictRequest message"


def test_classify_and_regress(prediction: Any) -> None:
    reply = prediction.Classify(on_examples(classification_pb2.ClassificationRequest(), "classify", 1.0, 3.0))
    assert [[(c.label, c.score) for c in r.classes] for r in reply.result.classifications] == [
        [("2", 2.5)],
        [("3", 3.5)],
    ]
    reply = prediction.Regress(on_examples(regression_pb2.RegressionRequest(), "regress", 1.0, 3.0))
    assert [r.value for r in reply.result.regressions] == [2.5, 3.5]
    request = on_examples(regression_pb2.RegressionRequest(), "regress", 1.0, context=4.0)
    assert [r.value for r in prediction.Regress(request).result.regressions] == [2.5, 4.0]
    assert refused(prediction.Regress, on_examples(regression_pb2.RegressionRequest(), "regress")) == (
        CODES.INVALID_ARGUMENT, "Input is empty.",
    )  # fmt: skip
    request = on_examples(regression_pb2.RegressionRequest(), "classify", 1.0)
    assert refused(prediction.Regress, request)[0] is CODES.INVALID_ARGUMENT


def test_multi_inference(prediction: Any) -> None:
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in (("regress", "regress"), ("classify", "classify")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "m", signature
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(1.0)
    first, second = prediction.MultiInference(request).results
    assert first.regression_result.regressions[0].value == 2.5
    assert second.classification_result.classifications[0].classes[0].label == "2"
    request.tasks[1].model_spec.signature_name = "regress"
    assert "Duplicate evaluation" in refused(prediction.MultiInference, request)[1]
    request.tasks[1].model_spec.name = "n"
    assert "same model name" in refused(prediction.MultiInference, request)[1]
    request.ClearField("tasks")
    assert refused(prediction.MultiInference, request)[0] is CODES.INVALID_ARGUMENT


def test_metadata_and_status(prediction: Any, models: Any) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "m"
    reply = prediction.GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    reply.metadata["signature_def"].Unpack(signatures)
    assert reply.model_spec.version.value == 2
    assert signatures.signature_def["serving_default"].inputs["x"].name == "x:0"
    request.metadata_field[:] = ["other"]
    assert refused(prediction.GetModelMetadata, request)[0] is CODES.INVALID_ARGUMENT
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "m"
    (version,) = models.GetModelStatus(status).model_version_status
    assert (version.version, version.state, version.status.error_code) == (2, version.AVAILABLE, 0)
    status.model_spec.name = "n"
    assert refused(models.GetModelStatus, status)[0] is CODES.NOT_FOUND


def test_session_run(channel: grpc.Channel) -> None:
    kind = session_service_pb2
    call = channel.unary_unary(
        "/tensorflow.serving.SessionService/SessionRun",
        request_serializer=kind.SessionRunRequest.SerializeToString,
        response_deserializer=kind.SessionRunResponse.FromString,
    )
    request = kind.SessionRunRequest(fetch=["y:0", "a/read:0"])
    request.model_spec.name = "m"
    request.feed.add(name="x:0").tensor.CopyFrom(tf.make_tensor_proto([1.0, 4.0]))
    reply = call(request)
    assert {t.name: tf.make_ndarray(t.tensor).tolist() for t in reply.tensor} == {"y:0": [2.5, 4.0], "a/read:0": 0.5}
    request.fetch[:] = ["y", "a/read:0"]  # an operation stands for its first output
    assert [(t.name, tf.make_ndarray(t.tensor).tolist()) for t in call(request).tensor] == [
        ("y", [2.5, 4.0]), ("a/read:0", 0.5),
    ]  # fmt: skip
    request.fetch[:] = ["yy:0"]
    code, told = refused(call, request)
    assert code is CODES.INVALID_ARGUMENT
    assert "`y" in told
    request.fetch[:] = ["y:0"]
    for wrong in (np.float64([1.0, 4.0]), np.int32([1, 4]), ["1"]):  # a session of TensorFlow converts none of them
        request.feed[0].tensor.CopyFrom(tf.make_tensor_proto(wrong))
        code, told = refused(call, request)
        assert code is CODES.INVALID_ARGUMENT
        assert "the value fed to `x:0` has the wrong dtype" in told


def test_deadlines(prediction: Any) -> None:
    large = predict(x=[1.0] * 1_000_000)  # a small one may be answered before gRPC's clock ticks
    assert refused(prediction.Predict, large, timeout=1e-6)[0] is CODES.DEADLINE_EXCEEDED


def test_the_clients_deadline_counts_before_the_servers(base: Path) -> None:
    large = predict(x=[1.0] * 1_000_000)
    with running(one_model(base, timeout=1e-6)) as server, grpc.insecure_channel(server.rpc) as channel:
        prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert refused(prediction.Predict, large)[0] is CODES.DEADLINE_EXCEEDED
        for timeout in (60, 1e8):
            assert len(prediction.Predict(large, timeout=timeout).outputs["y"].float_val) == 1_000_000


def test_reload_by_rpc(tmp_path: Path) -> None:
    for name, offset in (("a", 1.0), ("b", 5.0)):
        (tmp_path / name).mkdir()
        half_plus(tmp_path / name / "3", offset)
    with running(one_model(tmp_path / "a")) as server, grpc.insecure_channel(server.rpc) as channel:
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = model_management_pb2.ReloadConfigRequest()
        config = request.config.model_config_list.config.add(name="b", base_path=str(tmp_path / "b"))
        config.version_labels["stable"] = 3
        assert not models.HandleReloadConfigRequest(request).status.error_code
        code, message = refused(models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest())
        assert (code, "Only ModelConfigList is currently supported" in message) == (CODES.INVALID_ARGUMENT, True)
        asked = predict(name="b", x=[0.0])
        asked.model_spec.version_label = "stable"
        assert list(prediction.Predict(asked).outputs["y"].float_val) == [5.0]
        assert refused(prediction.Predict, predict(name="m", x=[0.0]))[0] is CODES.NOT_FOUND  # it replaces all
        config.version_labels["stable"] = 4
        code, message = refused(models.HandleReloadConfigRequest, request)
        assert code is CODES.FAILED_PRECONDITION
        assert "Request to assign label to version 4 of model b, which is not currently available" in message
        assert list(prediction.Predict(asked).outputs["y"].float_val) == [5.0]  # the label is as it was


def test_a_reload_says_which_new_models_do_not_serve(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name / "3").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    half_plus(tmp_path / "c" / "1")
    with running(one_model(tmp_path / "c")) as server, grpc.insecure_channel(server.rpc) as channel:
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        request = model_management_pb2.ReloadConfigRequest()
        configs = request.config.model_config_list.config
        for name, path in (("a", "a"), ("b", "none"), ("c", "c")):
            configs.add(name=name, base_path=str(tmp_path / path))
        code, told = refused(models.HandleReloadConfigRequest, request)
        assert (code, told.partition(" due to error: ")[0]) == (
            CODES.UNKNOWN, "2 model(s) did not become available: {{{name: a version: 3}",
        )  # fmt: skip
        assert "NOT_FOUND: no model in <model>" in told
        assert "{name: b} has no versions in its base path" in told
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "c"  # it is as the request says all the same
        assert models.GetModelStatus(status).model_version_status[0].state == 30
        configs[0].base_path = "gs://bucket/a"
        code, told = refused(models.HandleReloadConfigRequest, request)
        assert (code, "base paths at URLs are not read" in told) == (CODES.UNIMPLEMENTED, True)


def test_content_instead_of_lists(base: Path) -> None:
    with running(one_model(base, as_content=True)) as server, grpc.insecure_channel(server.rpc) as channel:
        reply = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(predict(x=[1.0, 2.0]))
        assert reply.outputs["y"].tensor_content == np.array([2.5, 3.0], np.float32).tobytes()
