"""Rewriting graphs: one file per pass, each a value with a name; `base` has the contract, and names the pipelines.

A pass takes a graph and returns another one. It never changes the nodes it was given; those that it does not touch are
shared. What an op is, it asks the op table: no pass knows an op by its name.
"""
