"""An operator without the couplings between its blocks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sam_attribution.linalg._operator import DerivedOperator, LinearOperator


class BlockDiagonal(DerivedOperator):
    """A square operator with the entries between blocks set to 0.

    A product costs one product with `operator` for each block in which the vector is not 0, so
    that the dense matrix costs what that of `operator` costs. `blocks` are positions, every one in
    one block.
    """

    def __init__(self, operator: LinearOperator, blocks: Sequence[Tensor]) -> None:
        super().__init__(operator)
        self.blocks = [block.to(operator.like.device) for block in blocks]
        self._block_of = _block_of(self.blocks, operator)

    def matmat(self, columns: Tensor) -> Tensor:
        result = torch.zeros_like(columns)
        wanted = torch.stack([columns[block].any(0) for block in self.blocks])
        pairs, at_once = wanted.nonzero(), max(wanted.shape)
        for start in range(0, len(pairs), at_once):
            block, column = pairs[start : start + at_once].T
            inside = self._block_of[:, None] == block
            products = self.operator.matmat(torch.where(inside, columns[:, column], 0))
            result.index_add_(1, column, torch.where(inside, products, 0))
        return result


def _block_of(blocks: list[Tensor], operator: LinearOperator) -> Tensor:
    """Number of the block of each position, shape (size,)."""
    positions = torch.cat([operator.like.new_zeros(0, dtype=torch.long), *blocks])
    everything = torch.arange(operator.size, device=positions.device)
    if not torch.equal(positions.sort().values, everything):
        raise ValueError(
            f"blocks must hold every position from 0 to {operator.size - 1} once, got "
            f"{len(blocks)} blocks of sizes {[len(block) for block in blocks]}."
        )
    numbers = torch.empty_like(positions)
    for number, block in enumerate(blocks):
        numbers[block] = number
    return numbers
