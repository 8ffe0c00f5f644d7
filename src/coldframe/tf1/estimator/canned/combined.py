"""Wide and deep estimators: a linear model and a dense network, whose logits are added; each has its optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from coldframe.records import dataclass
from coldframe.tf1.dependencies import group
from coldframe.tf1.estimator.canned.classes import class_head
from coldframe.tf1.estimator.canned.dnn import dnn_logit_fn_builder, summarize
from coldframe.tf1.estimator.canned.head import Head
from coldframe.tf1.estimator.canned.linear import SLICE, checked_features, linear_logit_fn_builder, replicas
from coldframe.tf1.estimator.canned.numbers import RegressionHead
from coldframe.tf1.estimator.canned.optimizers import optimizer_of
from coldframe.tf1.estimator.estimator import Estimator
from coldframe.tf1.estimator.run_config import RunConfig
from coldframe.tf1.estimator.spec import EstimatorSpec
from coldframe.tf1.framework.graph import control_dependencies, get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.losses import Reduction
from coldframe.tf1.nn.activation_ops import relu
from coldframe.tf1.partitions import min_max_variable_partitioner
from coldframe.tf1.state_ops import assign_add
from coldframe.tf1.train.training_util import get_global_step
from coldframe.tf1.variable_scope import variable_scope

DEEP_LEARNING_RATE: Final = 0.001
WIDE_LEARNING_RATE: Final = 0.005


@dataclass(frozen=True)
class _Wide:
    """The linear half: its columns, its optimizer, and how the weights of several ids become one."""

    columns: Sequence[Any]
    optimizer: Any
    combiner: str

    def logits(self, features: Mapping[str, Any], units: int, cut: Any) -> _Half:
        rate = min(WIDE_LEARNING_RATE, 1.0 / math.sqrt(len(self.columns)))
        optimizer = optimizer_of(self.optimizer, rate)
        with variable_scope("linear", values=tuple(features.values()), partitioner=cut) as scope:
            logits = linear_logit_fn_builder(units, self.columns, self.combiner)(features)
            summarize(logits, scope.name)
        return _Half(logits, optimizer, scope.name)


@dataclass(frozen=True)
class _Deep:
    """The dense network: its columns, its optimizer, and its layers."""

    columns: Sequence[Any]
    optimizer: Any
    hidden_units: Sequence[int] | None
    activation: Any
    dropout: float | None
    batch_norm: bool

    def logits(self, features: Mapping[str, Any], mode: str, units: int, parts: int, cut: Any) -> _Half:
        optimizer = optimizer_of(self.optimizer, DEEP_LEARNING_RATE)
        if not self.hidden_units:
            raise ValueError("dnn_hidden_units must be defined when dnn_feature_columns is specified.")
        with variable_scope(
            "dnn", values=tuple(features.values()), partitioner=min_max_variable_partitioner(parts)
        ) as scope:
            logit_fn = dnn_logit_fn_builder(
                units, self.hidden_units, self.columns, self.activation, self.dropout, cut, self.batch_norm
            )
            return _Half(logit_fn(features, mode), optimizer, scope.name)


@dataclass(frozen=True)
class _Half:
    """What a half gives: logits, and the optimizer of the variables in its scope."""

    logits: Any
    optimizer: Any
    scope: str

    def step(self, loss: Any) -> Any:
        variables = get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES, self.scope)
        return self.optimizer.minimize(loss, var_list=variables)


def _model_fn(head: Head, wide: _Wide, deep: _Deep, partitioner: Any) -> Callable[..., EstimatorSpec]:
    if not wide.columns and not deep.columns:
        raise ValueError("Either linear_feature_columns or dnn_feature_columns must be defined.")

    def model_fn(features: Any, labels: Any, mode: str, config: Any) -> EstimatorSpec:
        given, parts, units = checked_features(features), replicas(config), head.logits_dimension
        cut = partitioner or min_max_variable_partitioner(parts, min_slice_size=SLICE)
        halves = []
        if deep.columns:
            halves.append(deep.logits(given, mode, units, parts, cut))
        if wide.columns:
            halves.append(wide.logits(given, units, cut))
        logits = halves[0].logits + halves[1].logits if len(halves) == 2 else halves[0].logits

        def train_op_fn(loss: Any) -> Any:
            step = group(*(half.step(loss) for half in halves))
            with control_dependencies([step]):
                return assign_add(get_global_step(), 1).op

        return head.create_estimator_spec(given, mode, logits, labels, train_op_fn=train_op_fn)

    return model_fn


class DNNLinearCombinedEstimator(Estimator):
    """A wide and deep model with a head of one's own.

    Args:
        head: a `tf.estimator` head.
        model_dir, config: see `Estimator`.
        linear_feature_columns: dense or categorical columns of the linear half.
        linear_optimizer: an optimizer, a function that makes one, or a name (learning rate 0.005, or less where there
            are many columns).
        dnn_feature_columns: dense columns of the network.
        dnn_optimizer: likewise (learning rate 0.001).
        dnn_hidden_units: the sizes of the hidden layers.
        dnn_activation_fn: of the hidden layers.
        dnn_dropout: the probability to leave out a hidden unit in training.
        input_layer_partitioner: cuts tables into parts.
        batch_norm: normalize each hidden layer.
        linear_sparse_combiner: how the weights of several ids in a row become one.

    Raises:
        ValueError: there are no columns, or no hidden layers for those of the network.
    """

    def __init__(
        self, head: Head, model_dir: Any = None, linear_feature_columns: Any = None, linear_optimizer: Any = "Ftrl",
        dnn_feature_columns: Any = None, dnn_optimizer: Any = "Adagrad",
        dnn_hidden_units: Sequence[int] | None = None, dnn_activation_fn: Any = relu,
        dnn_dropout: float | None = None, input_layer_partitioner: Any = None, config: RunConfig | None = None,
        batch_norm: bool = False, linear_sparse_combiner: str = "sum",
    ) -> None:  # fmt: skip
        wide = _Wide(tuple(linear_feature_columns or ()), linear_optimizer, linear_sparse_combiner)
        deep = _Deep(tuple(dnn_feature_columns or ()), dnn_optimizer, dnn_hidden_units, dnn_activation_fn,
                     dnn_dropout, batch_norm)  # fmt: skip
        super().__init__(_model_fn(head, wide, deep, input_layer_partitioner), model_dir, config)


class DNNLinearCombinedClassifier(Estimator):
    """A wide and deep model of two or more classes.

    Args:
        n_classes: how many classes there are; labels are below it.
        weight_column: the feature of the examples' weights, or a dense column.
        label_vocabulary: the names of classes, where labels are names.
        warm_start_from: see `Estimator`.
        loss_reduction: how the losses of a batch become one, as in `tf.losses.Reduction`.

    For the other arguments see `DNNLinearCombinedEstimator`.
    """

    def __init__(
        self, model_dir: Any = None, linear_feature_columns: Any = None, linear_optimizer: Any = "Ftrl",
        dnn_feature_columns: Any = None, dnn_optimizer: Any = "Adagrad",
        dnn_hidden_units: Sequence[int] | None = None, dnn_activation_fn: Any = relu,
        dnn_dropout: float | None = None, n_classes: int = 2, weight_column: Any = None, label_vocabulary: Any = None,
        input_layer_partitioner: Any = None, config: RunConfig | None = None, warm_start_from: Any = None,
        loss_reduction: str = Reduction.SUM, batch_norm: bool = False, linear_sparse_combiner: str = "sum",
    ) -> None:  # fmt: skip
        head = class_head(n_classes, weight_column, label_vocabulary, loss_reduction)
        wide = _Wide(tuple(linear_feature_columns or ()), linear_optimizer, linear_sparse_combiner)
        deep = _Deep(tuple(dnn_feature_columns or ()), dnn_optimizer, dnn_hidden_units, dnn_activation_fn,
                     dnn_dropout, batch_norm)  # fmt: skip
        fn = _model_fn(head, wide, deep, input_layer_partitioner)
        super().__init__(fn, model_dir, config, warm_start_from=warm_start_from)


class DNNLinearCombinedRegressor(Estimator):
    """A wide and deep model of numbers.

    Args:
        label_dimension: how many there are for an example. For the other arguments see `DNNLinearCombinedClassifier`.
    """

    def __init__(
        self, model_dir: Any = None, linear_feature_columns: Any = None, linear_optimizer: Any = "Ftrl",
        dnn_feature_columns: Any = None, dnn_optimizer: Any = "Adagrad",
        dnn_hidden_units: Sequence[int] | None = None, dnn_activation_fn: Any = relu,
        dnn_dropout: float | None = None, label_dimension: int = 1, weight_column: Any = None,
        input_layer_partitioner: Any = None, config: RunConfig | None = None, warm_start_from: Any = None,
        loss_reduction: str = Reduction.SUM, batch_norm: bool = False, linear_sparse_combiner: str = "sum",
    ) -> None:  # fmt: skip
        head = RegressionHead(label_dimension, weight_column, loss_reduction)
        wide = _Wide(tuple(linear_feature_columns or ()), linear_optimizer, linear_sparse_combiner)
        deep = _Deep(tuple(dnn_feature_columns or ()), dnn_optimizer, dnn_hidden_units, dnn_activation_fn,
                     dnn_dropout, batch_norm)  # fmt: skip
        fn = _model_fn(head, wide, deep, input_layer_partitioner)
        super().__init__(fn, model_dir, config, warm_start_from=warm_start_from)


__all__ = ["DNNLinearCombinedClassifier", "DNNLinearCombinedEstimator", "DNNLinearCombinedRegressor"]
