"""Square linear operators known by their products, and the algebra between them."""

from abc import ABC, abstractmethod
from copy import copy
from functools import reduce

import torch
from torch import Tensor


class LinearOperator(ABC):
    """A square matrix known by its products with vectors.

    Operators combine as matrices do: ``A + B``, ``A - B``, ``A @ B``, ``2.0 * A``, ``A.T``.
    Subclasses give :meth:`matvec` and, unless they are symmetric, :meth:`_transpose`.

    Parameters
    ----------
    like : Tensor of shape (size,)
        A vector the operator can be applied to: fixes size, dtype and device.
    symmetric : bool
        True if the matrix equals its transpose. Solvers rely on it.
    """

    def __init__(self, like: Tensor, *, symmetric: bool) -> None:
        self.like = like
        self.symmetric = symmetric

    @property
    def size(self) -> int:
        """Number of rows and columns."""
        return self.like.numel()

    @property
    def T(self) -> "LinearOperator":
        """The transposed operator."""
        return self if self.symmetric else self._transpose()

    @abstractmethod
    def matvec(self, v: Tensor) -> Tensor:
        """Product with one vector, shape (size,)."""

    def matmat(self, columns: Tensor) -> Tensor:
        """Product with columns, shape (size, k)."""
        return torch.stack([self.matvec(v) for v in columns.T], dim=1)

    def _transpose(self) -> "LinearOperator":
        raise NotImplementedError(f"{type(self).__name__} has no transpose.")

    def sampled(self, n_rows: int, generator: torch.Generator) -> "LinearOperator":
        """An operator that is this one on average, from `n_rows` random data rows.

        Itself, where no data are behind it.
        """
        return self

    def to_dense(self, chunk: int = 256) -> Tensor:
        """Materialise the matrix, `chunk` columns at a time; size**2 numbers."""
        identity = torch.eye(self.size, dtype=self.like.dtype, device=self.like.device)
        return torch.cat([self.matmat(part) for part in identity.split(chunk, dim=1)], dim=1)

    def __add__(self, other: "LinearOperator") -> "Sum":
        return Sum(self, other)

    def __sub__(self, other: "LinearOperator") -> "Sum":
        return Sum(self, Scaled(other, -1.0))

    def __matmul__(self, other: "LinearOperator") -> "Product":
        return Product(self, other)

    def __rmul__(self, factor: float) -> "Scaled":
        return Scaled(self, factor)

    def __repr__(self) -> str:
        kind = "symmetric" if self.symmetric else "non-symmetric"
        return f"{type(self).__name__}({kind}, size={self.size})"


class ColumnOperator(LinearOperator):
    """An operator that defines :meth:`matmat`; a product with one vector is one of its columns."""

    def matvec(self, v: Tensor) -> Tensor:
        return self.matmat(v[:, None])[:, 0]

    @abstractmethod
    def matmat(self, columns: Tensor) -> Tensor:
        """Product with columns, shape (size, k)."""


class Dense(ColumnOperator):
    """A matrix held as a tensor: the reference for all others."""

    def __init__(self, matrix: Tensor, *, symmetric: bool = False) -> None:
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
            raise ValueError(f"matrix must be square, got shape {tuple(matrix.shape)}.")
        super().__init__(matrix[0], symmetric=symmetric)
        self.matrix = matrix

    def matmat(self, columns: Tensor) -> Tensor:
        return self.matrix @ columns

    def to_dense(self, chunk: int = 256) -> Tensor:
        return self.matrix

    def _transpose(self) -> LinearOperator:
        return Dense(self.matrix.T)


class Diagonal(ColumnOperator):
    """Multiplication of every entry by its own number."""

    def __init__(self, diagonal: Tensor) -> None:
        super().__init__(diagonal, symmetric=True)
        self.diagonal = diagonal

    def matmat(self, columns: Tensor) -> Tensor:
        return self.diagonal[:, None] * columns


class Sum(ColumnOperator):
    """``A + B + ...``."""

    def __init__(self, *terms: LinearOperator) -> None:
        super().__init__(_common_like(terms), symmetric=all(t.symmetric for t in terms))
        self.terms = terms

    def matmat(self, columns: Tensor) -> Tensor:
        return reduce(torch.add, (term.matmat(columns) for term in self.terms))

    def _transpose(self) -> LinearOperator:
        return Sum(*(term.T for term in self.terms))

    def sampled(self, n_rows: int, generator: torch.Generator) -> LinearOperator:
        return Sum(*(term.sampled(n_rows, generator) for term in self.terms))


class Product(ColumnOperator):
    """``A B``: B is applied first."""

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        super().__init__(_common_like((left, right)), symmetric=False)
        self.left = left
        self.right = right

    def matmat(self, columns: Tensor) -> Tensor:
        return self.left.matmat(self.right.matmat(columns))

    def _transpose(self) -> LinearOperator:
        return Product(self.right.T, self.left.T)

    def sampled(self, n_rows: int, generator: torch.Generator) -> LinearOperator:
        left = self.left.sampled(n_rows, generator)
        return Product(left, self.right.sampled(n_rows, generator))  # other rows: no bias


class DerivedOperator(ColumnOperator):
    """An operator made from another, in the same way for its transpose and for its samples."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator.like, symmetric=operator.symmetric)
        self.operator = operator

    def _transpose(self) -> LinearOperator:
        return self._of(self.operator.T)

    def sampled(self, n_rows: int, generator: torch.Generator) -> LinearOperator:
        return self._of(self.operator.sampled(n_rows, generator))

    def _of(self, operator: LinearOperator) -> LinearOperator:
        twin = copy(self)
        twin.operator = operator
        return twin


class Scaled(DerivedOperator):
    """``factor A``."""

    def __init__(self, operator: LinearOperator, factor: float) -> None:
        super().__init__(operator)
        self.factor = factor

    def matmat(self, columns: Tensor) -> Tensor:
        return self.factor * self.operator.matmat(columns)


class Damped(DerivedOperator):
    """``A + damping I``."""

    def __init__(self, operator: LinearOperator, damping: float) -> None:
        super().__init__(operator)
        self.damping = damping

    def matmat(self, columns: Tensor) -> Tensor:
        return self.operator.matmat(columns) + self.damping * columns


class Restricted(DerivedOperator):
    """The principal block of an operator on the entries listed in `index`."""

    def __init__(self, operator: LinearOperator, index: Tensor) -> None:
        super().__init__(operator)
        self.like = operator.like[index]
        self.index = index

    def matmat(self, columns: Tensor) -> Tensor:
        padded = columns.new_zeros(self.operator.size, columns.shape[1])
        padded[self.index] = columns
        return self.operator.matmat(padded)[self.index]


def check_operator(operator: object) -> None:
    """Raise a TypeError for anything but an operator, such as a bare matrix."""
    if not isinstance(operator, LinearOperator):
        raise TypeError(
            f"operator must be a LinearOperator, got {type(operator).__name__}. Dense(tensor) "
            "makes one from a matrix."
        )


def check_symmetric(operator: LinearOperator, solver: object) -> None:
    """Raise a ValueError for an operator that does not say it equals its transpose."""
    if not operator.symmetric:
        raise ValueError(
            f"{type(solver).__name__} needs a symmetric operator, got {operator!r}. Use GMRES() "
            'or BiCGSTAB(), or a symmetric Jacobian, such as that of HIF("fast").'
        )


def check_columns(operator: LinearOperator, columns: Tensor) -> None:
    """Raise a ValueError for right-hand sides that are not finite columns of the right size."""
    if columns.ndim != 2 or columns.shape[0] != operator.size or not columns.shape[1]:
        raise ValueError(
            f"columns must be right-hand sides of shape ({operator.size}, k), got shape "
            f"{tuple(columns.shape)}."
        )
    n_finite = int(torch.isfinite(columns).all(0).sum())
    if n_finite < columns.shape[1]:
        raise ValueError(
            f"columns must be finite, got NaN or infinity in {columns.shape[1] - n_finite} of "
            f"{columns.shape[1]} right-hand sides. Check the gradients of the queries or rows, "
            "from which they are made."
        )


def _common_like(operators: tuple[LinearOperator, ...]) -> Tensor:
    """Vector of the first operator; raise a ValueError if the sizes differ."""
    sizes = {operator.size for operator in operators}
    if len(sizes) != 1:
        raise ValueError(f"operators must have one size, got {operators!r}.")
    return operators[0].like
