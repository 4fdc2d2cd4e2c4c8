"""The protocol of attribution methods."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from sklearn.base import BaseEstimator

from sam_attribution._summary import summary_of
from sam_attribution._validation import check_parameters


class Method(BaseEstimator, ABC):
    """Settings of a method; :meth:`prepare` does the work that is common to all queries.

    Attributes
    ----------
    has_probes : bool, default=True
        True if :meth:`prepare` returns a :class:`Prepared`, with probes that score any row for
        any label; False if it returns a :class:`PreparedScores`.
    answers_queries : bool, default=True
        False for scores of a row's own loss: they do not depend on the queries.
    check : str or None, default=None
        The check of smoothness that ``fit`` makes, see ``SAMInfluence.diagnose``.
    """

    has_probes: ClassVar[bool] = True
    answers_queries: ClassVar[bool] = True
    check: str | None = None
    _parameter_constraints: ClassVar[dict[str, list]] = {}

    def check_request(self, n_samples):
        """Raise a ValueError for wrong settings, before anything is trained.

        Parameters
        ----------
        n_samples : int
            Number of rows given to ``SAMInfluence.fit``; a problem may hold a part of them.
        """
        check_parameters(self)

    def check_model(self, problem, optimizer):
        """Raise a ValueError for a model that this method cannot answer for, before training.

        Parameters
        ----------
        problem : Problem
            A few rows and the untrained module; ``problem.path`` is None.
        optimizer : torch.optim.Optimizer
            What would train the module.
        """

    @abstractmethod
    def prepare(self, problem):
        """Return a :class:`Prepared`, or :class:`PreparedScores`, for a problem.

        Parameters
        ----------
        problem : Problem
        """


class _PreparedMethod:
    """The attributes that both kinds share; :class:`Prepared` describes them."""

    problem = None
    answers_queries = True
    has_unit = True
    along_training = False
    differentiates_training = False
    removal_step: Callable | None = None
    instead: Callable | None = None

    def __repr__(self):
        return summary_of(type(self).__name__, getattr(self, "diagnostics", {}))


class Prepared(_PreparedMethod, ABC):
    """A method made ready for one problem, with probes that score any row for any label.

    Attributes
    ----------
    diagnostics : dict
        Numbers and settings that the method computed or chose, by name.
    problem : Problem or None
        The problem that training rows are read with, if it is not the one given: the same in
        float64.
    answers_queries : bool, default=True
        False for scores of a row's own loss: they do not depend on the queries.
    has_unit : bool, default=True
        False if scores only rank rows: no estimate of the rise of the query in its own unit.
    along_training : bool, default=False
        True if each probe belongs to a span of training steps.
    differentiates_training : bool, default=False
        True if scores are the derivative of the recorded training itself.
    removal_step : method or None
        ``removal_step(groups, *, verbose=0)`` returns the change of the trained state, to first
        order, without the rows of each group: a ``dynamics.Tangent``. `groups` is a list of
        tensors of positions; `verbose` above 0 shows a progress bar where it takes as long as a
        training. None if the method does not predict the trained state.
    instead : callable or None
        ``instead(error)`` returns what another method prepared, where the probes turn out not to
        be computable: `error` says why. None if there is no other method.
    rows_are_exchangeable : bool, default=True
        True if the probes hold for every row alike, so that the score of a training row needs
        nothing but its content; False where the batches of each row are known.
    only_trained_rows : str or None
        The reason why rows that were not trained on have no score, if they have none.
    """

    rows_are_exchangeable = True
    only_trained_rows: str | None = None

    @abstractmethod
    def probes(self, queries):
        """Return the probes of the queries.

        Parameters
        ----------
        queries : Queries

        Returns
        -------
        iterable of Probe, readable more than once, or list of callable
            A method without gradients returns functions of a batch of rows. With classes
            ``function(X)`` returns a value for each label and query, (n, n_classes, k); without
            classes ``function(X, y)`` returns a value for each query, (n, k). The scores are the
            sums of these values, without 1/n and sample weights.
        """

    def probes_once(self, queries):
        """Return an iterable of probes that may be read once, and need not all be held."""
        return self.probes(queries)


class PreparedScores(_PreparedMethod, ABC):
    """A method made ready for one problem that scores the rows trained on alone: retraining.

    Its :class:`Method` says ``has_probes = False``. It has no answer for other rows or labels. Its
    attributes are those of :class:`Prepared`, without the last two.
    """

    @abstractmethod
    def scores(self, queries):
        """Return scores against the queries, shape (n_samples, k).

        Rows are in the order of ``problem.y``; NaN stands for a row that was not judged.
        """

    def standard_errors(self, queries):
        """Return those of the scores, shape (n_samples, k); None if they are not known."""
        return None
