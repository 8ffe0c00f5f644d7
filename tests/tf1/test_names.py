"""The names that real TF1 programs use are there; those that are not say what to use."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re

import pytest

import coldframe.tf1 as tf
from coldframe.tf1.lazy import MissingSymbol
from shared_data import reference_path


def words(text: str) -> list[str]:
    return text.split()


# Used by at least two of the files that were counted over public repositories of TF1 programs.
USED = words("""
AUTO_REUSE ConfigProto FixedLenFeature GPUOptions Graph GraphDef GraphKeys.GLOBAL_VARIABLES
GraphKeys.REGULARIZATION_LOSSES GraphKeys.TRAINABLE_VARIABLES InteractiveSession NodeDef Operation Session Summary
Tensor Variable abs add add_n add_to_collection app.flags.DEFINE_boolean app.flags.FLAGS app.run arg_min argmax
assign assign_add bool cast clip_by_global_norm clip_by_norm clip_by_value concat cond constant constant_initializer
contrib.data.map_and_batch contrib.layers.flatten contrib.layers.fully_connected contrib.layers.layer_norm
contrib.layers.xavier_initializer contrib.rnn.BasicLSTMCell contrib.rnn.static_rnn contrib.seq2seq.sequence_loss
control_dependencies convert_to_tensor data.Dataset.from_tensor_slices data.TFRecordDataset device div equal
errors.OutOfRangeError estimator.Estimator estimator.EstimatorSpec estimator.ModeKeys.EVAL estimator.ModeKeys.PREDICT
estimator.ModeKeys.TRAIN estimator.inputs.numpy_input_fn exp expand_dims flags.DEFINE_boolean flags.DEFINE_integer
flags flags.DEFINE_string flags.FLAGS float16 float32 float64 gather get_collection get_default_graph
get_default_session get_variable get_variable_scope gfile.Exists gfile.FastGFile gfile.GFile gfile.Glob
gfile.MakeDirs gfile.Open global_norm global_variables global_variables_initializer gradients greater group
identity image.decode_image
image.decode_jpeg image.per_image_standardization image.random_flip_left_right image.resize_bilinear
image.resize_image_with_crop_or_pad image.resize_images import_graph_def int16 int32 int64 layers.Dense
layers layers.average_pooling2d layers.conv2d layers.conv2d_transpose layers.dense layers.dropout layers.flatten
layers.max_pooling2d local_variables_initializer log logging.INFO logging.info logging.set_verbosity
losses.mean_squared_error losses.softmax_cross_entropy matmul maximum metrics.accuracy metrics.mean minimum mod
multiply name_scope negative nn.avg_pool nn.batch_norm_with_global_normalization nn.batch_normalization nn.bias_add
nn.conv2d nn.conv2d_transpose nn.dropout nn.dynamic_rnn nn.embedding_lookup nn.l2_loss nn.l2_normalize nn.log_softmax
nn.max_pool nn.moments nn.nce_loss nn.relu nn.relu_layer nn.rnn_cell.BasicLSTMCell nn.rnn_cell.BasicRNNCell
nn.rnn_cell.DropoutWrapper nn.rnn_cell.LSTMCell nn.rnn_cell.MultiRNNCell nn.sigmoid
nn.sigmoid_cross_entropy_with_logits nn.softmax nn.softmax_cross_entropy_with_logits
nn.softmax_cross_entropy_with_logits_v2 nn.softplus nn.sparse_softmax_cross_entropy_with_logits nn.tanh nn.xw_plus_b
no_op one_hot ones ones_like parse_single_example placeholder pow py_func python_io.TFRecordWriter random_crop
random_normal random_normal_initializer random_uniform random_uniform_initializer range read_file reduce_max
reduce_mean reduce_sum reset_default_graph reshape set_random_seed shape sigmoid sin slice split sqrt square squeeze
stack stop_gradient string summary.FileWriter summary.histogram summary.image summary.merge summary.merge_all
summary.scalar tanh to_float to_int32 train.AdagradOptimizer train.AdamOptimizer train.Coordinator train.Example
train.ExponentialMovingAverage train.Feature train.Features train.GradientDescentOptimizer train.Int64List
train.MomentumOptimizer train.Optimizer train.RMSPropOptimizer train.Saver train.Scaffold train.batch
train.batch_join train.checkpoint_exists train.exponential_decay train.get_checkpoint_state train.get_global_step
train.get_or_create_global_step train.import_meta_graph train.init_from_checkpoint train.latest_checkpoint
train.slice_input_producer train.start_queue_runners train.string_input_producer trainable_variables transpose
truncated_normal truncated_normal_initializer uint8 unstack variable_scope variables_initializer where zeros
zeros_initializer zeros_like
""")

# Eager execution and TPUs: not what coldframe is for.
ABSENT = words("""
contrib.cluster_resolver.TPUClusterResolver contrib.eager contrib.tpu.InputPipelineConfig.PER_HOST_V2
contrib.tpu.RunConfig contrib.tpu.TPUConfig contrib.tpu.TPUEstimator contrib.tpu.TPUEstimatorSpec
enable_eager_execution
""")


# Words of comments and of the programs' own, which TensorFlow does not have either.
NO_NAMES = words("Example placeholders")


def find(name: str) -> object:
    return functools.reduce(getattr, name.split("."), tf)


@pytest.mark.parametrize("name", USED)
def test_names_of_real_programs_are_there(name: str) -> None:
    assert find(name) is not None


def test_the_list_is_that_of_the_programs() -> None:
    counted = set()
    for line in reference_path("tf1-api-usage.md").read_text().splitlines():
        if found := re.match(r"- (\d+): (.+)", line):
            counted |= set(found[2].strip().split(", ")) if int(found[1]) > 1 else set()
    assert len(counted) > 200
    assert sorted(counted - {*USED, *ABSENT, *NO_NAMES}) == []


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_left_out_says_so(name: str) -> None:
    with pytest.raises(MissingSymbol, match=r"coldframe has no .*\n?hint: "):
        find(name)


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(AttributeError, match="did you mean `reduce_mean`"):
        find("reduce_meen")


def namespaces() -> list[str]:
    found = []
    for info in pkgutil.walk_packages(tf.__path__, "coldframe.tf1."):
        module = importlib.import_module(info.name)
        if hasattr(type(module), "_sources"):
            found.append(info.name)
    return ["coldframe.tf1", *found]


def test_every_name_of_every_namespace_can_be_looked_up() -> None:
    for name in namespaces():
        module = importlib.import_module(name)
        for attribute in dir(module):
            getattr(module, attribute)
