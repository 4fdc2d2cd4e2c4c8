"""The scores that a method gives the rows of one trained split."""

from functools import cached_property

import numpy as np
import torch
from sklearn.base import clone
from tqdm.auto import tqdm

from sam_attribution._rows import part_of
from sam_attribution._turns import each_in, exclusive
from sam_attribution._warnings import warn
from sam_attribution.editing import outputs
from sam_attribution.fitting import Measure, train_split
from sam_attribution.influence._aggregation import AGGREGATIONS, MeanAggregation
from sam_attribution.influence._explanation import most_active_epochs
from sam_attribution.influence._reading import choose_reading
from sam_attribution.influence._refinement import check_unit, refined
from sam_attribution.influence._rows import scores_of_any, scores_of_trained
from sam_attribution.influence._soundness import (
    arrival,
    quality,
    radii,
    really_left_out,
    smoothness,
)
from sam_attribution.methods import NO_SWEEP
from sam_attribution.probes import as_probes, training_scores
from sam_attribution.problem import Queries, evaluation_function
from sam_attribution.training import other_streams_kept

# Each holds a direction of all parameters at every state
_OWN_LOSSES_AT_ONCE = 16
ROWS_LEFT_OUT = 10


@exclusive()
def train_and_attribute(
    estimator, split, X, y, sample_weight, *, method, parameters, batch_size, **settings
):
    """Train an estimator on a split, unless it is frozen, and return its :class:`Attribution`."""
    data = X, y, sample_weight
    options = {"parameters": parameters, "batch_size": batch_size, "method": method}
    trained = train_split(estimator, split, *data, **options)
    # a generator in its settings is drawn from anew, as it would be in a process of its own
    with other_streams_kept():  # a step isolates them only for what draws from them every time
        return Attribution(trained, clone(method), **settings)


class Attribution:
    """Scores of one trained split against its validation rows.

    Rows, label codes and targets are tensors here.

    Parameters
    ----------
    trained : TrainedSplit
    method : Method
    evaluation : {"loss", "margin"} or callable
    aggregate : {"mean", "worst-class"}
    refine : int, default=0
        Rows whose scores are replaced by their true effects.
    calibrate : bool, default=False
        Multiply the other scores by the slope that fits these best.
    n_jobs : int, optional
        Processes that share the rows.
    verbose : int, default=0
        Above 0 shows a progress bar over the probes, above 1 if this is a part of a longer work.
    is_part : bool, default=False
        True for one of several splits, over which there is a progress bar.

    Attributes
    ----------
    trained : TrainedSplit
        Estimator, split and problem.
    problem : Problem
    scores : Tensor of shape (n_train,)
        Score of every row of the problem with the label it has.
    table : Tensor of shape (n_train, n_classes) or None
        The same for every label it might have carried, if the method has probes and the
        problem classes.
    queries : Queries
        What is asked of the validation rows.
    query_scores : Tensor of shape (n_train, k)
        Scores against each query, before the aggregation.
    standard_errors : Tensor of shape (n_train, 1) or None
        Of the scores, where a method knows them and they are means.
    probes : iterable of Probe or None
        Of the validation rows, if the method has any.
    prepared : Prepared or PreparedScores
    left_out : LeftOutRows or None
        The rows that matter most, really left out, beside their scores.
    validation : Queries
        The mean over the validation rows, however they are aggregated.
    diagnostics : dict
        Of this split, by the names of the columns of ``SAMInfluence.diagnostics_``.
    """

    def __init__(
        self,
        trained,
        method,
        *,
        evaluation,
        aggregate,
        refine=0,
        calibrate=False,
        n_jobs=None,
        verbose=0,
        is_part=False,
    ):
        self.trained = trained
        self.problem = problem = trained.problem
        self.n_jobs = n_jobs
        self.verbose = verbose
        self._is_part = is_part
        watch = Measure(trained.net.device)
        self.evaluation = evaluation_function(evaluation, problem.row_loss)
        self.aggregation = AGGREGATIONS[aggregate]()
        X, y = trained.tensors(trained.split.X, trained.split.y)
        groups = self.aggregation.groups(y)
        self.queries = queries = self._queries(X, y, groups, self.aggregation.normalize)
        self.validation = self._queries(X, y, MeanAggregation().groups(y), normalize=False)
        self.method = method
        self.prepared = method.prepare(problem)
        check_asked(self.prepared, evaluation, aggregate)
        self.query_scores, table = self._found_with_fallback(queries)
        self.standard_errors = None
        if not method.has_probes and aggregate == "mean":
            self.standard_errors = self.prepared.standard_errors(queries)
        self._warn_of_zeros()
        self.aggregation.fit(self.query_scores[self._judged(self.query_scores)])
        self.scores = self.aggregation.reduce(self.query_scores)
        self.table = None if table is None else self.aggregation.reduce(table)
        self._predicted = self.scores  # whatever refine makes of them
        self.left_out = None
        self.diagnostics = self._diagnostics(watch)
        self._check(watch)
        if refine:
            self._refine(refine, calibrate)

    def __repr__(self):
        n_train = int(self.trained.visited.sum())
        return f"Attribution({n_train} training rows, {len(self.validation.y)} validation rows)"

    @exclusive()
    def examine(self, check=None, n_rows=0):
        """Add to the diagnostics what is expensive: see ``SAMInfluence.diagnose``."""
        if "curvature" not in self.diagnostics:
            self.diagnostics |= arrival(self.problem)
        if check is not None:
            self.diagnostics |= smoothness(self, check)
        if n_rows:
            self.leave_out(n_rows)

    def _refine(self, n_rows, calibrate):
        """Put the effects of the rows that matter most in the place of their scores."""
        check_unit(self.prepared, calibrate=calibrate)
        self.leave_out(n_rows)
        found = self.scores, self.table, self.problem.y, self.left_out
        self.scores, self.table = refined(*found, calibrate=calibrate)

    def leave_out(self, n_rows):
        """Train again without the rows that matter most, and keep the comparison."""
        if not self.prepared.answers_queries:
            raise ValueError(
                "leaving out rows measures effects on the validation rows, and this method "
                'scores each row by its own loss. Use another method, such as "unrolled".'
            )
        if self.left_out is not None and len(self.left_out.rows) >= n_rows:
            return
        self.left_out = really_left_out(self, n_rows)
        if self.prepared.has_unit:
            judged = {"left_out_error": self.left_out.error}
        else:
            judged = {"left_out_rank": self.left_out.rank_correlation}
        self.diagnostics |= {
            "n_left_out": len(self.left_out.rows),
            **judged,
            "left_out_slope": self.left_out.slope,
        }

    @exclusive()
    def row_scores(self, X, y=None):
        """Scores of any rows in the 1/n form, (n,) with `y`, (n, n_classes) without."""
        if reason := self.prepared.only_trained_rows:
            raise ValueError(reason)
        scores = scores_of_any(self.problem, self._watched(self.probes), X, y, n_jobs=self.n_jobs)
        return self.aggregation.reduce(scores)

    def attribute(self, X, y, how="auto"):
        """Yield scores of the training rows against single queries, some at a time, (k, n)."""
        return each_in(exclusive, self._attribute(X, y, how))

    def _attribute(self, X, y, how):
        reading = self._reading(how, len(y))
        parts = zip(X.split(reading.at_once), y.split(reading.at_once), strict=True)
        several = len(y) > reading.at_once  # else the work on the only part has a bar of its own
        shown = {"leave": False, "disable": not (self.verbose and several)}
        with tqdm(total=len(y), desc="scoring queries", unit="query", **shown) as bar:
            for part in parts:
                yield self._attribute_some(*part, reading, is_part=several)
                bar.update(len(part[1]))

    @exclusive()
    def self_influence(self):
        """Score of every training row on its own training loss, shape (n_samples,)."""
        if not self.prepared.answers_queries:
            return -self.scores  # they are that already, negated to rank with the others
        everyone = torch.arange(len(self.problem.y), device=self.problem.y.device)
        found, desc = [], "self-influence of the rows"
        with tqdm(
            total=len(everyone), desc=desc, unit="row", leave=False, disable=not self.verbose
        ) as bar:
            for rows in everyone.split(_OWN_LOSSES_AT_ONCE):
                found.append(self._self_influence_of(rows))
                bar.update(len(rows))
        return torch.cat(found)

    @cached_property
    def validation_outputs(self):
        """Outputs of the trained model for the validation rows."""
        return outputs(self.problem, self.problem.params, self.problem.buffers, self.validation.X)

    def predicted_rise(self, rows):
        """Rise of the validation value that the scores predict, NaN if they have no unit."""
        of_mean = isinstance(self.aggregation, MeanAggregation) and self.prepared.answers_queries
        known = of_mean and self.prepared.has_unit
        return float(self._predicted[rows].sum()) if known else float("nan")

    @exclusive()
    def origins(self, X, y, queries, rows):
        """Parts of scores against single queries, by the probe that they come from.

        `queries` and `rows` name pairs, on the CPU: ascending positions in `X`, and positions of
        training rows. Returns the span of steps of each probe, and parts (n_probes, n_pairs).
        """
        at_once = self._reading("auto", len(y)).at_once
        parts = []
        for part in torch.arange(len(y)).split(at_once):
            some = part_of(X, part), y[part]
            mine = (queries >= part[0]) & (queries <= part[-1])
            asked = queries[mine] - part[0], rows[mine]
            steps, found = self._origins_of_some(*some, *asked)
            parts.append(found)
        return steps, torch.cat(parts, dim=1)

    def _reading(self, how, n_queries):
        own_way = not self.method.has_probes or self.prepared.differentiates_training
        return choose_reading(how, self._trained, n_queries, own_way=own_way)

    @exclusive()
    def epochs_behind(self, X, y, queries, rows):
        """Texts that name the epochs in which scores of pairs came about, such as ``"2-4, 9"``.

        `queries` and `rows` are ascending positions in `X`, and positions in the data given to
        ``SAMInfluence.fit``. The texts are empty for methods of the final model.
        """
        if not self.prepared.along_training or len(rows) == 0:
            return [""] * len(rows)
        of_split = np.searchsorted(self.trained.split.train, rows)
        pairs = torch.tensor(queries), torch.tensor(of_split)
        steps, parts = self.origins(*self.trained.tensors(X, y), *pairs)
        spans = [self.problem.path.epochs_of(span) for span in steps]
        return [most_active_epochs(spans, pair) for pair in parts.cpu().numpy().T]

    def _diagnostics(self, watch):
        """Diagnostics of the method, quality of the predictions, and costs."""
        found = self.prepared.diagnostics | {
            **quality(self.trained),
            **radii(self.problem, self.prepared),
            "n_train": int(self.trained.visited.sum()),
            "seconds_training": self.trained.seconds,
            "seconds_scoring": watch.lap(),
            "peak_memory_mib": watch.peak_memory_mib(),
        }
        return found

    def _check(self, watch):
        """Add what the method checks by itself."""
        if self.method.check == "rows":
            self.leave_out(ROWS_LEFT_OUT)
        elif self.method.check:
            self.diagnostics |= smoothness(self, self.method.check)
        if self.method.check:
            self.diagnostics["seconds_checking"] = watch.lap()

    def _origins_of_some(self, X, y, queries, rows):
        distinct, of_pair = rows.unique(return_inverse=True)
        probes = as_probes(self.prepared.probes(self._single_queries(X, y)))
        steps, parts = [], []
        for probe in self._watched(probes):
            scores = training_scores(self._trained, [probe], given_only=True, rows=distinct)
            steps.append(probe.steps)
            parts.append(scores[of_pair, queries])
        return steps, torch.stack(parts)

    def _warn_of_zeros(self):
        """Warn if a question has the answer 0 for every row."""
        if self.prepared.answers_queries and not self.query_scores.any():
            warn(
                "Every score is 0. The gradient of the evaluation, or of every training row's "
                "loss, is 0: it is constant, or has reached its minimum. Use another evaluation, "
                'such as "margin", other validation rows, or fewer epochs.'
            )

    def _found_with_fallback(self, queries):
        """The same as `_found`; by another method if training cannot be swept through."""
        try:
            return self._found(queries)
        except NO_SWEEP as error:
            if self.prepared.instead is None:
                raise
            self.prepared = self.prepared.instead(error)
            return self._found(queries)

    def _found(self, queries):
        """Scores for the label that each row has, and for every label (None without any)."""
        if not self.method.has_probes:
            self.probes = None
            return self.prepared.scores(queries), None
        self.probes = as_probes(self.prepared.probes(queries))
        if self.problem.n_classes is None:
            return self._scores_of_trained(self.probes, given_only=True), None
        table = self._scores_of_trained(self.probes)
        return _given(table, self.problem.y), table

    @property
    def _trained(self):
        """The problem whose rows probes are read with, in their precision."""
        return self.prepared.problem or self.problem

    def _judged(self, scores):
        """Mask of the rows that an aggregation learns from."""
        judged = ~scores.isnan().any(1)
        return judged if self.problem.visited is None else judged & self.problem.visited

    def _attribute_some(self, X, y, reading, *, is_part):
        queries = self._single_queries(X, y)
        if not self.method.has_probes:
            return self.prepared.scores(queries).T
        probes = as_probes(self.prepared.probes_once(queries))
        how = {"reading": reading, "is_part": is_part}
        return self._scores_of_trained(probes, given_only=True, **how).T

    def _self_influence_of(self, rows):
        X, y = part_of(self.problem.X, rows), self.problem.y[rows]
        own = self._single_queries(X, y, self.problem.row_loss.per_sample)
        if not self.method.has_probes:
            return self.prepared.scores(own)[rows].diagonal()
        probes = as_probes(self.prepared.probes(own))
        return training_scores(self._trained, probes, given_only=True, rows=rows).diagonal()

    def _scores_of_trained(self, probes, *, given_only=False, reading=None, is_part=None):
        shared = self.prepared.rows_are_exchangeable and not (reading and reading.by_position)
        probes = self._watched(probes, is_part)
        if reading is not None:
            probes = reading.of(probes)
        n_jobs = self.n_jobs if shared else 1
        return scores_of_trained(self._trained, probes, given_only=given_only, n_jobs=n_jobs)

    def _single_queries(self, X, y, evaluation=None):
        if not self.prepared.answers_queries:
            raise ValueError(
                "this method scores each row by its own loss, so it cannot score queries. Use "
                'another method, such as "tracin".'
            )
        singles = tuple(torch.arange(len(y), device=y.device).split(1))
        return Queries(self.problem, X, y, evaluation or self.evaluation, singles)

    def _watched(self, probes, is_part=None):
        is_part = self._is_part if is_part is None else is_part
        if self.verbose <= is_part:
            return probes
        unit = "step" if self.prepared.along_training else "part"
        return tqdm(probes, desc="scoring rows", unit=unit, leave=False)

    def _queries(self, X, y, groups, normalize):
        return Queries(self.problem, X, y, self.evaluation, groups, normalize)


def check_asked(method, evaluation, aggregate):
    """Raise a ValueError for a question to a method, prepared or not, that answers none."""
    if not method.answers_queries and (evaluation, aggregate) != ("loss", "mean"):
        raise ValueError(
            "this method scores each row by its own training loss and does not use the "
            'validation rows. Leave evaluation at "loss" and aggregate at "mean", got '
            f"{evaluation!r} and {aggregate!r}."
        )


def _given(table, y):
    return table[torch.arange(len(y), device=y.device), y]
