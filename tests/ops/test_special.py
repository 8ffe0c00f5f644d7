"""Special functions against TensorFlow."""

import numpy as np

from op_harness import Row, check, each, rows, sample

BOTH = ("float32", "float64")
HALF = ("float16", *BOTH)
NAN, INF = np.nan, np.inf
POLES = [NAN, 0, -1, -0.5, -2.5, INF, 3, 1e-5, 20, 1.4]


@rows(
    *[Row(n, [np.array(POLES, d)]) for n in ("Lgamma", "Digamma") for d in HALF],
    *[Row(n, [sample(d, 4, 8, low=-6, high=12)]) for n in ("Lgamma", "Digamma") for d in BOTH],
    *[Row(n, [sample("float32", *s)]) for n in ("Lgamma", "Digamma", "Ndtri", "Erfinv") for s in ((), (0, 2))],
    Row("Lgamma", [np.array([-INF, 1e30, 171.0, 1e306])]),
    *[Row("Ndtri", [np.array([0, 1, 0.5, -1, 2, NAN, 1e-30, 0.1, 0.75, 0.999], d)]) for d in BOTH],
    Row("Ndtri", [np.array([1e-300, 1 - 1e-7, 0.3])]),
    *[Row("Erfinv", [np.array([0, 1, -1, 0.5, 2, NAN, -0.9, 0.999, 1e-3], d)]) for d in BOTH],
    Row("Erfinv", [np.array([1e-9])], tol=1e-7),  # TensorFlow keeps seven digits here
    *[Row(n, [sample(d, 4, 8, low=-9, high=9)]) for n in ("BesselI0", "BesselI1") for d in BOTH],
    *[
        Row(n, [np.concatenate([sample(d, 20, low=-9, high=9), np.array([0, 29, 31, -100, 5000], d)])])
        for n in ("BesselI0e", "BesselI1e")
        for d in HALF
    ],
)
def test_of_one(row: Row) -> None:
    check(row)


ZETA = np.array([[2, 1], [1, 1], [0.5, 1], [3, 0], [2, -1], [2, -0.5], [2.5, 10], [9, 0.2]]).T
GAMMA = np.array(
    [[1, 1], [2, 0.5], [0, 1], [-1, 1], [0.5, -1], [1, 0], [INF, 1], [1, INF], [30, 28], [100, 130], [NAN, 1], [3, 50]]
).T


@rows(
    *[Row(n, list(GAMMA.astype(d))) for n in ("Igamma", "Igammac") for d in BOTH],
    *[
        Row(n, [sample(d, 3, 1, low=0.1, high=20), sample(d, 9, low=0.1, high=30)])
        for n in ("Igamma", "Igammac")
        for d in BOTH
    ],
    Row("Igamma", [np.zeros((0, 2)), np.ones(2)]),
    *[Row("Zeta", [a.astype(d) for a in ZETA]) for d in BOTH],
    *[Row("Polygamma", [np.array([0, 1, 2, -1, 0.5, 3], d), np.array([1, 1, 2.5, 1, 1, -1.5], d)]) for d in BOTH],
    *[
        Row("Betainc", [np.array(v, d) for v in zip(*cases, strict=True)])
        for d in BOTH
        for cases in [
            [(1, 1, 0.5), (2, 3, 0.25), (0.5, 0.5, 0.9), (5, 2, 0.1), (0, 1, 0.5), (-1, 1, 0.5), (1, 1, 0), (1, 1, 2)]
        ]
    ],
)
def test_of_several(row: Row) -> None:
    check(row)


GROWING = np.array([0.3, 1.1, 1.4, 2.1, 3.1, 4.6, 7.0, 12.0, 25.0])  # fractions that end early where alpha is whole


@rows(
    *each(
        ("float32", "float64"),
        lambda d: Row("RandomGammaGrad", [sample(d, 40, low=0.05, high=20), sample(d, 40, seed=1, low=0.01, high=25)]),
    ),
    Row("RandomGammaGrad", [sample("float64", 3, 1, low=0.1), sample("float64", 4, seed=1, low=0.1)]),
    Row("RandomGammaGrad", [np.array([0.5, 3.0]), np.zeros(2)]),
    *[Row("RandomGammaGrad", [np.arange(1.0, 6.0)[:, None].astype(d), GROWING.astype(d)]) for d in BOTH],
    *[Row("IgammaGradA", [np.arange(1.0, 6.0)[:, None].astype(d), GROWING.astype(d)]) for d in BOTH],
)
def test_gradients_of_gamma_values(row: Row) -> None:
    row.tol = 1e-4 if row.inputs[0].dtype == np.float32 else 1e-8
    check(row)
