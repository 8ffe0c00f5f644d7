"""The API of saving and running is TensorFlow's: every name, and every argument in its place."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import coldframe.tf1 as cf
from tf1_graphs import oracle

NAMES = """
train.Saver train.latest_checkpoint train.get_checkpoint_state train.update_checkpoint_state
train.generate_checkpoint_state_proto train.checkpoint_exists train.get_checkpoint_mtimes train.remove_checkpoint
train.checkpoints_iterator train.NewCheckpointReader train.load_checkpoint train.list_variables train.load_variable
train.init_from_checkpoint train.warm_start train.VocabInfo train.CheckpointManager train.CheckpointOptions
train.Checkpoint train.MonitoredTrainingSession train.MonitoredSession train.SingularMonitoredSession
train.ChiefSessionCreator train.WorkerSessionCreator train.Scaffold train.SessionManager train.Supervisor
train.CheckpointSaverHook train.CheckpointSaverListener train.SessionRunHook train.SessionRunArgs
train.SessionRunContext train.SessionRunValues train.StepCounterHook train.SummarySaverHook train.LoggingTensorHook
train.StopAtStepHook train.NanTensorHook train.FinalOpsHook train.FeedFnHook train.GlobalStepWaiterHook
train.ProfilerHook train.SecondOrStepTimer train.ExponentialMovingAverage train.import_meta_graph
train.export_meta_graph train.write_graph io.write_graph graph_util.convert_variables_to_constants
graph_util.extract_sub_graph graph_util.remove_training_nodes graph_util.must_run_on_cpu
graph_util.tensor_shape_from_node_def_name import_graph_def Session InteractiveSession
""".split()  # noqa: SIM905 - one name after the other is easier to keep

# Arguments of methods whose names are TensorFlow's own affair: they are passed by place.
INNER = {"StepContext"}


def find(tf: Any, name: str) -> Any:
    for part in name.split("."):
        tf = getattr(tf, part)
    return tf


def arguments(value: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return {}


def same_arguments(name: str, ours: Any, theirs: Any) -> None:
    """Assert that all of TensorFlow's arguments are there, at their places, with their defaults."""
    mine, wanted = arguments(ours), arguments(theirs)
    wanted = {n: p for n, p in wanted.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    if any(p.kind == p.VAR_POSITIONAL for p in mine.values()):
        return  # passed on as they are
    assert list(mine)[: len(wanted)] == list(wanted), f"{name}: {list(mine)}, TensorFlow has {list(wanted)}"
    for n, p in wanted.items():
        if isinstance(p.default, (int, float, str, type(None))):
            assert mine[n].default == p.default, f"{name}({n}={mine[n].default!r}), TensorFlow has {p.default!r}"


@pytest.mark.parametrize("name", NAMES)
def test_names_and_arguments_are_tensorflows(name: str) -> None:
    ours, theirs = find(cf, name), find(oracle, name)
    same_arguments(name, ours, theirs)
    if not inspect.isclass(theirs):
        return
    public = [a for a in dir(theirs) if not a.startswith("_") and a not in INNER]
    assert not [a for a in public if not hasattr(ours, a)]
    for attribute in public:
        if callable(getattr(theirs, attribute)):
            same_arguments(f"{name}.{attribute}", getattr(ours, attribute), getattr(theirs, attribute))
