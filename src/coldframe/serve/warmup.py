"""Recorded warm-up requests of a SavedModel: ``assets.extra/tf_serving_warmup_requests``.

The file is a TFRecord file of at most 1000 PredictionLog messages (``tensorflow_serving/g3doc/saved_model_warmup.md``).
They are answered before a version serves, so that the first client does not wait for compilation.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from coldframe.errors import CorruptError, MisuseError
from coldframe.formats import messages, tensor_proto
from coldframe.formats.tf_record import read_records
from coldframe.serve.examples import serialized
from coldframe.serve.servable import Servable, output_name

_FILE: Final = ("assets.extra", "tf_serving_warmup_requests")
_MAX_RECORDS: Final = 1000


def replay(servable: Servable) -> int:
    """Answer a version's warm-up requests, and return how many there were.

    Raises:
        CorruptError: the file is damaged.
        MisuseError: it has more than 1000 requests, or requests of a kind that is not answered.
        RequestError: the model refuses one.
    """
    path = servable.path.joinpath(*_FILE)
    if not path.is_file():
        return 0
    count = 0
    for record in read_records(path):
        count += 1
        if count > _MAX_RECORDS:
            raise MisuseError("too many warm-up requests", expected=f"at most {_MAX_RECORDS}")
        log = messages.parse("tensorflow.serving.PredictionLog", record, where=f"in warm-up request {count}")
        _answer(servable, log, f"in warm-up request {count}")
    return count


def _answer(servable: Servable, log: Any, where: str) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        inputs = {k: tensor_proto.to_array(request.inputs[k], where=where) for k in request.inputs}
        signature = servable.signature(request.model_spec.signature_name)
        servable.run(signature, servable.check(signature, inputs), tuple(request.output_filter))
    elif kind in ("classify_log", "regress_log"):
        request = getattr(log, kind).request
        _run_on_examples(servable, request.model_spec.signature_name, request.input)
    elif kind == "multi_inference_log":
        request = log.multi_inference_log.request
        for task in request.tasks:
            _run_on_examples(servable, task.model_spec.signature_name, request.input)
    elif kind == "session_run_log":
        request = log.session_run_log.request
        feeds = {t.name: tensor_proto.to_array(t.tensor, where=where) for t in request.feed}
        targets = [t.partition(":")[0] for t in request.target]
        servable.call([[output_name(name) for name in request.fetch], targets], feeds)
    else:
        raise MisuseError(f"warm-up requests of kind `{kind}` are not answered", where=where)


def _run_on_examples(servable: Servable, name: str, given: Any) -> None:
    signature = servable.signature(name)
    examples = serialized(given)
    if len(signature.inputs) != 1 or not examples:
        raise CorruptError("a warm-up request without examples, or for another signature")
    batch = np.empty(len(examples), object)
    batch[:] = examples
    servable.run(signature, servable.check(signature, {next(iter(signature.inputs)): batch}))
