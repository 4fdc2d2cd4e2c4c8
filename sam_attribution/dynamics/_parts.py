"""A batch in parts, each of which climbs by a gradient of its own (m-sharpness)."""

from typing import Any, NamedTuple

from torch import Tensor


class BatchPart(NamedTuple):
    """Some rows of a batch, with their weight in the mean over the batch.

    Attributes
    ----------
    batch : object
        These rows, as the functions of this package take a batch.
    weight : float
        The loss of the whole batch is the sum of ``weight * loss`` over its parts.
    rows : slice
        Their places in the batch.
    """

    batch: Any
    weight: float
    rows: slice

    def weighted(self, value: Tensor) -> Tensor:
        """`value` times the weight; the same object where the part is the whole batch."""
        return value if self.weight == 1 else self.weight * value


class SplitBatch(NamedTuple):
    """Parts of one batch, in the order in which they move the buffers."""

    parts: tuple[BatchPart, ...]


def parts_of(batch: Any) -> tuple[BatchPart, ...]:
    """Parts of a batch: the batch itself unless it is a :class:`SplitBatch`."""
    if isinstance(batch, SplitBatch):
        return batch.parts
    return (BatchPart(batch, 1.0, slice(None)),)
