"""Another way to read a probe: from its rows' gradients themselves."""

from itertools import groupby

import torch

from sam_attribution.probes._probe import Probe
from sam_attribution.probes._tangents import within
from sam_attribution.problem import gradients_of, rows_at_once


class RowProducts:
    """A probe that is read by forming its rows' gradients, some at a time, for the label given.

    One backward pass per row and a matrix product, however many directions there are; the other
    way, :meth:`Probe.given_label`, goes forward once per direction. The same numbers for a probe
    that :func:`reads_gradients`.
    """

    is_read = False

    def __init__(self, probe):
        self.probe = probe
        self.rate, self.weighted = probe.rate, probe.weighted
        self.rows, self.rows_weight = probe.rows, probe.rows_weight
        self.epoch = probe.epoch

    def of_members(self, part):
        """The probe of the training rows ``rows[part]``: the same."""
        return self

    def given_label(self, problem, X, y):
        """Values of rows `X` with the labels `y`, (n, k)."""
        chunks = gradients_for(problem, self.probe, X, y)
        return torch.cat([self.probe.of_gradients(gradients) for _, gradients in chunks])


class SummedRowProducts(RowProducts):
    """Probes of all rows with the same directions: their rows' gradients are added up first.

    One matrix product for all points.
    """

    def __init__(self, probes):
        super().__init__(probes[0])
        self.probes = probes
        self.rate = 1.0

    def given_label(self, problem, X, y):
        points = [gradients_for(problem, probe, X, y) for probe in self.probes]
        chunks = -(-len(y) // rows_at_once(problem))
        return torch.cat([self.probe.of_gradients(self._sum(points)) for _ in range(chunks)])

    def _sum(self, points):
        """The next rows' gradients, one point after another: two chunks are held at most."""
        total = 0.0
        for probe, point in zip(self.probes, points, strict=True):
            _, gradients = next(point)
            total = gradients.mul_(probe.rate).add_(total)
        return total


def gradients_for(problem, probe, X, y):
    """Row gradients at a probe's point, some at a time, in the parameters that it is about.

    The attributed parameters only, unless a direction leaves them, as HIF's direction of the
    perturbation does: then all parameters.
    """
    found = gradients_of(problem, probe.point, probe.buffers, X, y)
    if not within(probe.directions, problem.selected):
        return found

    def attributed(chunk):
        rows, gradients = chunk
        return rows, problem.restrict(gradients.T).T

    return map(attributed, found)


def row_products(probes):
    """Yield :class:`RowProducts` of probes that row gradients serve, and the others as given."""
    for _, alike in groupby(enumerate(probes), _same_product):
        group = [probe for _, probe in alike]
        if len(group) > 1:
            yield SummedRowProducts(group)
        else:
            yield RowProducts(group[0]) if reads_gradients(group[0]) else group[0]


def _same_product(numbered):
    """Key that is equal for probes whose sum is one product, and different for all others."""
    number, probe = numbered
    additive = type(probe) is Probe and probe.rows is None
    return ("directions", id(probe.directions), probe.epoch) if additive else ("probe", number)


def reads_gradients(probe):
    """True if ``of_gradients`` gives the values of ``given_label``.

    Not so for a class that defines the second alone, as :class:`StepProbe` does, whose rows went
    through the module together.
    """
    own = [vars(kind) for kind in type(probe).__mro__]
    return all("of_gradients" in each for each in own if "given_label" in each)
