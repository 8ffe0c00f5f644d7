"""`Estimator`: a model function, a folder, and a graph built anew for each training, evaluation and prediction.

::

    input_fn() ─► features, labels ─► model_fn(features, labels, mode, params) ─► EstimatorSpec ─► MonitoredSession
"""

from __future__ import annotations

import contextlib
import copy
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from coldframe.formats import messages
from coldframe.tf1.data.dataset import Dataset
from coldframe.tf1.dependencies import group
from coldframe.tf1.estimator.arguments import (
    InitializerHook,
    StopAfterHook,
    check_model_fn,
    checked_hooks,
    chosen_predictions,
    parameters_of,
    rows_of,
)
from coldframe.tf1.estimator.run_config import RunConfig
from coldframe.tf1.estimator.spec import EstimatorSpec, ModeKeys
from coldframe.tf1.framework.graph import Graph, get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.platform import logging
from coldframe.tf1.summary.writer import FileWriterCache
from coldframe.tf1.train.checkpoint_management import latest_checkpoint
from coldframe.tf1.train.hooks import FinalOpsHook, LoggingTensorHook, NanTensorHook, StopAtStepHook
from coldframe.tf1.train.monitored_session import ChiefSessionCreator, MonitoredSession, MonitoredTrainingSession
from coldframe.tf1.train.saving_hooks import CheckpointSaverHook, CheckpointSaverListener
from coldframe.tf1.train.session_run_hook import SessionRunHook
from coldframe.tf1.train.training_util import create_global_step, get_global_step, global_step_read


class WarmStartSettings(NamedTuple):
    """What to start variables from; see `tf.train.warm_start`."""

    ckpt_to_initialize_from: Any
    vars_to_warm_start: Any = ".*"
    var_name_to_vocab_info: Any = None
    var_name_to_prev_var_name: Any = None


class Estimator:
    """Trains, evaluates, predicts with and exports a model.

    Args:
        model_fn: called as ``model_fn(features, labels, mode, params, config)``, with those that it has parameters
            for; returns an `EstimatorSpec`.
        model_dir: the folder of checkpoints and events; that of `config`, or a temporary one, otherwise.
        config: a `RunConfig`.
        params: given to the model function and to input functions.
        warm_start_from: a checkpoint, or `WarmStartSettings`, that variables start from where `model_dir` has no
            checkpoint.

    Raises:
        ValueError: the model function has other parameters, or the folders differ.
        TypeError: `config` is no `RunConfig`.
    """

    def __init__(
        self, model_fn: Callable[..., Any], model_dir: Any = None, config: RunConfig | None = None, params: Any = None,
        warm_start_from: Any = None,
    ) -> None:  # fmt: skip
        check_model_fn(model_fn, params)
        if config is not None and not isinstance(config, RunConfig):
            raise TypeError(f"config must be an instance of RunConfig, but provided {config}.")
        chosen = config or RunConfig()
        folder = None if model_dir is None else os.fspath(model_dir)
        if folder is not None and chosen.model_dir not in (None, folder):
            raise ValueError(
                "`model_dir` are set both in constructor and `RunConfig`, but with different values. In constructor: "
                f"'{folder}', in `RunConfig`: '{chosen.model_dir}' "
            )
        folder = folder or chosen.model_dir
        if folder is None:
            folder = tempfile.mkdtemp()
            logging.warning("Using temporary folder as model directory: %s", folder)
        self._config = chosen.replace(model_dir=folder)
        self._model_fn, self._params = model_fn, copy.deepcopy(params if params is not None else {})
        self._warm_start = (
            WarmStartSettings(warm_start_from) if isinstance(warm_start_from, (str, os.PathLike)) else warm_start_from
        )

    @property
    def model_dir(self) -> str:
        """The folder of checkpoints and events."""
        return str(self._config.model_dir)

    @property
    def config(self) -> RunConfig:
        return copy.deepcopy(self._config)

    @property
    def params(self) -> Any:
        return copy.deepcopy(self._params)

    @property
    def model_fn(self) -> Callable[..., EstimatorSpec]:
        """The model function, as ``model_fn(features, labels, mode, config)``."""
        return lambda features, labels, mode, config: self._spec(features, labels, mode)

    def eval_dir(self, name: str | None = None) -> str:
        """Return the folder of the events of evaluations called `name`."""
        return os.path.join(self.model_dir, f"eval_{name}" if name else "eval")

    # --- what checkpoints have ------------------------------------------------------------------------------------
    def latest_checkpoint(self) -> str | None:
        """Return the path of the latest checkpoint, or None."""
        return latest_checkpoint(self.model_dir)

    def get_variable_names(self) -> list[str]:
        """Return the names of the variables in the latest checkpoint; `ValueError` if there is none."""
        from coldframe.tf1.train.checkpoint_utils import list_variables

        return [name for name, _ in list_variables(self._trained())]

    def get_variable_value(self, name: str) -> Any:
        """Return a variable of the latest checkpoint as an array; `ValueError` if there is none."""
        from coldframe.tf1.train.checkpoint_utils import load_variable

        return load_variable(self._trained(), name)

    def _trained(self) -> str:
        path = self.latest_checkpoint()
        if path is None:
            raise ValueError(f"Couldn't find trained model at {self.model_dir}.")
        return path

    # --- training -------------------------------------------------------------------------------------------------
    def train(
        self, input_fn: Callable[..., Any], hooks: Sequence[SessionRunHook] | None = None, steps: int | None = None,
        max_steps: int | None = None, saving_listeners: Sequence[CheckpointSaverListener] | None = None,
    ) -> Estimator:  # fmt: skip
        """Train, going on from the latest checkpoint; return the estimator.

        Args:
            input_fn: returns a `tf.data.Dataset` of pairs (features, labels), or such a pair of tensors.
            hooks: called in each step.
            steps: how many steps to take.
            max_steps: the step to end at, those of earlier calls included. Without either: to the end of the input.
            saving_listeners: told about each checkpoint.

        Raises:
            ValueError: both of `steps` and `max_steps` are given, or one that is not positive.
        """
        if steps is not None and max_steps is not None:
            raise ValueError("Can not provide both steps and max_steps.")
        for name, number in (("steps", steps), ("max_steps", max_steps)):
            if number is not None and number <= 0:
                raise ValueError(f"Must specify {name} > 0, given: {number}")
        if max_steps is not None and self._steps_taken() >= max_steps:
            logging.info("Skipping training since max_steps has already saved.")
            return self
        chosen = checked_hooks(hooks)
        if steps is not None or max_steps is not None:
            chosen.append(StopAtStepHook(steps, max_steps))
        loss = self._train(input_fn, chosen, list(saving_listeners or ()))
        logging.info("Loss for final step: %s.", loss)
        return self

    def _steps_taken(self) -> int:
        path = self.latest_checkpoint()
        if path is None:
            return 0
        from coldframe.tf1.train.checkpoint_utils import load_checkpoint

        reader = load_checkpoint(path)
        return int(reader.get_tensor(GraphKeys.GLOBAL_STEP)) if reader.has_tensor(GraphKeys.GLOBAL_STEP) else 0

    def _train(
        self, input_fn: Callable[..., Any], hooks: list[SessionRunHook], listeners: list[CheckpointSaverListener]
    ) -> Any:
        config = self._config
        with self._graph() as graph:
            global_step_read(graph)
            features, labels, input_hooks = self._input(input_fn, ModeKeys.TRAIN)
            spec = self._spec(features, labels, ModeKeys.TRAIN)
            if self._warm_start is not None and self.latest_checkpoint() is None:
                from coldframe.tf1.train.warm_starting import warm_start

                warm_start(*self._warm_start)
            self._summarize_loss(graph, spec)
            logged = {"loss": spec.loss, "step": get_global_step(graph).value()}
            worker_hooks = [*input_hooks, *hooks, NanTensorHook(spec.loss)]
            if config.log_step_count_steps:
                worker_hooks.append(LoggingTensorHook(logged, every_n_iter=config.log_step_count_steps))
            worker_hooks.extend(spec.training_hooks)
            self._add_saver(graph, spec)
            chief_hooks = self._saver_hooks(spec, worker_hooks, listeners)
            loss = None
            with MonitoredTrainingSession(
                checkpoint_dir=config.model_dir, scaffold=spec.scaffold, hooks=worker_hooks,
                chief_only_hooks=[*chief_hooks, *spec.training_chief_hooks], save_checkpoint_secs=0,
                save_summaries_steps=config.save_summary_steps, config=config.session_config,
                log_step_count_steps=config.log_step_count_steps,
            ) as session:  # fmt: skip
                while not session.should_stop():
                    _, loss = session.run([spec.train_op, spec.loss])
            if loss is None:
                logging.warning("Training with estimator made no steps. Perhaps input is empty or misspecified.")
            return loss

    @staticmethod
    def _summarize_loss(graph: Graph, spec: EstimatorSpec) -> None:
        from coldframe.tf1.summary.nodes import scalar

        if not any(s.op.name == "loss" for s in graph.get_collection(GraphKeys.SUMMARIES)):
            scalar("loss", spec.loss)
        graph.add_to_collection(GraphKeys.LOSSES, spec.loss)

    def _add_saver(self, graph: Graph, spec: EstimatorSpec) -> None:
        from coldframe.tf1.train.saver import Saver

        if spec.scaffold.saver is None and not graph.get_collection(GraphKeys.SAVERS):
            saver = Saver(
                sharded=True, max_to_keep=self._config.keep_checkpoint_max, defer_build=True, save_relative_paths=True,
                keep_checkpoint_every_n_hours=self._config.keep_checkpoint_every_n_hours,
            )  # fmt: skip
            graph.add_to_collection(GraphKeys.SAVERS, saver)

    def _saver_hooks(
        self, spec: EstimatorSpec, hooks: list[SessionRunHook], listeners: list[CheckpointSaverListener]
    ) -> list[SessionRunHook]:
        """Return the hook that writes checkpoints, unless one is there; listeners are told to either."""
        steps, secs = self._config.save_checkpoints_steps, self._config.save_checkpoints_secs
        there = [h for h in (*hooks, *spec.training_chief_hooks) if isinstance(h, CheckpointSaverHook)]
        if there:
            there[0]._listeners.extend(listeners)
            return []
        if steps or secs:
            return [
                CheckpointSaverHook(
                    self.model_dir, save_steps=steps, save_secs=secs, scaffold=spec.scaffold, listeners=listeners
                )
            ]
        if listeners:
            raise ValueError(
                "There should be a CheckpointSaverHook to use saving_listeners. Please set one of the "
                "RunConfig.save_checkpoints_steps or RunConfig.save_checkpoints_secs."
            )
        return []

    # --- evaluating -----------------------------------------------------------------------------------------------
    def evaluate(
        self, input_fn: Callable[..., Any], steps: int | None = None, hooks: Sequence[SessionRunHook] | None = None,
        checkpoint_path: Any = None, name: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Return the metrics of the model, its loss and its step, by name; written as events, too.

        Args:
            input_fn: as for `train`.
            steps: how many batches to take; None: to the end of the input.
            hooks: called for each batch.
            checkpoint_path: the checkpoint; the latest otherwise; without any, the model is initialised.
            name: of the folder of the events.

        Raises:
            ValueError: `steps` is not positive, or a metric has a name that is taken.
        """
        if steps is not None and steps <= 0:
            raise ValueError(f"Must specify steps > 0, given: {steps}")
        path = self._checkpoint(checkpoint_path, "evaluate")
        with self._graph() as graph:
            features, labels, input_hooks = self._input(input_fn, ModeKeys.EVAL)
            spec = self._spec(features, labels, ModeKeys.EVAL)
            values, update = self._metrics(graph, spec)
            final = FinalOpsHook(values)
            chosen = [*input_hooks, *checked_hooks(hooks), *spec.evaluation_hooks, final]
            if steps is not None:
                chosen.insert(0, StopAfterHook(steps))
            creator = ChiefSessionCreator(
                spec.scaffold, config=self._config.session_config, checkpoint_filename_with_path=path
            )
            with MonitoredSession(creator, chosen) as session:
                while not session.should_stop():
                    session.run(update)
        results = dict(final.final_ops_values or {})
        self._write_metrics(self.eval_dir(name), results, path)
        return results

    @staticmethod
    def _metrics(graph: Graph, spec: EstimatorSpec) -> tuple[dict[str, Any], Any]:
        """Return the values of metrics by name, and the operation that takes in one more batch."""
        from coldframe.tf1.metrics.means import mean

        for taken in ("loss", GraphKeys.GLOBAL_STEP):
            if taken in spec.eval_metric_ops:
                raise ValueError(
                    f'Metric with name "{taken}" is not allowed, because Estimator already defines a default metric '
                    "with the same name."
                )
        metrics = {**spec.eval_metric_ops, "loss": mean(spec.loss)}
        values = {k: v for k, (v, _) in sorted(metrics.items())}
        values[GraphKeys.GLOBAL_STEP] = get_global_step(graph)
        return values, group(*(u for _, (_, u) in sorted(metrics.items())))

    @staticmethod
    def _write_metrics(folder: str, results: Mapping[str, Any], path: str | None) -> None:
        step = int(results[GraphKeys.GLOBAL_STEP])
        shown = ", ".join(f"{k} = {v}" for k, v in sorted(results.items()))
        logging.info("Saving dict for global step %d: %s", step, shown)
        summary: Any = messages.Summary()
        for key, value in results.items():
            if key == GraphKeys.GLOBAL_STEP:
                continue
            array = np.asarray(value)
            if array.dtype == object or isinstance(value, bytes):
                summary.value.append(messages.Summary.FromString(value).value[0])
            elif array.ndim == 0:
                summary.value.add(tag=key, simple_value=float(array))
            else:
                logging.warning("Skipping summary for %s, it is no scalar.", key)
        writer = FileWriterCache.get(folder)
        writer.add_summary(summary, step)
        writer.flush()
        if path:
            logging.info("Saving 'checkpoint_path' summary for global step %d: %s", step, path)

    # --- predicting -----------------------------------------------------------------------------------------------
    def predict(
        self, input_fn: Callable[..., Any], predict_keys: Any = None, hooks: Sequence[SessionRunHook] | None = None,
        checkpoint_path: Any = None, yield_single_examples: bool = True,
    ) -> Iterator[Any]:  # fmt: skip
        """Yield predictions, in the structure of the model's, to the end of the input.

        Args:
            input_fn: as for `train`; labels are left out.
            predict_keys: the names of the predictions to yield; all otherwise.
            hooks: called for each batch.
            checkpoint_path: the checkpoint; the latest otherwise; without any, the model is initialised.
            yield_single_examples: yield one row after the other, instead of batches.

        Raises:
            ValueError: no prediction has one of the names, or predictions are of different lengths.
        """
        path = self._checkpoint(checkpoint_path, "predict")
        with self._graph():
            features, _, input_hooks = self._input(input_fn, ModeKeys.PREDICT)
            spec = self._spec(features, None, ModeKeys.PREDICT)
            predictions = chosen_predictions(spec.predictions, predict_keys)
            creator = ChiefSessionCreator(
                spec.scaffold, config=self._config.session_config, checkpoint_filename_with_path=path
            )
            session = MonitoredSession(creator, [*input_hooks, *checked_hooks(hooks), *spec.prediction_hooks])
        with session:  # the caller's graph is the default one again while the generator waits
            while not session.should_stop():
                batch = session.run(predictions)
                if yield_single_examples:
                    yield from rows_of(batch)
                else:
                    yield batch

    # --- exporting ------------------------------------------------------------------------------------------------
    def export_saved_model(
        self, export_dir_base: Any, serving_input_receiver_fn: Callable[[], Any], assets_extra: Any = None,
        as_text: bool = False, checkpoint_path: Any = None, experimental_mode: str = ModeKeys.PREDICT,
    ) -> bytes:  # fmt: skip
        """Write the model as a SavedModel into a new folder, named by the time; return its path.

        Args:
            export_dir_base: the folder to make it in.
            serving_input_receiver_fn: returns a `tf.estimator.export.ServingInputReceiver`.
            assets_extra: paths of files to add, by their paths below ``assets.extra``.
            as_text: write protobuf's text format.
            checkpoint_path: the checkpoint; the latest otherwise.
            experimental_mode: only ``ModeKeys.PREDICT``.

        Raises:
            ValueError: there is no checkpoint.
        """
        return self._export(export_dir_base, serving_input_receiver_fn, assets_extra, as_text, checkpoint_path, True,
                            experimental_mode)  # fmt: skip

    def export_savedmodel(
        self, export_dir_base: Any, serving_input_receiver_fn: Callable[[], Any], assets_extra: Any = None,
        as_text: bool = False, checkpoint_path: Any = None, strip_default_attrs: bool = False,
    ) -> bytes:  # fmt: skip
        """Write the model as a SavedModel; the older name of `export_saved_model`."""
        return self._export(
            export_dir_base, serving_input_receiver_fn, assets_extra, as_text, checkpoint_path, strip_default_attrs,
            ModeKeys.PREDICT,
        )  # fmt: skip

    def _export(
        self, base: Any, receiver_fn: Callable[[], Any], assets: Any, as_text: bool, path: Any, strip: bool, mode: str
    ) -> bytes:
        from coldframe.tf1.estimator.exporting import export

        if mode != ModeKeys.PREDICT:
            raise ValueError("coldframe exports models for prediction only: expected ModeKeys.PREDICT")
        checkpoint = os.fspath(path) if path else self._trained()
        with self._graph():
            receiver = receiver_fn()
            spec = self._spec(receiver.features, None, ModeKeys.PREDICT)
            return export(spec, receiver, checkpoint, os.fspath(base), assets or {}, as_text, strip)

    # --- graphs ---------------------------------------------------------------------------------------------------
    def _checkpoint(self, path: Any, doing: str) -> str | None:
        chosen = os.fspath(path) if path else self.latest_checkpoint()
        if chosen is None:
            logging.info("Could not find trained model in model_dir: %s, running initialization to %s.",
                         self.model_dir, doing)  # fmt: skip
        return chosen

    @contextlib.contextmanager
    def _graph(self) -> Iterator[Graph]:
        """Give a new graph with a global step, as the default one."""
        with Graph().as_default() as graph, graph.device(self._config.device_fn):
            graph.seed = self._config.tf_random_seed
            create_global_step(graph)
            yield graph

    def _input(self, input_fn: Callable[..., Any], mode: str) -> tuple[Any, Any, list[SessionRunHook]]:
        """Return features, labels (None where there are none) and hooks that start the input."""
        names = parameters_of(input_fn)
        more = {"mode": mode, "params": self.params, "config": self.config}
        given = {k: v for k, v in more.items() if k in names}
        graph = get_default_graph()
        with graph.device("/cpu:0"):
            made = input_fn(**given)
            hooks: list[SessionRunHook] = []
            if isinstance(made, Dataset):
                iterator = made.make_initializable_iterator()
                hooks.append(InitializerHook(iterator.initializer))
                made = iterator.get_next()
        if not isinstance(made, (list, tuple)):
            return made, None, hooks
        if mode == ModeKeys.PREDICT:
            return made[0], None, hooks
        if len(made) != 2:
            raise ValueError("input_fn should return (features, labels) as a len 2 tuple.")
        return made[0], made[1], hooks

    def _spec(self, features: Any, labels: Any, mode: str) -> EstimatorSpec:
        names = parameters_of(self._model_fn)
        given: dict[str, Any] = {}
        if "labels" in names:
            given["labels"] = labels
        elif labels is not None:
            raise ValueError("model_fn does not take labels, but input_fn returns labels.")
        more = {"mode": mode, "params": self.params, "config": self.config}
        given.update((k, v) for k, v in more.items() if k in names)
        logging.info("Calling model_fn.")
        spec = self._model_fn(features=features, **given)
        if not isinstance(spec, EstimatorSpec):
            raise ValueError("model_fn should return an EstimatorSpec.")  # noqa: TRY004 - TensorFlow's class
        return spec


__all__ = ["Estimator", "WarmStartSettings"]
