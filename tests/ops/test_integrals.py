"""Special functions that are integrals, against TensorFlow."""

import numpy as np

from op_harness import Row, check, rows, sample

BOTH = ("float32", "float64")
NAN, INF = np.nan, np.inf
BESSEL = ("BesselJ0", "BesselJ1", "BesselY0", "BesselY1", "BesselK0", "BesselK0e", "BesselK1", "BesselK1e")
SIGNED = ("BesselJ0", "BesselJ1", "Dawsn", "Expint", "FresnelCos", "FresnelSin")
LARGE = [24.9, 25.1, 30, 41, 80, 1e3]


@rows(
    *[Row(n, [sample(d, 60, low=0.01, high=30)], tol=2e-5 if d == "float32" else None) for n in BESSEL for d in BOTH],
    *[Row(n, [np.array(LARGE, d)], tol=1e-4 if d == "float32" else 1e-8) for n in BESSEL for d in BOTH],
    *[Row(n, [np.array([1e-3, 1e-7, 1e-20], d)], tol=1e-5) for n in BESSEL for d in BOTH],
    *[Row(n, [np.array([-1.0, -7.5, INF, -INF, NAN], d)], tol=1e-5) for n in BESSEL for d in BOTH],
    *[Row(n, [np.zeros(2, d)]) for n in BESSEL for d in BOTH if (n, d) != ("BesselY1", "float32")],  # NaN there
    *[Row(n, [sample(d, 60, low=-9, high=9)], tol=2e-5 if d != "float64" else None) for n in SIGNED for d in BOTH],
    *[Row(n, [np.array([-50, -30, 12, 39, 41, 50, 80], d)], tol=1e-5) for n in SIGNED[2:] for d in BOTH],
    *[Row(n, [np.array([0.0, NAN, INF, -INF], d)]) for n in SIGNED[2:] for d in BOTH],
    *[Row("Spence", [np.array([0, 1, 0.1, 0.49, 0.5, 0.9, 1.2, 1.6, 2, 7, 1e3, -1, NAN], d)]) for d in BOTH],
    *[Row("Spence", [sample(d, 50, low=0, high=4)]) for d in BOTH],
    *[Row(n, [np.zeros((0, 2))]) for n in ("BesselJ0", "BesselK1", "Dawsn", "Expint", "FresnelSin", "Spence")],
    *[Row(n, [np.array(1.5)]) for n in ("BesselY1", "BesselK0", "Dawsn", "Expint", "FresnelSin", "Spence")],
)  # fmt: skip
def test_integrals(row: Row) -> None:
    check(row)
