"""Merging checkpoints gives what TensorFlow's own merge gives, and refuses what cannot be merged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coldframe.errors import MisuseError, NotFoundError
from coldframe.formats.bundle import BundleReader
from coldframe.formats.bundle_merge import merge_bundles
from tf_saver import merge_v2, save_v2

P = np.arange(12, dtype=np.float32).reshape(4, 3)


def parts(folder: Path) -> list[Path]:
    folder.mkdir()
    save_v2(folder / "one", {"b": np.ones(3), "t": np.array([b"x", b""], object)}, [("p", "4 3 0,2:-", P[:2])])
    save_v2(folder / "two", {"a": np.int64(7)}, [("p", "4 3 2,2:-", P[2:])])
    return [folder / "one", folder / "two"]


def test_files_are_tensorflows(tmp_path: Path) -> None:
    merge_bundles(parts(tmp_path / "mine"), tmp_path / "ours")
    merge_v2(parts(tmp_path / "its"), tmp_path / "theirs")
    for suffix in ("index", "data-00000-of-00002", "data-00001-of-00002"):
        assert (tmp_path / f"ours.{suffix}").read_bytes() == (tmp_path / f"theirs.{suffix}").read_bytes(), suffix
    np.testing.assert_array_equal(BundleReader(tmp_path / "ours").read("p"), P)
    assert (tmp_path / "mine" / "one.index").is_file(), "the parts are left as they are"


def test_what_cannot_be_merged(tmp_path: Path) -> None:
    one, _ = parts(tmp_path / "parts")
    with pytest.raises(MisuseError, match="tensor `b` is already in the checkpoint"):
        merge_bundles([one, one], tmp_path / "m")
    with pytest.raises(NotFoundError, match="no checkpoint is called"):
        merge_bundles([one, tmp_path / "none"], tmp_path / "m")
    with pytest.raises(MisuseError, match="nothing to merge"):
        merge_bundles([], tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["parts"]
