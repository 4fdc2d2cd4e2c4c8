"""Gradient-based influence along the recorded training (GIF)."""

from sam_attribution.methods._method import Method, Prepared
from sam_attribution.methods._rates import effective_rates
from sam_attribution.probes import Probe


class GIF(Method):
    """Sum over the training of rate times <query gradient, row gradient at the SAM point>.

    Parameters
    ----------
    query : {"final", "checkpoint"}, default="final"
        Take the query's gradient at the final parameters (the paper) or at each visited
        state (as TracIn does).
    n_checkpoints : int or None, default=10
        Number of equal stretches of the training, each standing for its middle state, where
        every row counts with 1/n. None visits every step, where a row counts in its own
        batches only, with its share of them; the states between the recorded ones are
        replayed, which costs one training.
    rates : {"plain", "effective"}, default="plain"
        Learning rates, or learning rates with what momentum and weight decay make of them
        until the end of training. The ranking hardly differs.

    Notes
    -----
    The unit is nats per removed row, but slope 1 against retraining is not promised:
    curvature is forgotten. Cost: per state one gradient of the batch drawn there, one of
    the queries if ``query="checkpoint"``, and per query one forward-mode pass over the rows.

    References
    ----------
    arXiv:2507.04059, theorem 4.6 and algorithm 2 (its sign is turned: see ``probes``).

    Examples
    --------
    >>> from sam_attribution.methods import GIF
    >>> GIF(query="checkpoint", n_checkpoints=5)
    GIF(n_checkpoints=5, query='checkpoint')
    """

    def __init__(self, *, query="final", n_checkpoints=10, rates="plain"):
        self.query = query
        self.n_checkpoints = n_checkpoints
        self.rates = rates

    def prepare(self, problem):
        """Check the settings against the recorded training.

        Raises
        ------
        ValueError
            For an unknown option, or a problem without a recorded training.
        """
        for name, options in (("query", ("final", "checkpoint")), ("rates", tuple(_RATES))):
            if getattr(self, name) not in options:
                raise ValueError(f"{name} must be one of {options}, got {getattr(self, name)!r}.")
        if self.n_checkpoints is not None and self.n_checkpoints < 1:
            raise ValueError(
                f"n_checkpoints must be at least 1 or None, got {self.n_checkpoints!r}."
            )
        if problem.path is None:
            raise ValueError('GIF needs a recorded training. Use a final-model method ("hif").')
        return _PreparedGIF(self, problem)


class _PreparedGIF(Prepared):
    def __init__(self, method, problem):
        self._method = method
        self._problem = problem
        self._rates = _RATES[method.rates](problem.path)
        self.rows_are_exchangeable = method.n_checkpoints is not None
        self.diagnostics = {
            "scale": "nats, but curvature is forgotten: trust sign and order, not the slope",
            "steps": problem.path.n_steps,
        }

    def probes(self, queries):
        if self.rows_are_exchangeable:
            return list(self.visit(queries))
        return _EveryStep(self, queries)

    def visit(self, queries):
        problem, n_checkpoints = self._problem, self._method.n_checkpoints
        if n_checkpoints is None:
            points = problem.path.every_step(self._rates)
        else:
            points = problem.path.checkpoints(n_checkpoints, self._rates)
        final = queries.directions(problem.params, problem.buffers)
        for point in points:
            yield self._probe(point, queries, final)

    def _probe(self, point, queries, final):
        problem = self._problem
        directions = final
        if self._method.query == "checkpoint":
            directions = queries.directions(point.params, point.buffers)
        # Theorem 4.6 loses the minus of its own derivation: removal *adds* the row's step back
        scalar = isinstance(point.rate, float)
        every_step = self._method.n_checkpoints is None
        return Probe(
            point=problem.ascend(point.params, point.buffers, point.rows),
            directions=directions if scalar else point.rate[:, None] * directions,
            buffers=point.buffers,
            rate=point.rate if scalar else 1.0,
            rows=point.rows if every_step else None,
            rows_weight=problem.weight_of(point.rows) if every_step else None,
        )


class _EveryStep:
    """Probes of every step, made again by replay at each reading: they would fill memory."""

    def __init__(self, prepared, queries):
        self._prepared = prepared
        self._queries = queries

    def __iter__(self):
        return self._prepared.visit(self._queries)


_RATES = {"plain": lambda path: path.rates, "effective": effective_rates}
