"""`tf.contrib.opt`: further optimizers."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_HERE: Final = "coldframe.tf1.contrib.opt"
_SOURCES: Final = [f"{_HERE}.{m}" for m in ("adam_kinds", "signs", "weight_decay", "wrappers", "scipy_interface")]
_ONE_PROCESS: Final = "coldframe.tf1 runs in one process; use the optimizer itself"
_MISSING: Final = {
    **dict.fromkeys(
        ("AGNOptimizer", "DropStaleGradientOptimizer", "ElasticAverageOptimizer", "ElasticAverageCustomGetter",
         "ModelAverageOptimizer", "ModelAverageCustomGetter"),
        _ONE_PROCESS,
    ),
    "GGTOptimizer": "use LARSOptimizer or AdamWOptimizer",
    "ShampooOptimizer": "use AdagradOptimizer",
    "RegAdagradOptimizer": "use AdagradOptimizer",
    "MultitaskOptimizerWrapper": "give each task an optimizer of its own",
}  # fmt: skip

__getattr__, __dir__ = namespace(__name__, "tf.contrib.opt", _SOURCES, {}, _MISSING)
