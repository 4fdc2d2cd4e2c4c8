"""The protocol that every attribution method follows."""

from abc import ABC, abstractmethod
from typing import ClassVar

from sklearn.base import BaseEstimator


class Method(BaseEstimator, ABC):
    """Settings of a method; :meth:`prepare` does the work that all queries share.

    Attributes
    ----------
    has_probes : bool, default=True
        Whether :meth:`prepare` returns a :class:`Prepared`, with probes that score any row for
        any label, and not a :class:`PreparedScores`.
    """

    has_probes: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict[str, list]] = {}

    @abstractmethod
    def prepare(self, problem):
        """Return a :class:`Prepared`, or :class:`PreparedScores`, for a problem.

        Parameters
        ----------
        problem : Problem
        """

    def for_split(self, train, n_samples):
        """Return the method for a part of the rows: itself, unless its settings name rows.

        Parameters
        ----------
        train : ndarray of int
            Positions, in the rows given to ``SAMInfluence.fit``, of those trained on; ascending.
        n_samples : int
            Number of rows given.
        """
        return self


class Prepared(ABC):
    """A method made ready for one problem.

    Attributes
    ----------
    problem : Problem or None
        What training rows are read with, if not the problem given: the same in float64.
    diagnostics : dict
        What the method found out or chose, by name.
    rows_are_exchangeable : bool
        Whether the probes hold for every row alike, so that a training row's score needs
        nothing but its content. Not so where a row's own batches are known.
    answers_queries : bool
        Whether the probes depend on the queries. Not so for scores of a row's own loss.
    along_training : bool
        Whether each probe stands for a span of training steps.
    only_trained_rows : str or None
        Why rows that were not trained on have no score, if so.
    predicts_state : bool
        Whether the method says where training would have led without some rows, and so has
        ``removal_step(groups)``: the change of the trained state to first order, a
        ``dynamics.Tangent``, for each tensor of positions in `groups`.
    differentiates_training : bool
        Whether scores are the derivative of the recorded training itself.
    check : str or None
        Which check of smoothness ``fit`` makes, see ``SAMInfluence.diagnose``.
    verbose : int
        Set by whoever prepared it; above 0 a removal step as long as a training shows a bar.
    """

    problem = None
    rows_are_exchangeable = True
    answers_queries = True
    along_training = False
    only_trained_rows: str | None = None
    predicts_state = False
    differentiates_training = False
    check = None
    verbose = 0

    @abstractmethod
    def probes(self, queries):
        """Return an iterable of probes, readable more than once, for the queries."""

    def probes_once(self, queries):
        """Return an iterable of probes that may be read once, and need not all be held."""
        return self.probes(queries)


class PreparedScores(ABC):
    """A method made ready for one problem that knows the rows trained on alone: retraining.

    Its :class:`Method` says ``has_probes = False``. It has no answer for other rows or labels.

    Attributes
    ----------
    diagnostics : dict
        What the method found out or chose, by name.
    """

    problem = None
    rows_are_exchangeable = False
    answers_queries = True
    along_training = False
    predicts_state = False
    differentiates_training = False
    check = None

    @abstractmethod
    def scores(self, queries):
        """Return scores against the queries, shape (n_samples, k).

        Rows are in the order of ``problem.y``; NaN stands for a row that was not judged.
        """

    def standard_errors(self, queries):
        """Return those of the scores, shape (n_samples, k); None if they are not known."""
        return None
