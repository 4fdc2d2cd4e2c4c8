"""Probe of one training step, for the rows of its batch."""

from dataclasses import dataclass

from torch import Tensor

from sam_attribution.probes._probe import Probe


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class StepProbe(Probe):
    """A probe that holds the output of its batch's rows in training, and the output's derivative.

    They went through the module together, in training mode. Other rows are read one by one, in
    evaluation mode. Shapes (n_rows, n_outputs) and, along k directions, (n_rows, n_outputs, k).
    """

    output: Tensor
    tangents: Tensor

    is_read = True

    def of_members(self, part):
        """The probe of the rows at some positions of the batch."""
        return _Known(self.output[part], self.tangents[part])

    def label_table(self, problem, X):
        return self._alone(problem).label_table(problem, X)

    def given_label(self, problem, X, y):
        return self._alone(problem).given_label(problem, X, y)

    def _alone(self, problem):
        """The same without its batch, in the precision of the problem."""
        like = problem.params
        buffers = {
            name: b.to(like) if b.is_floating_point() else b for name, b in self.buffers.items()
        }
        return Probe(self.point.to(like), self.directions.to(like), buffers)


@dataclass(frozen=True, eq=False)
class _Known:
    """Rows whose output and tangents are known already."""

    output: Tensor
    tangents: Tensor

    def label_table(self, problem, X):
        return problem.row_loss.label_table(self.output, self.tangents)

    def given_label(self, problem, X, y):
        return problem.row_loss.along(self.output, self.tangents, y)
