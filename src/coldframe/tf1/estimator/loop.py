"""`Estimator`: graphs of a model function, run in monitored sessions, with checkpoints in one folder."""

from __future__ import annotations

import inspect
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from coldframe.tf1 import errors
from coldframe.tf1.estimator.export import outputs_of
from coldframe.tf1.estimator.model import EstimatorSpec, ModeKeys, RunConfig
from coldframe.tf1.framework.graph import Graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.random_ops import set_random_seed
from coldframe.tf1.train.training_util import get_or_create_global_step


class Estimator:
    """A model that is trained, evaluated and asked by calls, each in a graph of its own.

    Args:
        model_fn: from features, labels, mode, params and config (those it names) to an `EstimatorSpec`.
        model_dir: where checkpoints and summaries go; the configuration's, else a new temporary folder.
        config: a `RunConfig`.
        params: handed to `model_fn`.
        warm_start_from: a checkpoint to start variables from.
    """

    def __init__(
        self, model_fn: Callable[..., Any], model_dir: str | None = None, config: RunConfig | None = None,
        params: Any = None, warm_start_from: Any = None,
    ) -> None:  # fmt: skip
        config = RunConfig() if config is None else config
        if model_dir is not None and config.model_dir is not None and str(model_dir) != config.model_dir:
            raise ValueError(f"model_dir is set in both constructor and RunConfig, to different values: {model_dir}, "
                             f"{config.model_dir}")  # fmt: skip
        self._model_dir = str(model_dir or config.model_dir or tempfile.mkdtemp())
        self._config = config.replace(model_dir=self._model_dir)
        self._model_fn, self._params, self._warm_start = model_fn, dict(params or {}), warm_start_from

    @property
    def model_dir(self) -> str:
        """Where checkpoints and summaries go."""
        return self._model_dir

    @property
    def config(self) -> RunConfig:
        """How it runs."""
        return self._config

    @property
    def params(self) -> dict[str, Any]:
        """What is handed to the model function."""
        return dict(self._params)

    @property
    def model_fn(self) -> Callable[..., Any]:
        """The model function."""
        return self._model_fn

    # --- building -----------------------------------------------------------------------------------------------
    def _given(self, fn: Callable[..., Any], values: dict[str, Any]) -> dict[str, Any]:
        known = inspect.signature(fn).parameters
        return {name: value for name, value in values.items() if name in known}

    def _inputs(self, input_fn: Callable[..., Any], mode: str) -> tuple[Any, Any]:
        values = {"mode": mode, "params": self.params, "config": self._config}
        made = input_fn(**self._given(input_fn, values))
        if hasattr(made, "make_initializable_iterator"):
            from coldframe.tf1.framework.graph import get_default_graph

            iterator = made.make_initializable_iterator()
            get_default_graph().add_to_collection(GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
            made = iterator.get_next()
        if isinstance(made, (tuple, list)):
            if len(made) != 2:
                raise ValueError("input_fn should return (features, labels) as a len 2 tuple.")
            return made[0], made[1]
        return made, None

    def _spec(self, features: Any, labels: Any, mode: str) -> EstimatorSpec:
        values = {"labels": labels, "mode": mode, "params": self.params, "config": self._config}
        spec = self._model_fn(features=features, **self._given(self._model_fn, values))
        if not isinstance(spec, EstimatorSpec):
            raise ValueError(f"model_fn should return an EstimatorSpec, not {spec!r}.")  # noqa: TRY004 - as TensorFlow
        return spec

    def _checkpoint(self, path: str | None) -> str:
        from coldframe.tf1.train import latest_checkpoint

        found = path or latest_checkpoint(self._model_dir)
        if not found:
            raise ValueError(f"Could not find trained model in model_dir: {self._model_dir}.")
        return str(found)

    # --- training -----------------------------------------------------------------------------------------------
    def train(
        self, input_fn: Callable[..., Any], hooks: Any = None, steps: int | None = None, max_steps: int | None = None,
        saving_listeners: Any = None,
    ) -> Estimator:  # fmt: skip
        """Train, from the last checkpoint on.

        Args:
            steps: how many steps; until the input ends for None.
            max_steps: the step to stop at, counting those before.
        """
        from coldframe.tf1 import train

        if steps is not None and max_steps is not None:
            raise ValueError("Can not provide both steps and max_steps.")
        for name, value in (("steps", steps), ("max_steps", max_steps)):
            if value is not None and value <= 0:
                raise ValueError(f"Must specify {name} > 0, given: {value}")
        with Graph().as_default():
            set_random_seed(self._config.tf_random_seed)
            get_or_create_global_step()
            spec = self._spec(*self._inputs(input_fn, ModeKeys.TRAIN), ModeKeys.TRAIN)
            if self._warm_start is not None:
                train.warm_start(self._warm_start)
            every = [*(hooks or ()), *(spec.training_hooks or ()), *(spec.training_chief_hooks or ())]
            if steps is not None or max_steps is not None:
                every.append(train.StopAtStepHook(num_steps=steps, last_step=max_steps))
            scaffold = spec.scaffold or train.Scaffold(saver=train.Saver(
                max_to_keep=self._config.keep_checkpoint_max, sharded=False, save_relative_paths=True,
                keep_checkpoint_every_n_hours=self._config.keep_checkpoint_every_n_hours,
            ))  # fmt: skip
            config = self._config
            seconds = config.save_checkpoints_secs
            if seconds is None and config.save_checkpoints_steps is None:
                seconds = 600
            if saving_listeners:
                every.append(train.CheckpointSaverHook(
                    self._model_dir, save_secs=seconds, save_steps=config.save_checkpoints_steps, scaffold=scaffold,
                    listeners=list(saving_listeners),
                ))  # fmt: skip
            with train.MonitoredTrainingSession(
                checkpoint_dir=self._model_dir, scaffold=scaffold, hooks=every,
                save_checkpoint_secs=None if saving_listeners else seconds,
                save_checkpoint_steps=None if saving_listeners else config.save_checkpoints_steps,
                save_summaries_steps=config.save_summary_steps, log_step_count_steps=config.log_step_count_steps,
            ) as session:  # fmt: skip
                while not session.should_stop():
                    session.run([spec.train_op, spec.loss])
        return self

    # --- evaluating, predicting ---------------------------------------------------------------------------------
    def _session(self, spec: EstimatorSpec, checkpoint: str, hooks: Any) -> Any:
        from coldframe.tf1 import train

        creator = train.ChiefSessionCreator(scaffold=spec.scaffold, checkpoint_filename_with_path=checkpoint)
        return train.MonitoredSession(creator, hooks=hooks)

    def evaluate(
        self, input_fn: Callable[..., Any], steps: int | None = None, hooks: Any = None,
        checkpoint_path: str | None = None, name: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Return metrics by name, with ``loss`` and ``global_step``, and write them as a summary.

        Args:
            steps: how many batches; until the input ends for None.
            checkpoint_path: the last one for None.
            name: of this evaluation, where there are several.
        """
        from coldframe.tf1 import metrics

        checkpoint = self._checkpoint(checkpoint_path)
        with Graph().as_default():
            set_random_seed(self._config.tf_random_seed)
            step = get_or_create_global_step()
            spec = self._spec(*self._inputs(input_fn, ModeKeys.EVAL), ModeKeys.EVAL)
            measured = {**(spec.eval_metric_ops or {}), "loss": metrics.mean(spec.loss)}
            values = {key: value for key, (value, _) in measured.items()}
            updates = [update for _, update in measured.values()]
            done = 0
            with self._session(spec, checkpoint, [*(hooks or ()), *(spec.evaluation_hooks or ())]) as session:
                results = None
                try:
                    while (steps is None or done < steps) and not session.should_stop():
                        session.run(updates)
                        done += 1
                        if steps is not None and done == steps:
                            results = session.run({**values, "global_step": step})
                except errors.OutOfRangeError:
                    pass
                if results is None:
                    results = self._after_the_end(session, {**values, "global_step": step})
        if not done:
            raise ValueError("input_fn gave no batch to evaluate")
        self._write_evaluation(results, name)
        return results

    @staticmethod
    def _after_the_end(session: Any, fetches: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = session.run_step_fn(lambda step_context: step_context.session.run(fetches))
        return found

    def _write_evaluation(self, results: dict[str, Any], name: str | None) -> None:
        from coldframe.tf1 import summary
        from coldframe.tf1.messages import Summary

        numbers = {k: float(v) for k, v in results.items() if k != "global_step" and np.ndim(v) == 0}
        proto = Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in sorted(numbers.items())])
        folder = os.path.join(self._model_dir, f"eval_{name}" if name else "eval")
        with Graph().as_default():
            writer = summary.FileWriter(folder)
            writer.add_summary(proto, int(results["global_step"]))
            writer.close()

    def predict(
        self, input_fn: Callable[..., Any], predict_keys: Any = None, hooks: Any = None,
        checkpoint_path: str | None = None, yield_single_examples: bool = True,
    ) -> Iterator[Any]:  # fmt: skip
        """Yield predictions: per example, or per batch if told so.

        Args:
            predict_keys: which of the predictions; all for None.
        """
        checkpoint = self._checkpoint(checkpoint_path)
        with Graph().as_default() as graph:
            set_random_seed(self._config.tf_random_seed)
            get_or_create_global_step()
            features, _ = self._inputs(input_fn, ModeKeys.PREDICT)
            spec = self._spec(features, None, ModeKeys.PREDICT)
            wanted = _chosen(spec.predictions, predict_keys)
            every = [*(hooks or ()), *(spec.prediction_hooks or ())]
        with graph.as_default():
            session = self._session(spec, checkpoint, every)
        with session:
            while not session.should_stop():
                batch = session.run(wanted)
                if not yield_single_examples:
                    yield batch
                elif isinstance(batch, dict):
                    for i in range(len(next(iter(batch.values())))):
                        yield {key: value[i] for key, value in batch.items()}
                else:
                    yield from batch

    # --- exporting ----------------------------------------------------------------------------------------------
    def export_saved_model(
        self, export_dir_base: str, serving_input_receiver_fn: Callable[[], Any], assets_extra: Any = None,
        as_text: bool = False, checkpoint_path: str | None = None,
    ) -> bytes:  # fmt: skip
        """Write a SavedModel to a new folder, named by the time, under `export_dir_base`; return that folder."""
        from coldframe.tf1 import saved_model, train
        from coldframe.tf1.lookup import tables_initializer
        from coldframe.tf1.session import Session

        checkpoint = self._checkpoint(checkpoint_path)
        folder = os.path.join(str(export_dir_base), str(int(time.time())))
        while os.path.exists(folder):
            folder = os.path.join(str(export_dir_base), str(int(os.path.basename(folder)) + 1))
        with Graph().as_default():
            get_or_create_global_step()
            receiver = serving_input_receiver_fn()
            spec = self._spec(receiver.features, None, ModeKeys.PREDICT)
            inputs = receiver.receiver_tensors
            inputs = inputs if isinstance(inputs, dict) else {"input": inputs}
            outputs = spec.export_outputs or {"serving_default": spec.predictions}
            signatures = {}
            for name, output in outputs.items():
                method, tensors = outputs_of(output)
                signatures[name] = _signature(inputs, tensors, method)
            if len(signatures) == 1:
                signatures.setdefault("serving_default", next(iter(signatures.values())))
            with Session() as session:
                train.Saver().restore(session, checkpoint)
                builder = saved_model.builder.SavedModelBuilder(folder)
                builder.add_meta_graph_and_variables(
                    session, ["serve"], signature_def_map=signatures, main_op=tables_initializer()
                )
                builder.save(as_text)
        return folder.encode()

    export_savedmodel = export_saved_model

    # --- looking at checkpoints ---------------------------------------------------------------------------------
    def latest_checkpoint(self) -> str | None:
        """Return the last checkpoint's path, or None."""
        from coldframe.tf1.train import latest_checkpoint

        return latest_checkpoint(self._model_dir)  # type: ignore[no-any-return]

    def get_variable_names(self) -> list[str]:
        """Return the names in the last checkpoint."""
        from coldframe.tf1.train import list_variables

        return [name for name, _ in list_variables(self._checkpoint(None))]

    def get_variable_value(self, name: str) -> Any:
        """Return a variable's value in the last checkpoint."""
        from coldframe.tf1.train import load_variable

        return load_variable(self._checkpoint(None), name)


def _chosen(predictions: Any, keys: Any) -> Any:
    if keys is None:
        return predictions
    if not isinstance(predictions, dict):
        raise ValueError("predict_keys argument is not valid in case of non-dict predictions.")  # noqa: TRY004 - as TensorFlow
    wanted = [keys] if isinstance(keys, str) else list(keys)
    chosen = {k: v for k, v in predictions.items() if k in wanted}
    if not chosen:
        raise ValueError(f"Expected to run at least one output from {sorted(predictions)}, provided {wanted}.")
    return chosen


def _signature(inputs: dict[str, Any], outputs: dict[str, Any], method: str) -> Any:
    from coldframe.tf1 import saved_model

    info = saved_model.utils.build_tensor_info
    return saved_model.signature_def_utils.build_signature_def(
        {k: info(v) for k, v in inputs.items()}, {k: info(v) for k, v in outputs.items()}, method
    )


__all__ = ["Estimator"]
