"""Linear algebra: the names of `tf.linalg`."""

from __future__ import annotations

from coldframe.tf1.arithmetic_ops import cross, matmul
from coldframe.tf1.clip_ops import global_norm
from coldframe.tf1.contraction_ops import einsum, tensordot
from coldframe.tf1.linalg_functions import (
    lu_matrix_inverse,
    lu_reconstruct,
    matrix_rank,
    matvec,
    normalize,
    pinv,
)
from coldframe.tf1.linalg_ops import (
    adjoint,
    cholesky,
    cholesky_solve,
    eig,
    eigvals,
    logdet,
    lu,
    lu_solve,
    norm,
    qr,
    svd,
)
from coldframe.tf1.linalg_ops import (
    log_matrix_determinant as slogdet,
)  # fmt: skip
from coldframe.tf1.linalg_ops import (
    matrix_determinant as det,
)
from coldframe.tf1.linalg_ops import (
    matrix_inverse as inv,
)
from coldframe.tf1.linalg_ops import (
    matrix_logarithm as logm,
)
from coldframe.tf1.linalg_ops import (
    matrix_solve as solve,
)
from coldframe.tf1.linalg_ops import (
    matrix_solve_ls as lstsq,
)
from coldframe.tf1.linalg_ops import (
    matrix_square_root as sqrtm,
)
from coldframe.tf1.linalg_ops import (
    matrix_triangular_solve as triangular_solve,
)
from coldframe.tf1.linalg_ops import (
    self_adjoint_eig as eigh,
)
from coldframe.tf1.linalg_ops import (
    self_adjoint_eigvals as eigvalsh,
)
from coldframe.tf1.matrix_exponential import expm
from coldframe.tf1.nn.norm_ops import l2_normalize
from coldframe.tf1.reduce_ops import trace
from coldframe.tf1.shape_ops import (
    diag as tensor_diag,
)  # fmt: skip
from coldframe.tf1.shape_ops import (
    diag_part as tensor_diag_part,
)
from coldframe.tf1.shape_ops import (
    eye,
    matrix_transpose,
)
from coldframe.tf1.shape_ops import (
    matrix_band_part as band_part,
)
from coldframe.tf1.shape_ops import (
    matrix_diag as diag,
)
from coldframe.tf1.shape_ops import (
    matrix_diag_part as diag_part,
)
from coldframe.tf1.shape_ops import (
    matrix_set_diag as set_diag,
)
from coldframe.tf1.shape_ops import (
    matrix_transpose as transpose,
)

__all__ = [
    "adjoint", "band_part", "cholesky", "cholesky_solve", "cross", "det", "diag", "diag_part", "eig", "eigh",
    "eigvals", "eigvalsh", "einsum", "expm", "eye", "global_norm", "inv", "l2_normalize", "logdet", "logm", "lstsq",
    "lu", "lu_matrix_inverse", "lu_reconstruct", "lu_solve", "matmul", "matrix_rank", "matrix_transpose", "matvec",
    "norm", "normalize", "pinv", "qr", "set_diag", "slogdet", "solve", "sqrtm", "svd", "tensor_diag",
    "tensor_diag_part", "tensordot", "trace", "transpose", "triangular_solve",
]  # fmt: skip
