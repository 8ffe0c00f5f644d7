"""The command ``coldframe``: one module per command, arguments to library calls and back, no logic."""
