"""Names that SavedModels use: of files, tags, signatures and their inputs and outputs."""

from __future__ import annotations

import types
from typing import Final

SAVED_MODEL_SCHEMA_VERSION: Final = 1
SAVED_MODEL_FILENAME_PB: Final = "saved_model.pb"
SAVED_MODEL_FILENAME_PBTXT: Final = "saved_model.pbtxt"
VARIABLES_DIRECTORY: Final = "variables"
VARIABLES_FILENAME: Final = "variables"
ASSETS_DIRECTORY: Final = "assets"
ASSETS_KEY: Final = "saved_model_assets"
MAIN_OP_KEY: Final = "saved_model_main_op"
LEGACY_INIT_OP_KEY: Final = "legacy_init_op"
TRAIN_OP_KEY: Final = "saved_model_train_op"

SERVING: Final = "serve"
TRAINING: Final = "train"
EVAL: Final = "eval"
GPU: Final = "gpu"
TPU: Final = "tpu"

DEFAULT_SERVING_SIGNATURE_DEF_KEY: Final = "serving_default"
CLASSIFY_INPUTS: Final = "inputs"
CLASSIFY_METHOD_NAME: Final = "tensorflow/serving/classify"
CLASSIFY_OUTPUT_CLASSES: Final = "classes"
CLASSIFY_OUTPUT_SCORES: Final = "scores"
PREDICT_INPUTS: Final = "inputs"
PREDICT_METHOD_NAME: Final = "tensorflow/serving/predict"
PREDICT_OUTPUTS: Final = "outputs"
REGRESS_INPUTS: Final = "inputs"
REGRESS_METHOD_NAME: Final = "tensorflow/serving/regress"
REGRESS_OUTPUTS: Final = "outputs"

_TAGS: Final = ("SERVING", "TRAINING", "EVAL", "GPU", "TPU")
_FILES: Final = (
    "SAVED_MODEL_SCHEMA_VERSION", "SAVED_MODEL_FILENAME_PB", "SAVED_MODEL_FILENAME_PBTXT", "VARIABLES_DIRECTORY",
    "VARIABLES_FILENAME", "ASSETS_DIRECTORY", "ASSETS_KEY", "MAIN_OP_KEY", "LEGACY_INIT_OP_KEY",
)  # fmt: skip


def _names(*names: str) -> types.SimpleNamespace:
    return types.SimpleNamespace(**{n: globals()[n] for n in names})


tag_constants: Final = _names(*_TAGS)
constants: Final = _names(*_FILES)
signature_constants: Final = _names(
    *(n for n in dir() if n.startswith(("DEFAULT_SERVING", "CLASSIFY_", "PREDICT_", "REGRESS_")))
)

__all__ = ["constants", "signature_constants", "tag_constants"]
