"""The ONNX models that a test makes ONNX Runtime compile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from coldframe.engines import onnxruntime
from coldframe.formats import messages


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Counter[str]]:
    """How many nodes of each op the models have that are compiled from now on."""
    counts: list[Counter[str]] = []
    program = onnxruntime.OnnxProgram

    def counting(model: onnxruntime.OnnxModel, *args: Any, **kwargs: Any) -> Any:
        counts.append(Counter(n.op_type for n in messages.onnx.ModelProto.FromString(model.serialized).graph.node))
        return program(model, *args, **kwargs)

    monkeypatch.setattr(onnxruntime, "OnnxProgram", counting)
    return counts


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> list[Counter[str]]:
    """As `compiled`, with the nodes of loops' bodies and of branches."""
    counts: list[Counter[str]] = []
    program = onnxruntime.OnnxProgram

    def counting(model: onnxruntime.OnnxModel, *args: Any, **kwargs: Any) -> Any:
        counts.append(Counter(_ops(messages.onnx.ModelProto.FromString(model.serialized).graph)))
        return program(model, *args, **kwargs)

    monkeypatch.setattr(onnxruntime, "OnnxProgram", counting)
    return counts


def _ops(graph: Any) -> Iterator[str]:
    for n in graph.node:
        yield n.op_type
        for a in n.attribute:
            if a.HasField("g"):
                yield from _ops(a.g)
