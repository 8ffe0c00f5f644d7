"""Every op that TensorFlow differentiates is differentiated, and what is not is told apart from what is missing."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import pytest
from tensorflow.python.framework.ops import gradient_registry

from coldframe.graph.signatures import ArgDef, OpSignature, signature
from coldframe.ops import table
from coldframe.ops.table import Op
from gradient_rows import ALL, OLD

# Ops that TensorFlow registers a rule for, which raises, or runs the program's Python backwards, or is not here.
_NEVER = {
    "SparseDenseCwiseAdd", "SparseSparseMaximum", "SparseSparseMinimum", "EagerPyFunc",
    "StatelessParameterizedTruncatedNormal",
}  # fmt: skip
# Ops that call functions: their rules build functions, so they live with the graph API.
_FUNCTIONAL = {"If", "StatelessIf", "Case", "StatelessCase", "While", "StatelessWhile"}
# Ops through which no gradient flows and of which TensorFlow says nothing, or says so by a rule that gives none.
_SAID_HERE = {
    "IsNan", "IsInf", "IsFinite", "RandomUniformInt", "LoopCond", "HostConst", "IsVariableInitialized",
    "Restore", "RestoreSlice", "RestoreV2", "FractionalAvgPoolGrad", "FractionalMaxPoolGrad", "ScaleAndTranslateGrad",
    "StatelessSampleDistortedBoundingBox", "RngReadAndSkip", "StatefulStandardNormalV2", "StatefulTruncatedNormal",
    "StatefulUniform", "StatefulUniformFullInt", "StatefulUniformInt", "NonDeterministicInts", "RandomPoisson",
    "RandomPoissonV2", "RaggedCross", "DecodeJSONExample", "BoostedTreesBucketize",
    "_ListToArray", "_ArrayToList", "DeviceIndex", "CudnnRNNBackprop", "CudnnRNNBackpropV2", "CudnnRNNBackpropV3",
    "StatefulStandardNormal",
    # Ops that TensorFlow has no more.
    "CompareAndBitpack", "ResamplerGrad", "SparseFeatureCross", "SparseFeatureCrossV2",
}  # fmt: skip
# Rules that need more than one node: tested in `test_gradients_flow`, and with loops and arrays.
_ELSEWHERE = {"PreventGradient", "RaggedTensorFromVariant", "RaggedTensorToVariant", "RefIdentity", "GuaranteeConst"}
# Other names of Identity and Cast, whose kernels in TensorFlow want a debugger, or are its executor's own.
_OTHER_NAMES = {
    "Copy", "CopyHost", "DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "DebugGradientIdentity",
    "DebugGradientRefIdentity", "_HostCast",
}  # fmt: skip
# Modules that register gradients when they are imported.
_MODULES = (
    "ctc_ops",
    "list_ops",
    "map_ops",
    "nn_grad",
    "rnn_grad",
    "sparse_grad",
    "image_ops",
    "resource_variable_ops",
    "sets",
)

_FAMILIES = {  # modules whose rules are in `coldframe.ops.backward`
    f"coldframe.ops.{m}"
    for m in [
        "math",
        "compare",
        "bitwise",
        "cast",
        "reduction",
        "linear",
        "einsum",
        "shape",
        "layout",
        "slicing",
        "gather",
        "segment",
        "counting",
        "ranking",
        "linalg",
        "diagonal",
        "special",
        "integrals",
        "sparse",
        "sparse_math",
        "ragged",
        "signal",
        "sets",
        "control",
        "variables",
        "random",
        "stateless",
        "gradients",
    ]
}


@pytest.fixture(scope="module")
def registered() -> Mapping[str, Any]:
    """TensorFlow's rules by op; None where it says that an op has none."""
    for module in _MODULES:
        importlib.import_module(f"tensorflow.python.ops.{module}")
    return {name: gradient_registry.lookup(name) for name in gradient_registry.list()}


def has_gradient(op: Op) -> bool:
    return "gradient" in op.rules or op.name in _FUNCTIONAL


def may_float(sig: OpSignature, arg: ArgDef) -> bool:
    """Whether gradients can flow through an input or output."""
    if arg.type is not None:
        return arg.type.kind in "fc"
    allowed = sig.attrs[str(arg.type_attr or arg.type_list_attr)].allowed
    return not allowed or any(d.kind in "fc" for d in allowed)


def carries(op: Op) -> bool:
    """Whether numbers that float go in and out."""
    sig = signature(op.name)
    return any(may_float(sig, a) for a in sig.inputs) and any(may_float(sig, a) for a in sig.outputs)


def test_what_tensorflow_differentiates_is_differentiated(registered: Mapping[str, Any]) -> None:
    ops = table()
    wanted = {name for name, rule in registered.items() if rule is not None and name in ops}
    assert len(wanted) > 250
    assert {name for name in wanted if not (has_gradient(ops[name]) or ops[name].no_gradient)} == _NEVER


def test_what_has_no_gradient_says_so(registered: Mapping[str, Any]) -> None:
    ops = table()
    wanted = {name for name, rule in registered.items() if rule is None and name in ops}
    assert {name for name in wanted if carries(ops[name]) and not ops[name].no_gradient} == {"ReduceDataset"}
    said = {name for name, op in ops.items() if op.no_gradient}
    assert {n for n in said - wanted if ops[n].role != "update"} == _SAID_HERE


def test_no_op_says_both() -> None:
    assert [op.name for op in table().values() if op.no_gradient and has_gradient(op)] == []


def test_every_rule_of_these_families_is_run() -> None:
    run = {row.op for row in [*ALL, *OLD]} | _ELSEWHERE | _OTHER_NAMES
    ours = {n for n, op in table().items() if "gradient" in op.rules and op.defined_in.split(":")[0] in _FAMILIES}
    assert {name for name in ours - run if not name.startswith("Batch")} == set()
