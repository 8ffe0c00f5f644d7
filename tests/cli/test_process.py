"""The command as a process: what scripts see."""

from __future__ import annotations

import os
import subprocess
import sys

from cli_harness import DIGITS, ROOT


def process(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coldframe", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | env,
    )


def test_a_designed_error_has_no_traceback() -> None:
    done = process("inspect", "nothing-here")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: no file `nothing-here`")
    assert "Traceback" not in done.stderr


def test_no_colours_in_a_pipe() -> None:
    done = process("inspect", f"{DIGITS}/model.ckpt-460", FORCE_COLOR="1")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m coldframe ops | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""
