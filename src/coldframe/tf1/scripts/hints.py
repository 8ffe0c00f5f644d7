"""What to do about errors that are none of coldframe: Python 2, modules that are not installed, names not found."""

from __future__ import annotations

import importlib
import re
import sys
from typing import Final

from coldframe.tf1.lazy import MissingSymbol

_PYTHON_2: Final = "is written for Python 2; convert it first, with `2to3 -w` or `futurize -w`"
_SYNTAX_OF_2: Final = re.compile(
    r"""^\s*(print\s*$|print\s+[^\s(=]|print\s*>>|exec\s+[^\s(=]|raise\s+\w+\s*,|except\s+[\w.]+\s*,\s*\w+\s*:)|<>|`\w|\b0\d+\b
        |\bur['"]|\b\d+[lL]\b|\blambda\s*\(|^\s*def\s+\w+\(.*\([\w\s,]+\).*\):""",
    re.VERBOSE,
)
_BUILTINS_OF_2: Final = frozenset({
    "basestring", "cmp", "execfile", "file", "long", "raw_input", "reduce", "reload", "unichr", "unicode", "xrange",
})  # fmt: skip
_MODULES_OF_2: Final = frozenset({
    "ConfigParser", "HTMLParser", "Queue", "SimpleHTTPServer", "StringIO", "Tkinter", "cPickle", "cStringIO",
    "commands", "httplib", "thread", "urllib2", "urlparse",
})  # fmt: skip
_FUNCTIONS_OF_2: Final = frozenset({"quote", "unquote", "urlencode", "urlopen", "urlretrieve"})  # of urllib
_METHODS_OF_2: Final = frozenset({"has_key", "iteritems", "iterkeys", "itervalues", "next", "decode"})
_BETWEEN_TABS: Final = "inconsistent use of tabs"
_CANNOT_IMPORT: Final = re.compile(r"cannot import name '(\w+)' from '((?:coldframe|tensorflow)[\w.]*)'")


def hint_for(error: BaseException) -> str:
    """Return what to do about `error`, or an empty string."""
    if isinstance(error, SyntaxError):
        old = _BETWEEN_TABS in str(error.msg) or _SYNTAX_OF_2.search(error.text or "") is not None
        return f"`{error.filename}` {_PYTHON_2}" if old else ""
    if isinstance(error, NameError) and error.name in _BUILTINS_OF_2:
        return f"`{error.name}` is a built-in of Python 2: the script {_PYTHON_2}"
    if isinstance(error, MissingSymbol):
        return ""
    if isinstance(error, AttributeError) and error.name in _FUNCTIONS_OF_2 and error.obj is sys.modules.get("urllib"):
        return f"`urllib.{error.name}` is a function of Python 2: the script {_PYTHON_2}"
    if isinstance(error, AttributeError) and error.name in _METHODS_OF_2:
        return f"`{error.name}` is a method of Python 2: the script {_PYTHON_2}"
    if isinstance(error, ModuleNotFoundError):
        return _module(error.name or "")
    return ""


def _module(name: str) -> str:
    if name in _MODULES_OF_2:
        return f"`{name}` is a module of Python 2: the script {_PYTHON_2}"
    if name.startswith(("tensorflow", "coldframe")):
        return ""
    return f"`{name}` is no part of TensorFlow or coldframe; the script needs it installed, or in its folder"


def rephrase(error: BaseException) -> None:
    """Let an error of importing a name from a namespace of ours say what the namespace says of it."""
    found = _CANNOT_IMPORT.match(str(error)) if isinstance(error, ImportError) else None
    if found is None or not isinstance(error, ImportError):
        return
    try:
        getattr(importlib.import_module(found[2]), found[1])
    except AttributeError as e:
        error.msg = str(e)
