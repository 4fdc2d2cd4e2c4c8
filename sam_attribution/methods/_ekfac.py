"""The influence function with an inverse in closed form: EK-FAC."""

from numbers import Integral, Real

from sam_attribution._seeding import integer_seed
from sam_attribution._validation import Interval, StrOptions, check_parameters
from sam_attribution.curvature import KroneckerCurvature, check_kronecker_layers, in_words
from sam_attribution.dynamics import Tangent
from sam_attribution.methods._damping import inverse_horizon
from sam_attribution.methods._hif import adjoint_probes, removal_columns
from sam_attribution.methods._method import Method, Prepared
from sam_attribution.methods._rates import check_effective
from sam_attribution.methods._row_point import AT, row_point
from sam_attribution.training import bare_optimizer

_FRACTION = 0.1


class EKFAC(Method):
    """``<query gradient, (G + damping)^-1 row gradient> / n``, G block by block and inverted once.

    G is the Gauss-Newton matrix, approximated layer by layer in the eigenbasis of a Kronecker
    product. Weight decay is added to
    it: for each layer its mean over the layer's parameters.

    Parameters
    ----------
    at : {"w", "w+eps"}, default="w"
        Point of row gradients and curvature: the trained parameters, or the point where SAM takes
        its gradient (of the full batch). Query gradients are always taken at the trained
        parameters.
    damping : "auto", "training" or float, default="auto"
        Number added to the diagonal. ``auto`` is a tenth of each layer's mean eigenvalue, for the
        best order. ``training`` is one over the sum of the learning rates, momentum included, for
        a better size: as far as a training of that length moves. It needs a recorded training. A
        layer in which no row has a gradient (behind dead ReLU units) adds nothing to any score.
    corrected : bool, default=True
        False leaves the eigenvalues of the Kronecker product as they are (K-FAC).
    n_draws : int, optional
        Labels drawn per row; None takes the expectation over all classes exactly. Losses without
        classes have a root of their second derivative in the outputs in the place of labels, whose
        columns are added up with random signs.
    unsupported : {"raise", "skip"}, default="raise"
        What to do about attributed parameters that no layer's inputs and back-signals stand for:
        recurrent layers, the projections of attention, weights that are tied or used outside of
        their layer. ``raise`` refuses them before training, ``skip`` leaves them out: scores come
        from the other layers, a warning and ``left_out`` in ``diagnostics_`` name the rest.
    random_state : int, RandomState instance or None, default=None
        Draws the labels; None takes the seed of SAMInfluence.

    Notes
    -----
    The unit is nats per removed row, shrunk by the damping. Cost: two passes over the rows with
    a backward pass per class (or draw) each, an eigendecomposition per layer; then one
    forward-mode pass per query. Any number of queries costs no solve.

    References
    ----------
    Grosse et al., Studying Large Language Model Generalization with Influence Functions,
    arXiv:2308.03296.

    Examples
    --------
    >>> from sam_attribution.methods import EKFAC
    >>> EKFAC(n_draws=1)
    EKFAC(n_draws=1)
    """

    def __init__(
        self,
        *,
        at="w",
        damping="auto",
        corrected=True,
        n_draws=None,
        unsupported="raise",
        random_state=None,
    ):
        self.at = at
        self.damping = damping
        self.corrected = corrected
        self.n_draws = n_draws
        self.unsupported = unsupported
        self.random_state = random_state

    _parameter_constraints = {
        "at": AT,
        "damping": [StrOptions({"auto", "training"}), Interval(Real, 0, None, closed="left")],
        "corrected": ["boolean"],
        "n_draws": [None, Interval(Integral, 1, None, closed="left")],
        "unsupported": [StrOptions({"raise", "skip"})],
        "random_state": ["random_state"],
    }

    def check_model(self, problem, optimizer):
        """Raise a ValueError for layers or a criterion that EK-FAC does not cover.

        Also for an optimizer whose rates ``damping="training"`` cannot add up.
        """
        if self.damping == "training" and problem.path is None:
            check_effective(type(bare_optimizer(optimizer)), 'damping="training"', 'damping="auto"')
        check_kronecker_layers(problem, self.unsupported)

    def prepare(self, problem):
        """Compute factors, eigenbases and eigenvalues.

        Raises
        ------
        ValueError
            For an unknown option, parameters of layers that EK-FAC does not cover, or
            ``damping="training"`` where the rates of the training are not known; the first solve
            for a layer whose damped curvature is singular.
        """
        check_parameters(self)
        return _PreparedEKFAC(self, problem)


class _PreparedEKFAC(Prepared):
    def __init__(self, method, problem):
        self._point = row_point(problem, method.at)
        self._curvature = KroneckerCurvature(
            problem,
            self._point.perturbed,
            corrected=method.corrected,
            n_draws=method.n_draws,
            seed=integer_seed(method.random_state),
            unsupported=method.unsupported,
        )
        self._dampings, reason = self._choose(method.damping)
        decay = self._point.decay.diagonal
        decays = [float(decay[block.layer.index].mean()) for block in self._curvature.blocks]
        self._added = [d + lam for d, lam in zip(self._dampings, decays, strict=True)]
        self.diagnostics = {
            "scale": f"{problem.row_loss.unit}, by an approximate curvature with damping: trust "
            "sign and order",
            "damping": max(self._dampings),
            "damping_reason": reason,
        }
        if left_out := self._curvature.left_out:
            self.diagnostics["left_out"] = in_words(left_out)

    def _choose(self, damping):
        """The damping of each layer, and the reason for it."""
        means = self._curvature.mean_eigenvalues()
        if damping == "auto":
            reason = f"{_FRACTION} of each layer's mean eigenvalue; the largest is shown"
            return [_FRACTION * mean for mean in means], reason
        if damping == "training":
            return [_of_training(self._point.problem.path)] * len(means), "1 / sum of the rates"
        return [float(damping)] * len(means), "given"

    def probes(self, queries):
        directions = queries.directions(self._point.w, self._point.problem.buffers)
        return adjoint_probes(self._point, "fast", self.solve(directions))

    def removal_step(self, groups, *, verbose=0):
        """Change of the quadratic's minimum without each group of rows."""
        columns = removal_columns(self._point, "fast", groups)
        return Tangent(self.solve(columns).T, {})

    def solve(self, columns):
        """``(G + damping)^-1`` of columns (n_params, k), zero outside the attributed part."""
        return self._curvature.solve(columns, self._added)


def _of_training(path):
    found = None if path is None else inverse_horizon(path)
    if found is None:
        raise ValueError(
            'damping="training" is one over the sum of the learning rates, and these are not known '
            "here: no training by SGD or Adam was recorded, no step moved the weights, or a "
            "callback changed the gradients. "
            'Use damping="auto", or a number.'
        )
    return found
