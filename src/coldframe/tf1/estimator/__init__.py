"""`tf.estimator`: a model as a function, trained, evaluated, asked for predictions and exported by one object."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_HERE: Final = "coldframe.tf1.estimator"
_SOURCES: Final = [f"{_HERE}.{m}" for m in ("spec", "run_config", "estimator", "training")]
_ALIASES: Final = {f"{n}": f"{_HERE}.{n}" for n in ("export", "inputs")}
_CANNED: Final = "write a model_fn of tf.layers and give it to tf.estimator.Estimator"
_MISSING: Final = {
    **{
        f"{kind}{what}": _CANNED
        for kind in ("Linear", "DNN", "DNNLinearCombined", "BoostedTrees", "Baseline")
        for what in ("Classifier", "Regressor", "Estimator")
    },
    "add_metrics": "return the metrics in EstimatorSpec(eval_metric_ops=...)",
    "tpu": "coldframe runs on CPUs",
}

__getattr__, __dir__ = namespace(__name__, "tf.estimator", _SOURCES, _ALIASES, _MISSING)
