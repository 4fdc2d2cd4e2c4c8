"""The protocol that every attribution method follows."""

from abc import ABC, abstractmethod
from typing import ClassVar

from sklearn.base import BaseEstimator


class Method(BaseEstimator, ABC):
    """Settings of a method; :meth:`prepare` does the work that all queries share."""

    _parameter_constraints: ClassVar[dict[str, list]] = {}

    @abstractmethod
    def prepare(self, problem):
        """Return a :class:`Prepared` for a :class:`~sam_attribution.problem.Problem`."""


class Prepared(ABC):
    """A method made ready for one problem.

    Attributes
    ----------
    diagnostics : dict
        What the method found out or chose, by name.
    rows_are_exchangeable : bool
        Whether the probes hold for every row alike, so that a training row's score needs
        nothing but its content. Not so where a row's own batches are known.
    answers_queries : bool
        Whether the probes depend on the queries. Not so for scores of a row's own loss.
    along_training : bool
        Whether each probe stands for a span of training steps.
    """

    rows_are_exchangeable = True
    answers_queries = True
    along_training = False

    @abstractmethod
    def probes(self, queries):
        """Return an iterable of probes, readable more than once, for the queries."""
