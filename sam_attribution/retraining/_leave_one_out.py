"""The gold standard: training again without the row."""

from numbers import Integral
from os import PathLike
from typing import ClassVar

import torch

from sam_attribution._turns import exclusive
from sam_attribution._validation import Interval, StrOptions, check_parameters
from sam_attribution.methods import PreparedScores
from sam_attribution.problem import (
    FunctionalTraining,
    check_functional,
    check_keeps_states,
    problem_from_another_seed,
)
from sam_attribution.retraining._finished import check_is_folder, key_of
from sam_attribution.retraining._left_out import LeavesOut
from sam_attribution.retraining._real_loop import RealLoop, recorded_loop, recorded_training
from sam_attribution.retraining._retrained import retrained
from sam_attribution.training import derived_seed


class LeaveOneOut(LeavesOut):
    """Change of the validation loss by training again without each row.

    The score of row k is ``V(w without k) - V(w)``: same start, same batches and dropout masks,
    the row at weight 0 and every denominator unchanged. The other methods predict this number,
    with the same sign and unit.

    Parameters
    ----------
    rows : array-like of int, or of bool with shape (n_samples,), default=None
        Rows to leave out one at a time, as positions in those given to ``fit``, each once, or a
        mask of them. Results follow their order. The others get NaN, and so do rows that a split
        holds out for validation. ``None`` leaves out every row in turn.
    groups : array-like of shape (n_samples,) or bool (n_groups, n_samples), or list of \
            lists of int, default=None
        Rows to leave out together: a label for each row given to ``fit``, a mask per group, or the
        positions of the rows of each group.
        The rows of a group that were trained on are left out. The score of a row is then its share
        of the effect of its group, ``[V(w without group) - V(w)]`` divided by the number of rows
        left out, so that the unit stays that of one removed row and the scores of a group sum to
        its effect. A row in several groups gets the mean, a row in none NaN.
    n_seeds : int, default=1
        Number of repetitions. Each further one trains from another seed, with its own batches and
        masks (a module that was passed as an instance keeps its initial weights). Scores are means
        over the seeds, and have standard errors.
    models_at_once : int or "auto", default="auto"
        Models that go through a step together, see :func:`train_many`.
    real_loop : "auto" or bool, default="auto"
        True repeats the net's own training steps, one model at a time; False computes them as
        functions of vectors, many models at once. ``auto`` does the latter where it can. Otherwise,
        as for RMSprop, ``amsgrad``, another optimizer, clipping by value, a training step of your
        own or half precision, it does the former, and warns.
    n_jobs : int, default=None
        Processes for the stacks of models, by joblib's rules.
    resume_dir : path, default=None
        Folder for finished models: after an interruption, another ``fit`` continues from there.
        Each training has a folder in it, named after a fingerprint of its data and settings, so
        that several trainings may share `resume_dir`. Without a ``random_state`` of the estimator
        or of SAMInfluence every fit is another training and finds no finished models, which warns.
        By default models are kept in memory, and lost in an interruption.
    verbose : int, default=0
        Above 0 shows a progress bar over the models.

    Notes
    -----
    Cost: one training per row (group) and seed. Many small models at once take far less time than
    one after another, because a stack shares the overhead of its steps. Memory, or space in
    `resume_dir`: a copy of weights and buffers per row and seed. The method needs the recorded
    start, so any `trajectory` but None. Rates, rho and the number of steps are the recorded ones,
    also if a scheduler or early stopping would have done otherwise without the row.
    ``score_samples`` and ``transform`` are not available, because a row that was not trained on
    cannot be left out.

    References
    ----------
    Koh & Liang, Understanding Black-box Predictions via Influence Functions, arXiv:1703.04730.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sam_attribution import SAMClassifier, SAMInfluence
    >>> from sam_attribution.retraining import LeaveOneOut
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SAMClassifier(max_epochs=3)
    >>> influence = SAMInfluence(clf, method=LeaveOneOut(rows=[3, 50]), random_state=0)
    >>> influence.fit(X, y).scores_.shape
    (150,)
    """

    def __init__(
        self,
        *,
        rows=None,
        groups=None,
        n_seeds=1,
        models_at_once="auto",
        real_loop="auto",
        n_jobs=None,
        resume_dir=None,
        verbose=0,
    ):
        self.rows = rows
        self.groups = groups
        self.n_seeds = n_seeds
        self.models_at_once = models_at_once
        self.real_loop = real_loop
        self.n_jobs = n_jobs
        self.resume_dir = resume_dir
        self.verbose = verbose

    _parameter_constraints: ClassVar = {
        "rows": [None, "array-like"],
        "groups": [None, "array-like"],
        "n_seeds": [Interval(Integral, 1, None, closed="left")],
        "models_at_once": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "real_loop": [StrOptions({"auto"}), "boolean"],
        "n_jobs": [None, Integral],
        "resume_dir": [None, str, PathLike],
        "verbose": ["verbose"],
    }

    def check_request(self, n_samples):
        super().check_request(n_samples)
        check_is_folder(self.resume_dir)

    def check_model(self, problem, optimizer):
        super().check_model(problem, optimizer)
        check_keeps_states(problem)
        if self.real_loop is False:
            check_functional(problem, optimizer, self)

    def prepare(self, problem):
        """Train all models, or those that `resume_dir` does not hold yet.

        Raises
        ------
        ValueError
            For rows or groups that do not exist or leave nothing to train on; for a training that
            was not recorded, is not finite without some row, or does not end at the estimator's
            weights when it is repeated with every row; with ``real_loop=False`` for one without a
            functional form; and, with `n_seeds` above 1, for one that the estimator's present
            parameters do not repeat.
        """
        check_parameters(self)
        absent = self.left_out(problem)
        names = ("models_at_once", "n_jobs", "resume_dir", "verbose")
        options = {name: getattr(self, name) for name in names}
        program, words = recorded_training(problem, self.real_loop, type(self).__name__)
        options["recorded_end"] = problem.params
        models = [retrained(problem, program, absent, **options)]
        again = recorded_loop if isinstance(program, RealLoop) else FunctionalTraining
        for twin in self._other_seeds(problem):
            options["recorded_end"] = None
            models.append(retrained(twin, again(twin), absent, **options))
        scale = f"{problem.row_loss.unit}, measured by retraining"
        prepared = PreparedLeaveOneOut(models, absent, scale)
        prepared.diagnostics["retrained_by"] = words
        return prepared

    def _other_seeds(self, problem):
        for number in range(1, self.n_seeds):
            # numbers below that of the last step seed dropout masks
            seed = derived_seed(problem.path.seed, problem.path.n_steps + number)
            twin = problem_from_another_seed(problem, seed)
            _check_alike(problem.path, twin.path)
            yield twin


def _check_alike(path, twin):
    """Raise a ValueError unless a training from another seed differs in its random draws only."""
    if _settings(path) != _settings(twin):
        raise ValueError(
            "n_seeds trains again with the parameters that the estimator has now, which is "
            f"another training than the recorded one ({twin.n_steps} steps instead of "
            f"{path.n_steps}, or other rates, rho, batch sizes or optimizer settings). Call fit "
            "once, without partial_fit or set_params after it and without callbacks that look at "
            "the loss, or use n_seeds=1."
        )


def _settings(path):
    steps = [(step.rates, step.rho, step.m_sharpness, len(step.indices)) for step in path.schedule]
    return path.optimizer, path.group_settings, steps


class PreparedLeaveOneOut(PreparedScores):
    """Retrained models, one FinishedModels for each seed, ready for any query."""

    def __init__(self, seeds, absent, scale):
        self._seeds = seeds
        self._absent = absent
        self.diagnostics = {
            "scale": scale,
            "n_retrained": len(seeds) * (len(absent) - 1),
            "n_seeds": len(seeds),
        }

    @exclusive()
    def group_effects(self, queries):
        """``V(w without group) - V(w)`` for every seed, shape (n_seeds, n_groups, k).

        Groups are those given; single rows if none were given.
        """
        return torch.stack([self._effects(models, queries) for models in self._seeds])

    def scores(self, queries):
        return self.scores_of_seeds(queries).mean(0)

    def standard_errors(self, queries):
        if len(self._seeds) == 1:
            return None
        return self.scores_of_seeds(queries).std(0) / len(self._seeds) ** 0.5

    def scores_of_seeds(self, queries):
        """Scores of each seed, shape (n_seeds, n_samples, k)."""
        effects = self.group_effects(queries)
        return torch.stack([self._absent.per_row(each) for each in effects])

    def _effects(self, models, queries):
        keys = [key_of(positions) for positions in self._absent.positions]
        wanted, like = set(keys), queries.problem.params
        values = {
            key: queries.values(params.to(like.device), _moved(buffers, like.device))
            for key, (params, buffers) in models
            if key in wanted
        }
        found = torch.stack([values[key] for key in keys])
        return found[1:] - found[0]


def _moved(buffers, device):
    return {name: buffer.to(device) for name, buffer in buffers.items()}
