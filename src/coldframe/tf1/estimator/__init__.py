"""`tf.estimator`: training, evaluation, prediction and export of a model function."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_HERE: Final = "coldframe.tf1.estimator"
_HINT: Final = "write a model_fn for tf.estimator.Estimator"
_MISSING: Final = {
    **dict.fromkeys(
        ("DNNClassifier", "DNNRegressor", "LinearClassifier", "LinearRegressor", "DNNLinearCombinedClassifier",
         "DNNLinearCombinedRegressor", "BaselineClassifier", "BaselineRegressor", "BoostedTreesClassifier",
         "BoostedTreesRegressor", "Head", "WarmStartSettings"),
        _HINT,
    ),
}  # fmt: skip
_ALIASES: Final = {"inputs": f"{_HERE}.inputs", "export": f"{_HERE}.export"}

__getattr__, __dir__ = namespace(
    __name__, "tf.estimator", [f"{_HERE}.model", f"{_HERE}.loop", f"{_HERE}.training"], _ALIASES, _MISSING
)
