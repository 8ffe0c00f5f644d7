"""A training program that is killed with SIGKILL and started again ends as if nothing had happened, to the bit."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import coldframe as cf

ROOT = Path(__file__).resolve().parents[1]
STEPS = 30


def command(folder: Path) -> list[str]:
    program = str(ROOT / "examples" / "train_digits.py")
    return [sys.executable, program, str(folder), "--steps", str(STEPS), "--save-every", "2"]


def finish(folder: Path) -> str:
    done = subprocess.run(command(folder), capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bits(value: Any) -> Any:
    array = np.asarray(value)
    return array.dtype, array.shape, array.tolist() if array.dtype == object else array.tobytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert finish(folder).startswith("starting")
    return folder


@pytest.mark.parametrize("kill_after", [2, 7])
def test_killed_and_started_again_it_ends_the_same_to_the_bit(whole: Path, tmp_path: Path, kill_after: int) -> None:
    process = subprocess.Popen(command(tmp_path), cwd=ROOT, stdout=subprocess.DEVNULL)
    seen: set[str] = set()
    try:
        while process.poll() is None and len(seen) < kill_after:
            seen.update(p.name for p in tmp_path.glob("*.index"))
            time.sleep(0.001)
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(random.uniform(0, 0.01))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    saved = cf.open_checkpoint(tmp_path)  # the state file never names a checkpoint that is not whole
    assert 0 < int(saved["global_step"]) <= STEPS
    assert "going on from step" in finish(tmp_path)
    ours, theirs = cf.open_checkpoint(tmp_path), cf.open_checkpoint(whole)
    assert set(ours) == set(theirs)
    assert int(ours["global_step"]) == STEPS
    different = [name for name in ours if bits(ours[name]) != bits(theirs[name])]
    assert not different
    assert {"dense/kernel/Adam", "conv1/kernel/Adam_1", "beta1_power"} <= {n.replace("train/", "") for n in ours}
    for key in ("loss", "probabilities"):
        with np.load(tmp_path / "live.npz") as a, np.load(whole / "live.npz") as b:
            assert a[key].tobytes() == b[key].tobytes(), key


def test_the_frozen_graph_gives_what_the_live_session_gave(whole: Path) -> None:
    model = cf.load(whole / "digits.pb")
    with np.load(ROOT / "examples" / "digits" / "test.npz") as test, np.load(whole / "live.npz") as live:
        made = model.run({"image:0": test["images"]}, ["probabilities:0"])["probabilities:0"]
        np.testing.assert_allclose(made, live["probabilities"], rtol=1e-5, atol=1e-6)
