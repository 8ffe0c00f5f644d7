"""`import coldframe.tf1 as tf`: the TF1 graph API."""
