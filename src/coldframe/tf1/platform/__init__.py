"""What TF1 programs use beside graphs: files, flags, logging, tests. Nothing here knows a graph."""
