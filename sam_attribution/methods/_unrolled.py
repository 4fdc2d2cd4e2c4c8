"""Unrolled attribution: the derivative of the recorded training itself."""

from itertools import pairwise

import torch

from sam_attribution._validation import StrOptions, check_parameters
from sam_attribution.methods._method import Method, Prepared
from sam_attribution.methods._path_sum import check_recorded
from sam_attribution.probes import StepProbe
from sam_attribution.problem import FunctionalTraining

_TOLERANCE = {torch.float32: 1e-2, torch.float64: 1e-6}


class Unrolled(Method):
    """Exact derivative of the query with respect to every row's weight, through SAM training.

    The recorded steps are gone through backwards, each with the derivative of everything in it:
    both gradients, the perturbation, momentum or Adam's moments, weight decay, clipping, batch
    norm's statistics, dropout masks as drawn. A row's score is minus the derivative in its weight,
    summed over the steps that it took part in.

    Parameters
    ----------
    precision : {"training", "float64"}, default="training"
        ``training`` differentiates the recorded run. ``float64`` repeats it from its recorded
        start in double precision and differentiates that: for runs that are so ill-conditioned
        that rounding shows. `diagnostics_` says how far it ends from the recorded run.

    Notes
    -----
    The unit is nats per removed row, and the slope against retraining is 1 as far as the training
    is linear in a row's weight between 0 and 1. Networks with kinks (ReLU, max pooling) trained at
    large rates may not be: there retraining itself is chaotic, see ``diagnostics``.

    Cost: about three trainings, for all rows and labels, and one more to repeat the steps between
    recorded states; with ``trajectory="all"`` nothing is repeated. Memory: at most ``2 sqrt(T)``
    states for T steps beside the recorded ones, and the graph of one step.

    Scores of other rows (``score_samples``, ``transform``) take them as if they had been in every
    batch with weight 1/n, in evaluation mode; batch norm in training makes that impossible.

    References
    ----------
    Hara et al., arXiv:1906.08473; Ilyas & Engstrom, MAGIC, arXiv:2504.16430; for SAM see
    arXiv:2507.04059.

    Examples
    --------
    >>> from sam_attribution.methods import Unrolled
    >>> Unrolled(precision="float64")
    Unrolled(precision='float64')
    """

    def __init__(self, *, precision="training"):
        self.precision = precision

    _parameter_constraints = {"precision": [StrOptions({"training", "float64"})]}

    def prepare(self, problem):
        """Check that the recorded training can be differentiated.

        Raises
        ------
        ValueError
            If no training was recorded, a part of it has no derivative here (by name), or only
            some of the parameters are to be attributed.
        """
        check_parameters(self)
        check_recorded(problem)
        if problem.selected is not None:
            raise ValueError(
                'parameters must be "all" for unrolled attribution: training moves all '
                'parameters together. Use "gif" or "hif" for a part of them.'
            )
        return _PreparedUnrolled(problem, self.precision)


class _PreparedUnrolled(Prepared):
    rows_are_exchangeable = False
    along_training = True

    def __init__(self, problem, precision):
        self._options = {"exact": True}
        if precision == "float64":
            problem, self._options = problem.in_double_precision(), {"dtype": "float64"}
        self._problem = problem
        self._training = training = FunctionalTraining(problem)
        if training.tracked:
            self.only_trained_rows = (
                "the module has batch norm, which in training couples a row with its batch: there "
                "is no score of a row that was in no batch. scores_ and transform_train_ are "
                'exact for the rows of fit; for other rows use a method such as "gif".'
            )
        self.diagnostics = {
            "scale": "nats; slope 1 as far as training is linear in a row's weight",
            "steps": training.n_steps,
        }

    def probes(self, queries):
        return _Sweep(self, queries)

    def sweep(self, queries):
        """Yield the probes of every step, the last one first."""
        training = self._training
        states = map(training.state, self._problem.path.states_backwards(**self._options))
        numbers = reversed(range(training.n_steps))
        cotangent = None
        for number, (after, before) in zip(numbers, pairwise(states), strict=True):
            if cotangent is None:
                cotangent = self._final_cotangent(queries, after)
            step = training.step(number)
            product = step.vjp(before, cotangent)
            _check_same(number, product.after, after, before)
            cotangent = product.before
            _check_finite(number, cotangent)
            for reading in product.readings:
                yield _probe(number, step.batch, reading, before.buffers)

    def _final_cotangent(self, queries, state):
        recorded = self._problem.params
        distance = (state.params - recorded).norm() / recorded.norm()
        self.diagnostics["replay_distance"] = float(distance)
        queries = queries.of(self._problem)
        return queries.cotangent(state.params, state.buffers, sorted(self._training.tracked))


class _Sweep:
    """Probes of every step, made again at each reading: they would fill memory."""

    def __init__(self, prepared, queries):
        self._prepared = prepared
        self._queries = queries

    def __iter__(self):
        return self._prepared.sweep(self._queries)


def _probe(number, batch, reading, buffers):
    # the derivative is in a row's weight, the score is of its removal
    return StepProbe(
        point=reading.point,
        directions=-reading.directions.T,
        buffers=buffers,
        rows=batch.rows,
        rows_weight=batch.weight,
        steps=(number, number + 1),
        output=reading.output,
        tangents=-reading.tangents.movedim(0, -1),
    )


def _check_same(number, computed, recorded, before):
    """Raise if the pure step does not lead where training went."""
    off = (computed.params - recorded.params).norm()
    moved = (recorded.params - before.params).norm()
    if off > _TOLERANCE[off.dtype] * moved + 1e-5 * recorded.params.norm():
        raise ValueError(
            f"the step as a function ends {off:.1e} away from where step {number} of training "
            "went: something changed the step that is not known here (mixed precision, a callback "
            'or a custom train_step). Take a method such as "gif" or "hif".'
        )


def _check_finite(number, cotangent):
    if not torch.isfinite(cotangent.params).all():
        raise ValueError(
            f"the derivative is not finite before step {number}: the training is unstable there. "
            'Train with a smaller lr, or try Unrolled(precision="float64").'
        )
