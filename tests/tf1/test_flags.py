"""Flags, programs and logging as programs use them: in processes of their own, as flags belong to a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """\
import sys
from coldframe.tf1.platform import app, flags, logging
class tf: app = app; flags = flags; logging = logging
"""
FLAGS = (
    HEAD
    + """\
flags = tf.app.flags
flags.DEFINE_string("name", "nobody", "who")
flags.DEFINE_integer(flag_name="steps", default_value=10, docstring="how many")
flags.DEFINE_float("rate", 0.1, "how fast")
flags.DEFINE_boolean("train", False, "whether")
flags.DEFINE_bool("log", True, "whether")
flags.DEFINE_enum("kind", "a", ["a", "b"], "which")
flags.DEFINE_list("sizes", ["1"], "which")
flags.DEFINE_multi_integer("gpu", [], "which")
FLAGS = tf.flags.FLAGS
"""
)


def python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60, check=False)


def out(code: str, *args: str) -> str:
    done = python(code, *args)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_command_line_is_read_at_the_first_flag() -> None:
    code = FLAGS + "print(FLAGS.is_parsed(), FLAGS.steps, FLAGS.is_parsed(), FLAGS.name, FLAGS.rate, FLAGS.train)"
    assert out(code) == "False 10 True nobody 0.1 False"
    assert out(code, "--steps=3", "--name", "me", "--rate", "2", "--train") == "False 3 True me 2.0 True"
    assert out(FLAGS + "print(FLAGS.train, FLAGS.log)", "--train=true", "--nolog") == "True False"
    assert out(
        FLAGS + "print(FLAGS.kind, FLAGS.sizes, FLAGS.gpu)", "--kind=b", "--sizes=1,2", "--gpu=0", "--gpu=1"
    ) == ("b ['1', '2'] [0, 1]")


def test_foreign_arguments_are_left_alone() -> None:
    assert out(FLAGS + "print(FLAGS.steps)", "--unknown=1", "-q", "--steps=4", "rest") == "4"


def test_a_wrong_value_is_an_error() -> None:
    done = python(FLAGS + "FLAGS.steps", "--steps=many")
    assert done.returncode != 0
    assert "flag --steps=many: invalid literal for int()" in done.stderr


def test_flags_as_mappings() -> None:
    code = FLAGS + "d = FLAGS.flag_values_dict(); print(d['steps'], d['name'], 'steps' in FLAGS, 'none' in FLAGS)"
    assert out(code, "--steps=5") == "5 nobody True False"
    old = FLAGS + "FLAGS._parse_flags()\nprint([a for a, v in sorted(FLAGS.__flags.items())])"
    assert {"gpu", "name", "steps"} <= set(out(old).strip("[]").replace("'", "").split(", "))
    assert out(
        FLAGS + "FLAGS.name = 'set'; print(FLAGS.name, FLAGS['name'].value, len(FLAGS) == len(list(FLAGS)))"
    ) == ("set set True")
    assert out(FLAGS + "print(FLAGS(['prog', '--steps=7', 'x']), FLAGS.steps)") == "['prog', 'x'] 7"


def test_an_unknown_flag_is_an_attribute_error() -> None:
    done = python(FLAGS + "FLAGS.nothing")
    assert "AttributeError" in done.stderr
    assert "AttributeError: module" in python(HEAD + "tf.flags.DEFINE_nothing").stderr


def test_abseils_flags_are_the_same() -> None:
    assert out(FLAGS + "from absl import flags as f; FLAGS.steps; print(f.FLAGS.steps)", "--steps=8") == "8"


def test_run_calls_main_with_what_is_left() -> None:
    code = FLAGS + "def main(argv):\n  print(argv[1:], FLAGS.steps)\ntf.app.run()"
    assert out(code, "--steps=2", "x", "--other") == "['x', '--other'] 2"
    code = FLAGS + "def go(_):\n  print(FLAGS.steps); return 3\ntf.app.run(main=go, argv=['p', '--steps=9'])"
    done = python(code, "--steps=1")
    assert (done.stdout.strip(), done.returncode) == ("9", 3)


def test_run_tells_what_is_wrong_with_flags() -> None:
    done = python(
        FLAGS
        + "flags.DEFINE_string('m', None, ''); tf.flags.mark_flag_as_required('m')\n"
        + "def main(_): print('called')\ntf.app.run()"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "FATAL Flags parsing error: flag --m=None: Flag --m must have a value other than None" in done.stderr


@pytest.mark.parametrize("word", ["--help", "--helpfull"])
def test_help_lists_the_flags(word: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(FLAGS + "def main(_): print('called')\ntf.app.run()")
    done = subprocess.run([sys.executable, str(script), word], capture_output=True, text=True, timeout=60, check=False)
    assert "--steps: how many" in done.stdout
    assert "called" not in done.stdout


# --- logging ---
def test_lines_as_tensorflow_writes_them() -> None:
    code = HEAD + "tf.logging.info('no'); tf.logging.warn('a %d', 1); tf.logging.error('b'); tf.logging.fatal('c')"
    assert python(code).stderr.splitlines() == [
        "WARNING:tensorflow:a 1",
        "ERROR:tensorflow:b",
        "CRITICAL:tensorflow:c",
    ]


def test_verbosity() -> None:
    code = (
        HEAD
        + """\
print(tf.logging.get_verbosity() == tf.logging.WARN)
tf.logging.set_verbosity(tf.logging.INFO)
tf.logging.info("shown"); tf.logging.debug("hidden"); tf.logging.log(tf.logging.INFO, "x"); tf.logging.vlog(1, "hidden")
tf.logging.TaskLevelStatusMessage("task"); tf.logging.flush()
for i in range(5):
    tf.logging.log_every_n(tf.logging.INFO, "every %d", 2, i)
    tf.logging.log_first_n(tf.logging.INFO, "first %d", 1, i)
    tf.logging.log_if(tf.logging.INFO, "if %d", i == 3, i)
"""
    )
    done = python(code)
    assert done.stdout.strip() == "True"
    assert [line.split(":")[-1] for line in done.stderr.splitlines()] == [
        "shown", "x", "task", "every 0", "first 0", "every 2", "if 3", "every 4",
    ]  # fmt: skip


def test_a_programs_own_handlers_are_used_alone() -> None:
    code = (
        "import logging as l; l.basicConfig(format='%(levelname)s %(filename)s %(funcName)s %(message)s', level=20)\n"
        + HEAD
        + """\
def caller():
    tf.logging.info("one"); tf.logging.log(20, "two"); tf.logging.vlog(20, "three"); tf.logging.warning("four")
    tf.logging.log_every_n(20, "five", 1)
caller()
l.getLogger("tensorflow").info("six")
"""
    )
    words = ["INFO one", "INFO two", "INFO three", "WARNING four", "INFO five"]
    expected = [f"{w.split()[0]} <string> caller {w.split()[1]}" for w in words]
    assert python(code).stderr.splitlines() == [*expected, "INFO <string> <module> six"]


def test_names_are_tensorflows() -> None:
    import tensorflow as tf

    from coldframe.tf1.platform import app, flags, logging, resource_loader

    for ours, theirs in ((app, tf.compat.v1.app), (flags, tf.compat.v1.flags), (logging, tf.compat.v1.logging),
                         (resource_loader, tf.compat.v1.resource_loader)):  # fmt: skip
        names = [n for n in dir(theirs) if not n.startswith("_") and n != "tf_decorator"]
        assert [n for n in names if not hasattr(ours, n)] == []
    assert {n: getattr(logging, n) for n in ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")} == {
        n: getattr(tf.compat.v1.logging, n) for n in ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")
    }


# --- resources ---
def test_files_beside_a_program(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("here")
    (tmp_path / "lib.py").write_text(
        "from coldframe.tf1.platform import resource_loader as r\n"
        "def where(): return r.get_data_files_path(), r.get_path_to_datafile('data.txt')\n"
    )
    script = tmp_path / "script.py"
    script.write_text(
        "import lib\nfrom coldframe.tf1.platform import resource_loader as r\nfrom coldframe.tf1 import errors\n"
        "print(*lib.where(), r.load_resource('data.txt'), r.readahead_file_path('x'), end=' ')\n"
        "print(r.get_root_dir_with_all_resources())\n"
        "try: r.load_resource('none')\nexcept errors.NotFoundError as e: print('not found')\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split("\n")[:2] == [f"{tmp_path} {tmp_path}/data.txt b'here' x {tmp_path}", "not found"]
