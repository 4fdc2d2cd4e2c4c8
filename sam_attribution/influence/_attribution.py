"""One trained model, its probes, and the scores that they give."""

import torch
from tqdm.auto import tqdm

from sam_attribution.influence._aggregation import AGGREGATIONS
from sam_attribution.probes import row_scores, training_scores
from sam_attribution.problem import Queries, evaluation_function

# Each holds a direction of all parameters at every state
_QUERIES_AT_ONCE = 64


class Attribution:
    """Scores of one problem against one set of validation rows.

    Everything is in label codes and tensors here.

    Parameters
    ----------
    problem : Problem
    method : Method
    X, y : Tensor
        Validation rows and label codes.
    evaluation : {"loss", "margin"} or callable
    aggregate : {"mean", "worst-class"}
    verbose : int, default=0
        Above 1 shows a progress bar over the probes.

    Attributes
    ----------
    table : Tensor of shape (n_samples, n_classes)
        Score of every training row for every label it might have carried.
    """

    def __init__(self, problem, method, X, y, *, evaluation, aggregate, verbose=0):
        self.problem = problem
        self.verbose = verbose
        self.evaluation = evaluation_function(evaluation, problem.row_loss)
        self.aggregation = AGGREGATIONS[aggregate]()
        queries = self._queries(X, y, self.aggregation.groups(y), self.aggregation.normalize)
        self.prepared = method.prepare(problem)
        self.probes = self.prepared.probes(queries)
        table = training_scores(problem, self._watched(self.probes))
        given = _given(table, problem.y)
        trained_on = slice(None) if problem.visited is None else problem.visited
        self.table = self.aggregation.fit(given[trained_on]).reduce(table)

    @property
    def scores(self):
        """Score of every training row with the label it has, shape (n_samples,)."""
        return _given(self.table, self.problem.y)

    def label_table(self, X):
        """Scores of any rows for every label, shape (n, n_classes), in the 1/n form."""
        return self.aggregation.reduce(row_scores(self.problem, self._watched(self.probes), X))

    def attribute(self, X, y):
        """Scores of the training rows against single queries, shape (n_queries, n_samples)."""
        parts = zip(X.split(_QUERIES_AT_ONCE), y.split(_QUERIES_AT_ONCE), strict=True)
        return torch.cat([self._attribute_some(*part) for part in parts])

    def _attribute_some(self, X, y):
        singles = tuple(torch.arange(len(y), device=y.device).split(1))
        probes = self.prepared.probes(self._queries(X, y, singles, normalize=False))
        return training_scores(self.problem, self._watched(probes), given_only=True).T

    def _watched(self, probes):
        return tqdm(probes, desc="probes", unit="probe", leave=False, disable=self.verbose < 2)

    def _queries(self, X, y, groups, normalize):
        return Queries(self.problem, X, y, self.evaluation, groups, normalize)


def _given(table, y):
    return table[torch.arange(len(y), device=y.device), y]
