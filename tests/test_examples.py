"""The example programs do what they promise, as a user starts them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

import coldframe

EXAMPLES = Path(__file__).parents[1] / "examples"


def start(program: str, *args: object) -> str:
    """Run an example in a process of its own and return what it prints; warnings are errors."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / program), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_recommender(tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    said = start("recommender.py", once, "--epochs", 5)
    unseen = [float(x) for x in re.findall(r"never seen ([\d.]+)", said)]
    assert len(unseen) == 5
    assert unseen == sorted(unseen, reverse=True)
    assert unseen[-1] < 0.6 * unseen[0]
    assert re.search(
        r"^user 7 liked (\w+ no\. \d+(, )?){3}\n  and may like (\w+ no\. \d+ \(\d\.\d\)(, )?){3}$", said, re.MULTILINE
    )

    start("recommender.py", twice, "--epochs", 2)
    went_on = start("recommender.py", twice, "--epochs", 5)
    assert went_on.startswith("going on from step 160\nepoch 3: ")
    assert said.endswith(went_on.partition("\n")[2])
    a, b = (coldframe.open_checkpoint(folder) for folder in (once, twice))
    assert a.specs["users"].shape.dims == (300, 4)  # three parts, one tensor
    assert sorted(a) == sorted(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_anomaly(tmp_path: Path) -> None:
    said = start("anomaly.py", tmp_path)
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)", said)]
    assert losses[-1] < losses[0] / 3
    alarms = re.findall(r"^alarm in hours (\d+) to (\d+), up to [\d.]+ times the limit: (.*)$", said, re.MULTILINE)
    assert [what for *_, what in alarms] == ["sensor 0 is stuck", "sensor 1 drifts away", "the rhythm is lost"]
    (graph,) = coldframe.inspect(tmp_path / "anomaly.pb").graphs
    assert graph.unsupported == {}
    went_on = start("anomaly.py", tmp_path)
    assert went_on == "going on from step 400\n" + said[said.index("alarm") :]
