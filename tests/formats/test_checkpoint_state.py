from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf

from coldframe.checkpoint import latest_checkpoint
from coldframe.errors import CorruptError, NotFoundError
from coldframe.formats import checkpoint_state as cs
from coldframe.formats.bundle_writer import write_bundle
from coldframe.formats.checkpoint_state import CheckpointState


def test_both_read_what_both_write(tmp_path):
    state = CheckpointState("mödel-2", ("a\"b'\\\n-1", "mödel-2"), (1.5, 1700000000.25), 3.5)
    cs.write_state(tmp_path / "checkpoint", state)
    assert cs.read_state(tmp_path / "checkpoint") == state
    theirs = tf.train.get_checkpoint_state(str(tmp_path))
    assert theirs.model_checkpoint_path == str(tmp_path / state.latest)
    assert list(theirs.all_model_checkpoint_timestamps) == [1.5, 1700000000.25]
    tf.compat.v1.train.update_checkpoint_state(
        str(tmp_path), str(tmp_path / "m-2"), [str(tmp_path / "m-1")], all_model_checkpoint_timestamps=[1.0, 2.0]
    )
    ours = cs.read_state(tmp_path / "checkpoint")
    assert ours == CheckpointState(
        str(tmp_path / "m-2"), (str(tmp_path / "m-1"), str(tmp_path / "m-2")), (1.0, 2.0), ours.last_preserved
    )


def test_paths_of_a_folder_that_moved(tmp_path):
    write_bundle(tmp_path / "m-1", {"a": np.ones(1)})
    here = os.fspath(tmp_path / "m-1")
    assert cs.resolve("m-1", tmp_path) == here
    assert cs.resolve("/gone/m-1", tmp_path) == here
    assert cs.resolve(here, "/elsewhere") == here
    assert cs.resolve("/gone/m-2", tmp_path) == "/gone/m-2"


def test_errors(tmp_path):
    with pytest.raises(NotFoundError, match="no file"):
        cs.read_state(tmp_path / "checkpoint")
    (tmp_path / "checkpoint").write_text("model_checkpoint_path: 3")
    with pytest.raises(CorruptError, match=r"damaged text of tensorflow.CheckpointState in .*checkpoint"):
        cs.read_state(tmp_path / "checkpoint")


@pytest.mark.parametrize("name", ["x" * 5000, "/" + "d/" * 3000, "/", "-?????-of-00002", ".."])
def test_a_name_that_no_checkpoint_has(tmp_path, name):
    cs.write_state(tmp_path / "checkpoint", CheckpointState(name))
    assert not cs.exists(cs.resolve(name, tmp_path))
    assert latest_checkpoint(tmp_path) is None


def test_a_path_with_a_zero_byte(tmp_path):
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m"\nall_model_checkpoint_paths: "a\\000b"\n')
    with pytest.raises(CorruptError, match=r"path that cannot be in .*checkpoint: found 'a\\x00b'"):
        cs.read_state(tmp_path / "checkpoint")
