"""The loss of a row with any target and any output: labels, tokens, images, several outputs."""

from sam_attribution.problem._row_loss import RowLoss
from sam_attribution.training import criterion_name, row_losses


class OutputRows(RowLoss):
    """Any criterion of an output and a target: the mean of the values that a row has.

    ``BCEWithLogitsLoss`` has one for each label, ``CrossEntropyLoss`` with probabilities for
    targets has one alone. `form` is the ``training.OutputForm`` in which the criterion takes the
    numbers (n, k) that the module puts out; (n, k) itself if None.
    """

    class_weight = None

    def __init__(self, criterion, form=None):
        super().__init__(criterion)
        self.form = form
        self.unit = f"units of {criterion_name(criterion)}"

    def check_output(self, output):
        """Any output will do."""

    def predicted(self, output):
        """Argument of criterion and evaluation functions: the output as the module gave it."""
        return output if self.form is None else self.form.restored(output)

    as_given = predicted

    def per_sample(self, output, y):
        try:
            return row_losses(self.criterion, self.predicted(output), y)
        except IndexError as error:
            raise ValueError(
                f"criterion {criterion_name(self.criterion)} finds a class in y that the output "
                f"does not have: {error} Classes are codes from 0 on."
            ) from error

    def to_logits(self, output):
        """Raise a ValueError: there are no classes."""
        raise ValueError(
            f'evaluation="margin" needs classes, which {criterion_name(self.criterion)} does not '
            'have. Use "loss" or a callable (output, y) -> values.'
        )
