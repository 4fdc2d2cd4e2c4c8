"""The exact solver for an operator of a given size."""

from sam_attribution.linalg._direct import Direct
from sam_attribution.linalg._gmres import GMRES

# up to about here forming the dense matrix is quicker than the products that GMRES needs
DENSE_SIZE = 1000


def is_small(size: int) -> bool:
    """True if a matrix of that size is formed rather than only multiplied with."""
    return size <= DENSE_SIZE


def default_solver(size: int) -> Direct | GMRES:
    """``Direct()`` up to 1000 numbers, ``GMRES()`` above: both take any square operator."""
    return Direct() if is_small(size) else GMRES()
