"""The core of the graph API: graphs, operations, tensors, and how nodes are built."""
