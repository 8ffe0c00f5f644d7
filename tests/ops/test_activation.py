"""Activations and biases against TensorFlow."""

import numpy as np

from op_harness import COMPLEX, FLOATS, INTS, Row, check, each, rows, sample

SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 1, -1, 6, 7, -1e30, 90, -90], np.float32)
BY_FEATURES = ("Relu", "Relu6", "Elu", "Selu", "Softplus", "Softsign")


@rows(
    *each(FLOATS, lambda d: [Row(op, [sample(d, 3, 4, low=-8, high=8)]) for op in BY_FEATURES]),
    *each(FLOATS, lambda d: [Row(op, [sample(d, 3, 4, low=-8, high=8)]) for op in ("Softmax", "LogSoftmax")]),
    *each(FLOATS + COMPLEX, lambda d: Row("Sigmoid", [sample(d, 3, 4)])),
    *each(INTS, lambda d: [Row(op, [sample(d, 3, 4, low=-9, high=9)]) for op in ("Relu", "Relu6")]),
    *each(FLOATS, lambda d: [Row("LeakyRelu", [sample(d, 5)], {"alpha": a}) for a in (0.2, -0.5, 2.0)]),
    Row("LeakyRelu", [sample("float32", 5)]),
    *(Row(op, [SPECIAL], name=f"{op} special") for op in (*BY_FEATURES, "LeakyRelu")),
    Row("Sigmoid", [SPECIAL]),
    *(Row(op, [np.zeros(s, np.float32)]) for op in ("Relu", "Sigmoid") for s in ((), (0, 2))),
)
def test_activations(row: Row) -> None:
    check(row)


LOGITS = np.array([[np.nan, 1], [np.inf, 1], [-np.inf, -np.inf], [-np.inf, 0], [1e4, -1e4]], np.float32)


@rows(
    *(Row(op, [x]) for op in ("Softmax", "LogSoftmax") for x in (LOGITS, sample("float32", 2, 3, 4), LOGITS[3])),
    *(Row(op, [np.zeros((2, 0), np.float32)], lowers=None) for op in ("Softmax", "LogSoftmax")),
    *(Row(op, [np.float32(3)], refused=True) for op in ("Softmax", "LogSoftmax")),
)
def test_softmax(row: Row) -> None:
    check(row)


@rows(
    *each(FLOATS + INTS + COMPLEX, lambda d: Row("BiasAdd", [sample(d, 2, 3), sample(d, 3, seed=1)])),
    *(Row("BiasAdd", [sample("float32", *s, 3), sample("float32", 3)]) for s in ((2, 2), (1, 2, 2), (1, 1, 2, 2))),
    *(
        Row("BiasAdd", [sample("float32", 2, 3, *s), sample("float32", 3)], {"data_format": "NCHW"})
        for s in ((), (2,), (2, 2), (1, 2, 2))
    ),
    Row("BiasAdd", [sample("float32", 3), sample("float32", 3)], refused=True),
    Row("BiasAdd", [sample("float32", 2, 3), sample("float32", 2)], refused=True),
    Row("BiasAdd", [sample("float32", 2, 3), sample("float32", 1)], refused=True),
    Row("BiasAddV1", [sample("float32", 2, 3), sample("float32", 3)]),
    *each(FLOATS + INTS, lambda d: Row("BiasAddGrad", [sample(d, 2, 4, 3)])),
    *(
        Row("BiasAddGrad", [sample("float32", 2, 3, *s)], {"data_format": "NCHW"})
        for s in ((), (2,), (2, 2), (1, 2, 2))
    ),
    Row("BiasAddGrad", [sample("float32", 3)], refused=True),
)
def test_bias(row: Row) -> None:
    check(row)


GRADIENTS = ("ReluGrad", "Relu6Grad", "EluGrad", "SeluGrad", "SoftplusGrad", "SoftsignGrad", "LeakyReluGrad")


@rows(
    *each(FLOATS, lambda d: [Row(op, [sample(d, 9), sample(d, 9, seed=1, low=-8, high=8)]) for op in GRADIENTS]),
    *each(INTS, lambda d: [Row(op, [sample(d, 9), sample(d, 9, seed=1)]) for op in ("ReluGrad", "Relu6Grad")]),
    *(Row(op, [np.ones(11, np.float32), SPECIAL], name=f"{op} special") for op in GRADIENTS),
    Row("ReluGrad", [np.full(3, np.nan, np.float32), np.array([-1, 0, 1], np.float32)]),
    Row("LeakyReluGrad", [sample("float32", 9), sample("float32", 9, seed=1)], {"alpha": 0.3}),
)
def test_gradients(row: Row) -> None:
    check(row)
