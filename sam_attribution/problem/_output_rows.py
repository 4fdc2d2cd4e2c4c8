"""The loss of a row with any target: several labels, soft labels, several numbers."""

from sam_attribution.problem._row_loss import RowLoss
from sam_attribution.training import unreduced


class OutputRows(RowLoss):
    """Any criterion of an output (n, k) and a target: the mean of the values that a row has.

    ``BCEWithLogitsLoss`` has one for each label, ``CrossEntropyLoss`` with probabilities for
    targets has one alone.
    """

    class_weight = None

    def __init__(self, criterion):
        super().__init__(criterion)
        self.unit = f"units of {type(criterion).__name__}"

    def per_sample(self, output, y):
        values = unreduced(self.criterion)(output, y)
        if values.shape[:1] != y.shape[:1]:
            raise ValueError(
                f"criterion {self.criterion!r} gives shape {tuple(values.shape)} for {len(y)} "
                "rows. Use one with a value per row or more under reduction='none'."
            )
        return values.reshape(len(y), -1).mean(1).to(output.dtype)

    def to_logits(self, output):
        """Raise a ValueError: there are no classes."""
        raise ValueError(
            f'evaluation="margin" needs classes, which {type(self.criterion).__name__} does not '
            'tell apart. Use "loss" or a callable (output, y) -> values.'
        )
