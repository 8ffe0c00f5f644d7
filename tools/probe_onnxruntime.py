"""Ask ONNX Runtime's CPU provider which dtypes each ONNX op runs on; write src/coldframe/primitives/onnx_kernels.json.

Each probe builds a model of one node and makes a session of it: a kernel that is missing fails there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

OPSET = 21
OUT = Path(__file__).parents[1] / "src/coldframe/primitives/onnx_kernels.json"
TYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9,
    "float16": 10, "float64": 11, "uint32": 12, "uint64": 13, "complex64": 14, "complex128": 15, "bfloat16": 16,
}  # fmt: skip
T = "T"  # stands for the probed dtype
I64 = "int64"

# op -> (input dtypes, input shapes, attributes, number of outputs); an array instead of a dtype is a constant input.
UNARY = [
    "Abs",
    "Neg",
    "Sign",
    "Exp",
    "Log",
    "Sqrt",
    "Reciprocal",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Tanh",
    "Asinh",
    "Acosh",
    "Atanh",
    "Erf",
    "Floor",
    "Ceil",
    "Round",
    "IsNaN",
    "IsInf",
    "Not",
    "BitwiseNot",
    "Relu",
    "Elu",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "LeakyRelu",
    "Identity",
    "Softmax",
    "LogSoftmax",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Mish",
    "Celu",
    "ThresholdedRelu",
    "Shape",
    "Size",
    "NonZero",
]
BINARY = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Max",
    "Min",
    "Equal",
    "Less",
    "LessOrEqual",
    "Greater",
    "GreaterOrEqual",
    "And",
    "Or",
    "Xor",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "PRelu",
]
REDUCE = [
    "ReduceSum",
    "ReduceProd",
    "ReduceMax",
    "ReduceMin",
    "ReduceMean",
    "ReduceSumSquare",
    "ReduceL2",
    "ReduceL1",
    "ReduceLogSumExp",
]

RESIZE = (np.zeros(0, np.float32), np.array([1, 1, 2, 2], np.float32))  # no region of interest; scales


def constant(*values: int, dtype: type = np.int64) -> np.ndarray:
    return np.array(values, dtype)


def table() -> dict[str, tuple[list, list, dict, int]]:
    t: dict[str, tuple[list, list, dict, int]] = {}
    for name in UNARY:
        t[name] = ([T], [(2, 3)], {}, 1)
    for name in BINARY:
        t[name] = ([T, T], [(2, 3), (2, 3)], {}, 1)
    for name in REDUCE:
        t[name] = ([T, constant(1)], [(2, 3), None], {}, 1)
    t |= {
        "Mod": ([T, T], [(2,), (2,)], {}, 1),
        "Mod.fmod": ([T, T], [(2,), (2,)], {"fmod": 1}, 1),
        "BitShift": ([T, T], [(2,), (2,)], {"direction": "LEFT"}, 1),
        "Where": (["bool", T, T], [(2, 3)] * 3, {}, 1),
        "Clip": ([T, T, T], [(2, 3), (), ()], {}, 1),
        "ArgMax": ([T], [(2, 3)], {"axis": 1}, 1),
        "ArgMin": ([T], [(2, 3)], {"axis": 1}, 1),
        "CumSum": ([T, constant(0).reshape(())], [(2, 3), None], {}, 1),
        "MatMul": ([T, T], [(2, 3), (3, 2)], {}, 1),
        "Gemm": ([T, T, T], [(2, 3), (3, 2), (2,)], {}, 1),
        "Einsum": ([T, T], [(2, 3), (3, 2)], {"equation": "ij,jk->ik"}, 1),
        "Conv": ([T, T], [(1, 2, 4, 4), (3, 2, 2, 2)], {}, 1),
        "ConvTranspose": ([T, T], [(1, 2, 4, 4), (2, 3, 2, 2)], {}, 1),
        "MaxPool": ([T], [(1, 2, 4, 4)], {"kernel_shape": [2, 2]}, 1),
        "MaxPool.argmax": ([T], [(1, 2, 4, 4)], {"kernel_shape": [2, 2]}, 2),
        "AveragePool": ([T], [(1, 2, 4, 4)], {"kernel_shape": [2, 2]}, 1),
        "LRN": ([T], [(1, 2, 4, 4)], {"size": 3}, 1),
        "BatchNormalization": ([T] * 5, [(1, 2, 4, 4), (2,), (2,), (2,), (2,)], {}, 1),
        "LayerNormalization": ([T, T], [(2, 3), (3,)], {}, 1),
        "Reshape": ([T, constant(3, 2)], [(2, 3), None], {}, 1),
        "Transpose": ([T], [(2, 3)], {"perm": [1, 0]}, 1),
        "Concat": ([T, T], [(2, 3), (2, 3)], {"axis": 0}, 1),
        "Split": ([T, constant(1, 1)], [(2, 3), None], {"axis": 0}, 2),
        "Slice": ([T, constant(0), constant(1), constant(0), constant(1)], [(2, 3)] + [None] * 4, {}, 1),
        "Pad": ([T, constant(0, 0, 1, 1), T], [(2, 3), None, ()], {}, 1),
        "Pad.reflect": ([T, constant(0, 0, 1, 1)], [(2, 3), None], {"mode": "reflect"}, 1),
        "Tile": ([T, constant(1, 2)], [(2, 3), None], {}, 1),
        "Expand": ([T, constant(2, 2, 3)], [(2, 3), None], {}, 1),
        "Gather": ([T, I64], [(2, 3), (2,)], {"axis": 0}, 1),
        "GatherND": ([T, I64], [(2, 3), (2, 1)], {}, 1),
        "GatherElements": ([T, I64], [(2, 3), (2, 3)], {"axis": 1}, 1),
        "ScatterND": ([T, I64, T], [(2, 3), (1, 1), (1, 3)], {}, 1),
        "ScatterND.add": ([T, I64, T], [(2, 3), (1, 1), (1, 3)], {"reduction": "add"}, 1),
        "ScatterElements": ([T, I64, T], [(2, 3), (1, 3), (1, 3)], {"axis": 0}, 1),
        "Squeeze": ([T, constant(0)], [(1, 3), None], {}, 1),
        "Unsqueeze": ([T, constant(0)], [(2, 3), None], {}, 1),
        "OneHot": ([I64, I64, T], [(2,), (), (2,)], {}, 1),
        "Range": ([T, T, T], [(), (), ()], {}, 1),
        "TopK": ([T, constant(2)], [(2, 3), None], {}, 2),
        "Trilu": ([T], [(2, 3)], {}, 1),
        "EyeLike": ([T], [(2, 3)], {}, 1),
        "DepthToSpace": ([T], [(1, 4, 2, 2)], {"blocksize": 2}, 1),
        "SpaceToDepth": ([T], [(1, 4, 2, 2)], {"blocksize": 2}, 1),
        "ReverseSequence": ([T, I64], [(2, 3), (3,)], {}, 1),
        "Resize": ([T, *RESIZE], [(1, 1, 2, 2), None, None], {}, 1),
        "Resize.linear": ([T, *RESIZE], [(1, 1, 2, 2), None, None], {"mode": "linear"}, 1),
        "Unique": ([T], [(3,)], {}, 1),
        "Det": ([T], [(3, 3)], {}, 1),
        "DFT": ([T], [(1, 8, 1)], {"onesided": 1}, 1),
    }  # fmt: skip
    for src in TYPES:
        t[f"Cast.{src}"] = ([src], [(2, 3)], {"to": T}, 1)
    return t


def accepts(op: str, spec: tuple[list, list, dict, int], dtype: str) -> bool:
    ins, shapes, attrs, outs = spec
    names, infos, inits = [], [], []
    for k, (kind, shape) in enumerate(zip(ins, shapes, strict=True)):
        names.append(f"i{k}")
        if isinstance(kind, np.ndarray):
            inits.append(onnx.numpy_helper.from_array(kind, f"i{k}"))
        else:
            infos.append(helper.make_tensor_value_info(f"i{k}", TYPES[dtype if kind == T else kind], shape))
    attrs = {k: TYPES[dtype] if v == T else v for k, v in attrs.items()}
    node = helper.make_node(op.partition(".")[0], names, [f"o{k}" for k in range(outs)], **attrs)
    outputs = [onnx.ValueInfoProto(name=f"o{k}") for k in range(outs)]
    graph = helper.make_graph([node], "g", infos, outputs, inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:
        return False
    # A float16 kernel may be a float32 one between inserted casts: that is a kernel as well, with the same numbers.
    del session
    return True


def main() -> int:
    found = {}
    for op, spec in table().items():
        types = [d for d in TYPES if accepts(op, spec, d)]
        found[op] = types
    text = "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(found.items())) + "\n}\n"
    if "--check" in sys.argv:
        return int(OUT.read_text() != text)
    OUT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
