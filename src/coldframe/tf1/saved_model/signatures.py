"""SignatureDefs: which tensors of a graph are the inputs and outputs of a model, and what to call them."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Final

from coldframe.dtypes import float32, int64, string
from coldframe.formats import messages
from coldframe.formats.tensor_proto import shape_proto
from coldframe.tf1.framework.convert import SparseTensor
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.saved_model import names as c


def build_tensor_info(tensor: Any) -> Any:
    """Return the ``TensorInfo`` of a tensor or a sparse tensor."""
    if isinstance(tensor, SparseTensor):
        info = _info("", tensor.values.dtype, tensor.get_shape())
        info.ClearField("name")
        info.coo_sparse.values_tensor_name = tensor.values.name
        info.coo_sparse.indices_tensor_name = tensor.indices.name
        info.coo_sparse.dense_shape_tensor_name = tensor.dense_shape.name
        return info
    tensor = tensor._as_graph_element() if hasattr(tensor, "_as_graph_element") else tensor
    if not isinstance(tensor, Tensor):
        raise TypeError(f"build_tensor_info takes a tensor, not {tensor!r}")
    return _info(tensor.name, tensor.dtype, tensor.get_shape())


def _info(name: str, dtype: Any, shape: Any) -> Any:
    dims = None if shape.ndims is None else shape.as_list()
    return messages.TensorInfo(name=name, dtype=dtype.enum, tensor_shape=shape_proto(dims))


def get_tensor_from_tensor_info(tensor_info: Any, graph: Any = None, import_scope: str | None = None) -> Any:
    """Return the tensor of a graph (the default one) that a ``TensorInfo`` means."""
    from coldframe.tf1.framework.graph import get_default_graph

    chosen = graph or get_default_graph()

    def find(name: str) -> Any:
        return chosen.get_tensor_by_name(f"{import_scope}/{name}" if import_scope else name)

    if tensor_info.WhichOneof("encoding") == "coo_sparse":
        s = tensor_info.coo_sparse
        return SparseTensor(find(s.indices_tensor_name), find(s.values_tensor_name), find(s.dense_shape_tensor_name))
    return find(tensor_info.name)


def build_signature_def(
    inputs: Mapping[str, Any] | None = None, outputs: Mapping[str, Any] | None = None, method_name: str | None = None
) -> Any:
    """Return a ``SignatureDef`` of TensorInfos by key."""
    made = messages.SignatureDef()
    for key, info in (inputs or {}).items():
        made.inputs[key].MergeFromString(info.SerializeToString())
    for key, info in (outputs or {}).items():
        made.outputs[key].MergeFromString(info.SerializeToString())
    if method_name is not None:
        made.method_name = method_name
    return made


def predict_signature_def(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
    """Return the signature of a model that takes and gives tensors, by key."""
    if not inputs:
        raise ValueError("Prediction `inputs` cannot be None or empty.")
    if not outputs:
        raise ValueError("Prediction `outputs` cannot be None or empty.")
    infos = [{k: build_tensor_info(t) for k, t in side.items()} for side in (inputs, outputs)]
    return build_signature_def(infos[0], infos[1], c.PREDICT_METHOD_NAME)


def classification_signature_def(examples: Any, classes: Any, scores: Any) -> Any:
    """Return the signature of a model that classifies serialized examples; one of `classes`, `scores` may be None."""
    if examples is None:
        raise ValueError("Classification `examples` cannot be None.")
    if classes is None and scores is None:
        raise ValueError("Classification `classes` and `scores` cannot both be None.")
    _require(examples, string, "Classification input tensors must be of type string.")
    outputs = {}
    if classes is not None:
        _require(classes, string, "Classification classes must be of type string Tensor.")
        outputs[c.CLASSIFY_OUTPUT_CLASSES] = build_tensor_info(classes)
    if scores is not None:
        _require(scores, float32, "Classification scores must be a float tensor.")
        outputs[c.CLASSIFY_OUTPUT_SCORES] = build_tensor_info(scores)
    return build_signature_def({c.CLASSIFY_INPUTS: build_tensor_info(examples)}, outputs, c.CLASSIFY_METHOD_NAME)


def regression_signature_def(examples: Any, predictions: Any) -> Any:
    """Return the signature of a model that predicts a number for serialized examples."""
    if examples is None or predictions is None:
        raise ValueError("Regression `examples` and `predictions` cannot be None.")
    _require(examples, string, "Regression input tensors must be of type string.")
    _require(predictions, float32, "Regression output tensors must be of type float.")
    outputs = {c.REGRESS_OUTPUTS: build_tensor_info(predictions)}
    return build_signature_def({c.REGRESS_INPUTS: build_tensor_info(examples)}, outputs, c.REGRESS_METHOD_NAME)


def _require(tensor: Any, dtype: Any, message: str) -> None:
    if tensor.dtype is not dtype:
        raise ValueError(f"{message} Found {tensor.dtype.name}")


def is_valid_signature(signature_def: Any) -> bool:
    """Whether a signature has the inputs and outputs that its method needs, of the right dtypes."""
    inputs, outputs = signature_def.inputs, signature_def.outputs
    method = signature_def.method_name
    if method == c.PREDICT_METHOD_NAME:
        return bool(inputs) and bool(outputs)
    if method not in (c.CLASSIFY_METHOD_NAME, c.REGRESS_METHOD_NAME) or set(inputs) != {"inputs"}:
        return False
    if inputs["inputs"].dtype != string.enum:
        return False
    if method == c.REGRESS_METHOD_NAME:
        return set(outputs) == {c.REGRESS_OUTPUTS} and outputs[c.REGRESS_OUTPUTS].dtype == float32.enum
    kinds = {c.CLASSIFY_OUTPUT_CLASSES: (string, int64), c.CLASSIFY_OUTPUT_SCORES: (float32,)}
    return bool(outputs) and all(k in kinds and outputs[k].dtype in [d.enum for d in kinds[k]] for k in outputs)


signature_def_utils: Final = types.SimpleNamespace(
    build_signature_def=build_signature_def, predict_signature_def=predict_signature_def,
    classification_signature_def=classification_signature_def, regression_signature_def=regression_signature_def,
    is_valid_signature=is_valid_signature,
)  # fmt: skip
utils: Final = types.SimpleNamespace(
    build_tensor_info=build_tensor_info, get_tensor_from_tensor_info=get_tensor_from_tensor_info
)

__all__ = [
    "build_signature_def", "build_tensor_info", "classification_signature_def", "get_tensor_from_tensor_info",
    "is_valid_signature", "predict_signature_def", "regression_signature_def", "signature_def_utils", "utils",
]  # fmt: skip
