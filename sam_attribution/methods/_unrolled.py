"""Unrolled attribution: the derivative of the recorded training itself."""

from functools import partial
from itertools import chain

import torch

from sam_attribution._validation import StrOptions, check_parameters
from sam_attribution._warnings import warn
from sam_attribution.curvature import check_second_derivative
from sam_attribution.methods._method import Method, Prepared
from sam_attribution.methods._sweep import (
    exact_product,
    fixed_product,
    product_at_w,
    reverse_sweep,
    tangent_sweep,
)
from sam_attribution.probes import Replayable
from sam_attribution.problem import (
    FunctionalTraining,
    check_functional,
    check_keeps_states,
    couples_rows,
)

_DOUBTFUL = 1e-3  # of the weights: a float32 run that amplifies no rounding is some 1e-6 away


class Unrolled(Method):
    """Exact derivative of the query with respect to every row's weight, through SAM training.

    The method goes through the recorded steps backwards and differentiates everything in them:
    both gradients, the perturbation, momentum or Adam's moments, weight decay, clipping, batch
    norm's statistics, dropout with the recorded masks. A row's score is minus the derivative with
    respect to its weight, summed over the steps that it took part in.

    Parameters
    ----------
    precision : {"training", "float64"}, default="training"
        ``training`` differentiates the recorded run. ``float64`` repeats it from its recorded
        start in double precision and differentiates the repetition, for runs in which rounding
        errors grow. The column `replay_distance` of ``diagnostics_`` is the distance of its end
        from the recorded one; ``fit`` warns from 1e-3 of the weights on.
    check : {"rows", "prediction", "weights", "starts"} or None, default="rows"
        Check of the scores in ``fit``: ``rows`` leaves out the ten rows that matter most, the
        others test whether training responds smoothly, see :meth:`SAMInfluence.diagnose`. ``fit``
        warns if the check fails.
    ascent : {"exact", "fixed"}, default="exact"
        ``fixed`` treats the perturbation of every step as a constant, which saves one of two
        Hessian products per step.
    at : {"w+eps", "w"}, default="w+eps"
        Where ``ascent="fixed"`` takes Hessians and row gradients. ``w`` saves the pass that finds
        the perturbation; a run with gradient clipping needs ``w+eps``, and so does one to come
        that may clip. In a FrozenEstimator the clipping that was recorded counts.

    Notes
    -----
    The unit is nats per removed row, and the slope against retraining is 1 as far as the training
    is linear in a row's weight between 0 and 1. Networks with kinks (ReLU, max pooling) trained at
    large rates may not be linear; even retraining is not reproducible there, which `check` detects.
    Networks that have fitted their rows are not linear either: see :class:`IntegratedUnrolled`.

    Cost: 1.6 to 2.2 trainings, for all rows and labels, where all states or all weights were
    recorded, as ``trajectory="auto"`` does up to 512 MiB; about three quarters of that with
    ``ascent="fixed"``. 1.0 to 1.4 more to repeat the steps between ten recorded states.
    ``check="rows"`` adds 11 plain trainings (the time of two or three if small models are trained
    in one stack), ``check="prediction"`` five, the other checks about ten. Memory: at most
    ``2 sqrt(T)`` states for T steps beside the recorded ones, and the graph of one step.

    Scores of other rows (``score_samples``, ``transform``) treat them as if they had been in every
    batch with weight 1/n, in evaluation mode. Batch norm makes that impossible, unless the module
    keeps it in evaluation mode in training too.

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

    def __init__(self, *, precision="training", check="rows", ascent="exact", at="w+eps"):
        self.precision = precision
        self.check = check
        self.ascent = ascent
        self.at = at

    _parameter_constraints = {
        "precision": [StrOptions({"training", "float64"})],
        "check": [None, StrOptions({"rows", "prediction", "starts", "weights"})],
        "ascent": [StrOptions({"exact", "fixed"})],
        "at": [StrOptions({"w+eps", "w"})],
    }

    def check_request(self, n_samples):
        super().check_request(n_samples)
        self._check_ascent()

    def _check_ascent(self):
        if self.ascent == "exact" and self.at == "w":
            raise ValueError(
                'at="w" leaves out the perturbation, which ascent="exact" differentiates. '
                'Use ascent="fixed" with it.'
            )

    def check_model(self, problem, optimizer):
        check_unrollable(problem, optimizer, self)
        if self.at == "w" and problem.to_come is not None and problem.to_come.may_clip:
            _refuse_clipping(
                "GradientNormClipping may clip",
                otherwise=", or train first and pass FrozenEstimator(net): whether its training "
                "was clipped is then known",
            )

    def prepare(self, problem):
        """Check that the recorded training can be differentiated.

        Raises
        ------
        ValueError
            If no training was recorded, a part of it has no derivative here (by name), or only
            some of the parameters are to be attributed.
        """
        check_parameters(self)
        self._check_ascent()
        _check_whole(problem)
        if self.ascent == "exact":
            return _PreparedUnrolled(problem, self.precision)
        return _PreparedFixed(problem, self.precision, self.at)


def check_unrollable(problem, optimizer, method):
    """Raise a ValueError, before training, for one that `method` cannot differentiate."""
    _check_whole(problem)
    check_keeps_states(problem)
    check_functional(problem, optimizer, method)
    check_second_derivative(problem)


def _check_whole(problem):
    if problem.selected is not None:
        raise ValueError(
            'parameters must be "all" for unrolled attribution: training moves all '
            'parameters together. Use "gif" or "hif" for a part of them.'
        )


def _refuse_clipping(which, otherwise=""):
    raise ValueError(
        f'at="w" does not compute the gradients that {which}. Use at="w+eps"{otherwise}.'
    )


class _PreparedSweep(Prepared):
    """What both kinds of derivative share: the states, from the last one to the first."""

    rows_are_exchangeable = False
    along_training = True
    differentiates_training = True
    product_of = staticmethod(exact_product)

    def __init__(self, problem, precision):
        self._options, self._recorded_dtype = {"exact": True}, problem.params.dtype
        if precision == "float64":
            problem, self._options = problem.in_double_precision(), {"dtype": "float64"}
        self.problem = problem
        self._training = training = FunctionalTraining(problem)
        if couples_rows(problem.training_module):
            self.only_trained_rows = (
                "module has batch norm, which couples a row with its batch in training, so a row "
                "that was in no batch has no score. scores_ and transform_train_ are exact for "
                'the rows of fit; for other rows use a method such as "gif".'
            )
        unit = problem.row_loss.unit
        self.diagnostics = {
            "scale": f"{unit}; slope 1 as far as training is linear in a row's weight",
            "steps": training.n_steps,
        }

    def _sweep(self, queries):
        """The probes of every step, the last one first."""
        states = self.problem.path.states_backwards(**self._options)
        states = self._end_checked(self._training.states(states))
        return reverse_sweep(self._training, states, queries, self.product_of)

    def _end_checked(self, states):
        """The states as they are; the first is compared with the end of the recorded run."""
        end, recorded = next(states), self.problem.params
        distance = (end.params - recorded).norm() / recorded.norm()
        self.diagnostics["replay_distance"] = float(distance)
        if distance > _DOUBTFUL:
            wide = "" if self._recorded_dtype == torch.float64 else 'dtype="float64", or with '
            warn(
                f"Training repeated in float64 ends {distance:.1e} away from the weights of the "
                "estimator (relative). The scores belong to another run, because training "
                "amplifies rounding errors or a callback changed the weights. Train the "
                f"estimator with {wide}a smaller lr."
            )
        return chain([end], states)


class _PreparedUnrolled(_PreparedSweep):
    """Two probes a step where there are two passes."""

    def probes(self, queries):
        path = self.problem.path
        passes = [2 if step.rho else 1 for step in path.schedule]
        n_probes = int(path.n_parts @ passes)
        return Replayable(partial(self._sweep, queries), n_probes)

    def removal_step(self, groups, *, verbose=0):
        """The tangent of training along the weights of every group, buffers included."""
        recorded = [state for state in self.problem.path.recorded_states if state.is_whole]
        if "dtype" in self._options:  # another run from the same start
            recorded = recorded[:1]
        return tangent_sweep(self._training, groups, recorded, verbose=verbose)


class _PreparedFixed(_PreparedSweep):
    """One probe a step: nothing goes back through the perturbation.

    The tangent of training would be that of the exact derivative, so there is no removal step.
    """

    def __init__(self, problem, precision, at):
        super().__init__(problem, precision)
        self.product_of = {"w+eps": fixed_product, "w": product_at_w}[at]
        self.diagnostics["scale"] = (
            f"{problem.row_loss.unit}; slope near 1 as far as training is linear in a row's weight"
        )
        if at == "w" and self.problem.path.clipping() is not None:
            _refuse_clipping("were clipped in training")

    def probes(self, queries):
        return Replayable(partial(self._sweep, queries), int(self.problem.path.n_parts.sum()))
