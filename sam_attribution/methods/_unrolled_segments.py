"""Unrolled attribution from the recorded states alone."""

from dataclasses import replace
from numbers import Integral

import torch

from sam_attribution._validation import Interval, check_parameters
from sam_attribution._warnings import warn
from sam_attribution.dynamics import SGD, Cotangent, TrainingState
from sam_attribution.methods._method import Method, Prepared
from sam_attribution.methods._rates import RATES
from sam_attribution.methods._sweep import check_derivative_is_finite
from sam_attribution.methods._unrolled import check_unrollable
from sam_attribution.probes import Probe
from sam_attribution.problem import FunctionalTraining, couples_rows
from sam_attribution.training import bare_optimizer

_LEAST_MOMENTUM = 0.8  # of a merged step
_DOUBTFUL_GROWTH = 10.0
_LAST_RATE = 0.15  # over the largest: a rate that fell to a tenth is a little above it at the end


class UnrolledSegments(Method):
    """Approximate ``unrolled`` from a few recorded states, for a fraction of a training.

    The method goes back through training as :class:`Unrolled` does, but holds the weights still
    within each recorded stretch, at the state in its middle, and merges some steps into one. It
    takes the perturbation for a constant, Hessians on the batch of a merged step's middle, and the
    gradients of all rows once per stretch, at the recorded state.

    Parameters
    ----------
    n_merged : int, default=3
        Number of training steps that are merged into one step backwards.

    Notes
    -----
    The unit is nats per removed row. The column `growth` of ``diagnostics_`` is the largest ratio
    of the length of the derivative on its way back to that at the end, `last_rate` the learning
    rate of the last step over the largest. ``fit`` warns if `growth` is above 10, or `last_rate`
    above 0.15, where scores were often far from those of :class:`Unrolled` in the runs of
    ``benchmarks/segments.py``. Scores can be wrong without a warning: compare some with ``loo``.

    The optimizer must be ``torch.optim.SGD``, with any momentum below 1, and the module must have
    no batch norm in training mode. Dropout has the recorded masks in the Hessians; rows are read in
    evaluation mode.

    Cost: one Hessian product on a batch per merged step, and one forward-mode pass over the rows
    per recorded stretch. No step is repeated.

    References
    ----------
    Bae et al., Training Data Attribution via Approximate Unrolled Differentiation,
    arXiv:2405.12186, which takes Gauss-Newton factors where this method takes Hessians.

    Examples
    --------
    >>> from sam_attribution.methods import UnrolledSegments
    >>> UnrolledSegments(n_merged=1)
    UnrolledSegments(n_merged=1)
    """

    _parameter_constraints = {"n_merged": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, *, n_merged=3):
        self.n_merged = n_merged

    def check_model(self, problem, optimizer):
        _check_sgd(type(bare_optimizer(optimizer)), optimizer.param_groups)
        _check_uncoupled(problem)
        check_unrollable(problem, optimizer, self)

    def prepare(self, problem):
        """Check that the recorded training can be differentiated.

        Raises
        ------
        ValueError
            If no training was recorded, the optimizer is not SGD, batch norm couples the rows of
            a batch, or only some of the parameters are to be attributed.
        """
        check_parameters(self)
        _check_uncoupled(problem)
        return _PreparedSegments(problem, self.n_merged)


def _check_sgd(kind, groups):
    if kind is not torch.optim.SGD:
        raise ValueError(
            f"method UnrolledSegments merges steps of torch.optim.SGD, got {kind.__name__}. Use "
            '"unrolled", or train with optimizer=torch.optim.SGD.'
        )
    largest = max(group["momentum"] for group in groups)
    if largest >= 1:
        raise ValueError(
            f"optimizer__momentum must be below 1 to merge steps, got {largest}. Use "
            '"unrolled", or a smaller momentum.'
        )


def _check_uncoupled(problem):
    if couples_rows(problem.training_module):
        raise ValueError(
            "module has batch norm, which couples the rows of a batch in training: "
            'UnrolledSegments reads rows one by one. Use "unrolled".'
        )


class _PreparedSegments(Prepared):
    along_training = True

    def __init__(self, problem, n_merged):
        self._problem = problem
        self._n_merged = n_merged
        self._training = FunctionalTraining(problem)
        _check_sgd(problem.path.optimizer, problem.path.group_settings)
        self._rates = RATES["plain"](problem.path)
        self.diagnostics = {
            "scale": f"{problem.row_loss.unit}; slope near 1 with momentum, many steps and small "
            "growth; else trust the order",
            "steps": self._training.n_steps,
            "last_rate": _last_over_largest(problem.path.learning_rates),
        }

    def probes(self, queries):
        """A probe of all rows for each recorded stretch, the last one first."""
        problem = self._problem
        points = list(problem.path.checkpoints("recorded", self._rates))
        asked = queries.cotangent(problem.params, problem.buffers).params
        # the derivative is in a row's weight, the score is of its removal
        cotangent = Cotangent(-asked, {}, (torch.zeros_like(asked),))
        growth, probes = _Growth(asked), []
        for point in reversed(points):
            total = torch.zeros_like(asked)
            for steps in self._merged(point.steps):
                to_gradient, cotangent = self._back(point, steps, cotangent)
                total += to_gradient
                growth.see(cotangent.params)
            check_derivative_is_finite(f"before step {point.steps[0]}", cotangent.params)
            probes.append(self._probe(point, total))
        self._judge(float(growth.largest))
        return probes

    def _merged(self, span):
        """Spans of the steps that are merged, the last one first."""
        first, last = span
        ends = range(last, first, -self._n_merged)
        return [range(max(first, end - self._n_merged), end) for end in ends]

    def _back(self, point, steps, cotangent):
        """What comes back to the gradient of some merged steps, and the cotangent before them."""
        step = self._training.step(steps[len(steps) // 2])
        optimizer, rates = step.settings["optimizer"], self._rates.table[steps.start : steps.stop]
        momentum = max(optimizer.momentum**self._n_merged, _LEAST_MOMENTUM)
        # so that the steps move the weights as far in the end as those of training
        factor = (1 - optimizer.dampening) * (1 - momentum) / (1 - optimizer.momentum)
        rate = self._problem.path.spread(factor * rates.sum(0))
        one = replace(
            step,
            rate=rate,
            settings=step.settings
            | {
                "rho": 0.0,
                "clip": None,  # its factors are in the rates
                "optimizer": SGD(momentum, weight_decay=optimizer.weight_decay),
            },
        )
        zeros = torch.zeros_like(point.params)
        state = TrainingState(point.params, point.buffers, (zeros,))
        before = one.vjp(state, cotangent, gradient=zeros).before
        return cotangent.memory[0] - rate * cotangent.params, before

    def _probe(self, point, directions):
        return Probe(
            point=point.params,
            directions=directions.T,
            buffers=point.buffers,
            steps=point.steps,
            epoch=self._problem.epoch_for(point.epoch),
        )

    def _judge(self, growth):
        self.diagnostics["growth"] = growth
        last = self.diagnostics["last_rate"]
        if growth > _DOUBTFUL_GROWTH:
            warn(
                f"The derivative grew {growth:.3g} times on its way back through training: above "
                f"{_DOUBTFUL_GROWTH:.0f} the recorded states do not represent the steps between "
                "them, and scores can be of any size and sign. Record more states, such as "
                'trajectory=100, or use method="unrolled".'
            )
        elif last > _LAST_RATE:
            warn(
                f"The learning rate ends at {last:.2g} of its largest value: above {_LAST_RATE} "
                "the weights may still move too much for the recorded states to represent the "
                "steps between them, and scores may be wrong in order and size. Let the rate "
                'fall to 0 in training, or use method="unrolled".'
            )


def _last_over_largest(rates):
    """Last over largest of the (steps, groups) learning rates, in the group where that is most."""
    largest = rates.max(0)
    moving = largest > 0
    return float((rates[-1, moving] / largest[moving]).max())


class _Growth:
    """Largest ratio of the lengths of vectors, of shape (k, n_params), to those `asked` about."""

    def __init__(self, asked):
        self._lengths = torch.linalg.vector_norm(asked, dim=1)
        self.largest = self._lengths.new_ones(())

    def see(self, vectors):
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        ratios = torch.where(self._lengths == 0, 0.0, lengths / self._lengths)
        self.largest = torch.maximum(self.largest, ratios.max())
