"""Matrix-free linear operators and the solvers that invert them."""

from sam_attribution.linalg._arnoldi import Arnoldi
from sam_attribution.linalg._bicgstab import BiCGSTAB
from sam_attribution.linalg._block_diagonal import BlockDiagonal
from sam_attribution.linalg._cg import CG
from sam_attribution.linalg._count_sketch import CountSketch
from sam_attribution.linalg._default import default_solver, is_small
from sam_attribution.linalg._direct import Direct, check_dense_memory
from sam_attribution.linalg._factorisation import (
    NotFinite,
    SingularMatrix,
    check_finite,
    least_of_moments,
    symmetric_eigen,
)
from sam_attribution.linalg._gmres import GMRES
from sam_attribution.linalg._lissa import LiSSA
from sam_attribution.linalg._memory import check_memory, fits_into_memory
from sam_attribution.linalg._minres import MINRES
from sam_attribution.linalg._neumann import Neumann
from sam_attribution.linalg._operator import (
    ColumnOperator,
    Damped,
    Dense,
    Diagonal,
    LinearOperator,
    Product,
    Restricted,
    Scaled,
    Sum,
    check_symmetric,
)
from sam_attribution.linalg._solution import Inverse, Solution
from sam_attribution.linalg._spectrum import extreme_eigenvalues

__all__ = [
    "CG",
    "GMRES",
    "MINRES",
    "Arnoldi",
    "BiCGSTAB",
    "Direct",
    "Inverse",
    "LiSSA",
    "LinearOperator",
    "Neumann",
    "Solution",
]
