"""The intermediate representation: graphs, nodes, functions, names.

Knows no engine, and no file format but in `convert`.
"""
