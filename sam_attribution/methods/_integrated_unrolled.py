"""Unrolled attribution of a whole removal: the derivative integrated over the row's weight."""

from dataclasses import replace
from functools import partial
from numbers import Integral

import torch

from sam_attribution._seeding import integer_seed
from sam_attribution._validation import Interval, check_parameters
from sam_attribution.methods._method import Method, Prepared
from sam_attribution.methods._sweep import reverse_sweep
from sam_attribution.methods._unrolled import Unrolled, check_unrollable
from sam_attribution.probes import Replayable
from sam_attribution.problem import FunctionalRun, FunctionalTraining

# Simpson's rule over a row's weight: the recorded training has weight 1
_AT_ONE, _BETWEEN = 1 / 6, {0.5: 4 / 6, 0.0: 1 / 6}


class IntegratedUnrolled(Method):
    """The effect of a removal, not its beginning: ``unrolled`` at row weights 1, 1/2 and 0.

    A derivative at weight 1 describes the beginning of a removal. Once a network has fitted its
    rows the effect is not linear in the weight: the less a row weighs, the worse it is fitted and
    the larger its gradient. Here the rows are split into groups, training is repeated with each
    group at weight 1/2 and 0, and a row's score is the integral of its derivative from 1 to 0 by
    Simpson's rule. The other rows of its group have the lower weight as well, which saves a
    training per row: keep groups small compared to the number of rows.

    Parameters
    ----------
    n_groups : int, default=20
        Number of random groups of equal size.
    random_state : int, RandomState instance or None, default=None
        Draws the groups; None takes the seed of SAMInfluence.

    Notes
    -----
    The unit is nats per removed row. The slope against retraining is nearer 1 than that of
    :class:`Unrolled` where networks have fitted their rows, as far as three weights describe the
    effect and the other rows of the group do not matter: 0.5 has been measured with few rows.
    Training must be smooth, as for :class:`Unrolled`. Cost: two runs
    with a sweep each for every group, about ten trainings; ``LeaveOneOut`` takes one training for
    every row. Memory: as for :class:`Unrolled`. Rows that were not trained on have no score,
    because they have no weight to take away.

    References
    ----------
    The integral is that of Sundararajan et al., Axiomatic Attribution for Deep Networks,
    arXiv:1703.01365, over the weight of a row in training; the derivative is that of
    :class:`Unrolled`.

    Examples
    --------
    >>> from sam_attribution.methods import IntegratedUnrolled
    >>> IntegratedUnrolled(n_groups=50)
    IntegratedUnrolled(n_groups=50)
    """

    _parameter_constraints = {
        "n_groups": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, *, n_groups=20, random_state=None):
        self.n_groups = n_groups
        self.random_state = random_state

    def check_request(self, n_samples):
        super().check_request(n_samples)
        self._check_groups(n_samples)

    def check_model(self, problem, optimizer):
        check_unrollable(problem, optimizer, self)

    def prepare(self, problem):
        """Split the rows into groups; check that the recorded training can be differentiated.

        Raises
        ------
        ValueError
            As :class:`Unrolled` does, or for more groups than rows.
        """
        check_parameters(self)
        rows = torch.arange(len(problem.y))
        if problem.visited is not None:
            rows = problem.visited.cpu().nonzero()[:, 0]
        self._check_groups(len(rows))
        generator = torch.Generator().manual_seed(integer_seed(self.random_state))
        shuffled = rows[torch.randperm(len(rows), generator=generator)]
        inner = Unrolled(check=None).prepare(problem)
        return _PreparedIntegrated(inner, shuffled.tensor_split(self.n_groups))

    def _check_groups(self, n_rows):
        if not 2 <= self.n_groups <= n_rows:
            raise ValueError(
                f"n_groups must be between 2 and the number of rows trained on, {n_rows}, got "
                f"{self.n_groups}: one group would leave nothing to train on."
            )


class _PreparedIntegrated(Prepared):
    rows_are_exchangeable = False
    along_training = True
    differentiates_training = True
    only_trained_rows = (
        "this method scores only the rows of fit: it integrates over the weight that a row had "
        'in training. Use "unrolled" for other rows.'
    )

    def __init__(self, inner, groups):
        self._inner = inner
        self._groups = groups
        self.problem = inner.problem
        self.diagnostics = inner.diagnostics | {
            "scale": f"{inner.problem.row_loss.unit}; slope 1 as far as three weights describe a "
            "row's effect and its group does not matter",
            "n_groups": len(groups),
        }

    def probes(self, queries):
        n_runs = 1 + len(_BETWEEN) * len(self._groups)
        n_probes = n_runs * len(self._inner.probes(queries))
        return Replayable(partial(self._sweep, queries), n_probes)

    def _sweep(self, queries):
        """Probes of every training, each for the rows of a batch whose weight was changed."""
        for probe in self._inner.probes(queries):
            yield replace(probe, rate=_AT_ONE)
        for group in self._groups:
            member = torch.zeros(len(self.problem.y), dtype=torch.bool)
            member[group] = True
            for weight, rate in _BETWEEN.items():
                for probe in self._sweep_at(weight, member, queries):
                    part = member.to(probe.rows.device)[probe.rows].nonzero()[:, 0]
                    yield replace(
                        probe,
                        rate=rate,
                        rows=probe.rows[part],
                        output=probe.output[part],
                        tangents=probe.tangents[part],
                    )

    def _sweep_at(self, weight, member, queries):
        weights = torch.where(member, weight, 1.0)
        training = FunctionalTraining(self.problem, weights.to(self.problem.params))
        return reverse_sweep(training, FunctionalRun(training).backwards(), queries)
