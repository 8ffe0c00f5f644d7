"""`tf.train`: optimizers, schedules, saving, sessions that train."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_HERE: Final = "coldframe.tf1.train"
_SOURCES: Final = [
    f"{_HERE}.{m}"
    for m in (
        "optimizer", "optimizers", "learning_rate", "moving_averages", "training_util", "saver", "checkpoint",
        "checkpoint_options", "checkpoint_management", "checkpoint_utils", "warm_starting", "coordinator",
        "queue_runner", "input", "session_run_hook", "hook_timer", "hooks", "saving_hooks", "scaffold",
        "session_manager", "monitored_session", "supervisor",
    )
]  # fmt: skip
_ALIASES: Final = {
    **{
        name: f"coldframe.tf1.messages:{name}"
        for name in (
            "Example", "Features", "Feature", "BytesList", "FloatList", "Int64List", "SequenceExample", "FeatureLists",
            "FeatureList", "SaverDef", "CheckpointState", "ClusterDef", "JobDef", "ServerDef", "QueueRunnerDef",
        )
    },
    "summary_iterator": "coldframe.tf1.summary.writer:summary_iterator",
    "export_meta_graph": "coldframe.tf1.meta_graph:export_meta_graph",
    "import_meta_graph": "coldframe.tf1.meta_graph:import_meta_graph",
    "write_graph": "coldframe.tf1.graph_io:write_graph",
    "SummaryWriter": "coldframe.tf1.summary.writer:FileWriter",
    "global_step": f"{_HERE}.training_util:global_step",
}  # fmt: skip
_MISSING: Final = {
    "Server": "coldframe.tf1 runs in one process; use a Session without a target",
    "ClusterSpec": "coldframe.tf1 runs in one process",
    "replica_device_setter": "coldframe.tf1 runs in one process; leave device placement out",
    "SyncReplicasOptimizer": "coldframe.tf1 runs in one process; use the optimizer itself",
}

__getattr__, __dir__ = namespace(__name__, "tf.train", _SOURCES, _ALIASES, _MISSING)
