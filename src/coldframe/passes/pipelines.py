"""The pipelines that need nothing but a graph; `coldframe.runtime.freezing` has the one that needs a checkpoint too."""

from __future__ import annotations

from coldframe.passes.base import Pass, Pipeline
from coldframe.passes.clear_placement import ClearPlacement
from coldframe.passes.fold_constants import FoldConstants
from coldframe.passes.inline import InlineCalls
from coldframe.passes.prune import Prune
from coldframe.passes.repair_refs import RepairRefs
from coldframe.passes.set_training import SetTraining
from coldframe.passes.strip_training import StripChecks


def optimizing(*, training: bool | None = None, fold: bool = True) -> Pipeline:
    """Return the pipeline that makes a graph smaller for its targets, and fit for inference.

    Args:
        training: the value to give inputs such as ``is_training``; None leaves them.
        fold: whether to compute what is constant.
    """
    steps: list[Pass] = [InlineCalls(), Prune()]
    if training is not None:
        steps += [SetTraining(training), Prune(name="prune branches")]
    steps.append(RepairRefs())
    if fold:
        steps.append(FoldConstants())
    steps += [StripChecks(identities=True), Prune(name="prune again"), ClearPlacement()]
    return Pipeline("optimize", steps)


__all__ = ["optimizing"]
