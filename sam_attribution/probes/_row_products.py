"""Another way to read a probe: off the gradients of its rows themselves."""

import torch

from sam_attribution.problem import gradients_of


class RowProducts:
    """A probe that is read by forming its rows' gradients, some at a time, for the label given.

    One backward pass per row and a matrix product, however many directions there are; the other
    way, :meth:`Probe.given_label`, goes forward once per direction. The same numbers.

    Parameters
    ----------
    probe : Probe
        See :func:`reads_gradients`.
    """

    def __init__(self, probe):
        self.probe = probe
        self.rate, self.weighted = probe.rate, probe.weighted
        self.rows, self.rows_weight = probe.rows, probe.rows_weight

    def of_members(self, part):
        """What reads the training rows ``rows[part]``: the same."""
        return self

    def given_label(self, problem, X, y):
        """What is read off rows `X` with the labels `y`, (n, k)."""
        chunks = gradients_of(problem, self.probe.point, self.probe.buffers, X, y)
        return torch.cat([self.probe.of_gradients(gradients) for _, gradients in chunks])


def reads_gradients(probe):
    """Whether ``of_gradients`` is another way to what ``given_label`` reads.

    Not so for a class that defines the second alone, as :class:`StepProbe` does, whose rows went
    through the module together.
    """
    own = [vars(kind) for kind in type(probe).__mro__]
    return all("of_gradients" in each for each in own if "given_label" in each)
