"""`tf.resource_loader`: files that lie beside a program.

TensorFlow looks in its own package first. coldframe has no such files: paths are relative to the module that asks, or
to the program.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from coldframe.tf1 import errors


def get_root_dir_with_all_resources() -> str:
    """Return the folder of the program; the current folder where Python was started without one."""
    main = getattr(sys.modules["__main__"], "__file__", None)
    return os.path.dirname(os.path.abspath(main)) if main else os.getcwd()


def get_data_files_path() -> str:
    """Return the folder of the module that calls this."""
    return os.path.dirname(sys._getframe(1).f_code.co_filename)


def get_path_to_datafile(path: str) -> str:
    """Return `path`, relative to the folder of the module that calls this, or to the program if it is not there."""
    beside = os.path.join(os.path.dirname(sys._getframe(1).f_code.co_filename), path)
    below = os.path.join(get_root_dir_with_all_resources(), path)
    return below if not os.path.exists(beside) and os.path.exists(below) else beside


def load_resource(path: str) -> bytes:
    """Return the bytes of a file, relative to the folder of the program; `NotFoundError` if there is none."""
    name = os.path.join(get_root_dir_with_all_resources(), path)
    try:
        return Path(name).read_bytes()
    except OSError as e:
        raise errors.from_system(e) from e


def readahead_file_path(path: str, readahead: str = "128M") -> str:
    """Return `path`: local files need no mark for being read ahead."""
    del readahead
    return path
