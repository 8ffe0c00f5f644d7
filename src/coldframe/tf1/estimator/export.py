"""What is exported for serving: receivers of inputs, and outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from coldframe.tf1.shape_ops import placeholder


@dataclass(frozen=True)
class ServingInputReceiver:
    """Features for the model, and the tensors that a request feeds."""

    features: Any
    receiver_tensors: Any
    receiver_tensors_alternatives: Any = None


@dataclass(frozen=True)
class PredictOutput:
    """Outputs of any names."""

    outputs: Any


@dataclass(frozen=True)
class ClassificationOutput:
    """Scores, classes, or both."""

    scores: Any = None
    classes: Any = None


@dataclass(frozen=True)
class RegressionOutput:
    """A number per example."""

    value: Any


def build_raw_serving_input_receiver_fn(features: Any, default_batch_size: int | None = None) -> Callable[[], Any]:
    """Return a function that makes a placeholder for each feature."""

    def receiver() -> ServingInputReceiver:
        made = {
            name: placeholder(t.dtype, [default_batch_size, *t.shape.as_list()[1:]], name=t.op.name)
            for name, t in features.items()
        }  # fmt: skip
        return ServingInputReceiver(made, made)

    return receiver


def build_parsing_serving_input_receiver_fn(
    feature_spec: dict[str, Any], default_batch_size: int | None = None
) -> Callable[[], Any]:
    """Return a function that makes a placeholder for serialized Examples, and parses them."""

    def receiver() -> ServingInputReceiver:
        from coldframe import dtypes
        from coldframe.tf1.parsing_ops import parse_example

        serialized = placeholder(dtypes.string, [default_batch_size], name="input_example_tensor")
        return ServingInputReceiver(parse_example(serialized, feature_spec), {"examples": serialized})

    return receiver


def outputs_of(output: Any) -> tuple[str, dict[str, Any]]:
    """Return a signature's method name and tensors by name."""
    if isinstance(output, RegressionOutput):
        return "tensorflow/serving/regress", {"outputs": output.value}
    if isinstance(output, ClassificationOutput):
        named = {"scores": output.scores, "classes": output.classes}
        return "tensorflow/serving/classify", {k: v for k, v in named.items() if v is not None}
    values = output.outputs if isinstance(output, PredictOutput) else output
    return "tensorflow/serving/predict", values if isinstance(values, dict) else {"output": values}


__all__ = [
    "ClassificationOutput", "PredictOutput", "RegressionOutput", "ServingInputReceiver",
    "build_parsing_serving_input_receiver_fn", "build_raw_serving_input_receiver_fn",
]  # fmt: skip
