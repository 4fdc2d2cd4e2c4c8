"""The part of SAMInfluence that edits a trained model as if rows had never been there."""

from numbers import Integral

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted

from sam_attribution._turns import exclusive
from sam_attribution.editing import edit_report, random_groups, state_after, verification
from sam_attribution.fitting import with_net
from sam_attribution.training import edited_copy

_REASON = "SAMInfluence.remove edited the weights, so training did not lead to them"


class Removing:
    """Removal of training rows from a fitted model."""

    def remove(self, indices, *, split=None, verify=0):
        """The model as if some training rows had never been there, without training it again.

        The method predicts where the weights would have come out, to first order in the rows'
        weights: ``unrolled`` by the derivative of the whole training, HIF by a linear solve, GIF
        and TracIn by the sum of the rows' gradients along it.

        Parameters
        ----------
        indices : array-like of int, or of bool with shape (n_samples,)
            Positions in the rows given to ``fit``.
        split : int, optional
            Which split's model is edited; needed if there are several.
        verify : int, default=0
            Number of random groups, each of as many rows as are removed, without which the model
            is trained again to compare: one training for each, and one more.

        Returns
        -------
        SAMClassifier or Pipeline
            A fitted copy with edited weights (with unrolled also edited batch-norm statistics),
            its optimizer as new. Its training is not recorded: it cannot be attributed itself.
            The classifier (the last step of a Pipeline) has ``edit_``, a Series: `n_removed`;
            `step_length`, relative to the weights; `nonlinearity`, see below; `value`, the mean
            validation evaluation before the edit; `predicted_rise` of it, the sum of the rows'
            scores (NaN with ``aggregate="worst-class"``), and its actual `rise`. With `verify` it
            has ``verification_``, a DataFrame with a row for each random group: `cosine` between
            edited and retrained change of the attributed parameters, `length_ratio` of the first
            to the second, and `rise` and `accuracy` on the validation rows, each of the edited
            and of the retrained model.

        Raises
        ------
        ValueError
            If the method predicts no weights; if `indices` are empty, out of range, repeated, not
            trained on, all rows or all rows of a class; or as :meth:`attribute`.
        TypeError
            If `indices` are neither integers nor booleans.

        Warns
        -----
        UserWarning
            If ``edit_["nonlinearity"]`` is above .5, or ``|rise - predicted_rise|`` above
            ``|predicted_rise| / 2 + |value| / 10``. The nonlinearity compares half of the step
            with all of it on the outputs z for up to 128 validation rows, ``2 ||z(1) - 2 z(1/2)
            + z(0)|| / ||z(1) - z(0)||``: 0 on a straight line. Both test the model along the step;
            whether training is linear in the rows' weights only training again can tell, which
            `verify` does.

        Notes
        -----
        Cost, for r removed of n rows: GIF and TracIn one gradient of the r rows per visited state
        (of every step: one training); HIF one such gradient (full: two, and a product with the
        Hessian) and a solve; unrolled about 2.5 trainings. And a forward pass over the validation
        rows.

        References
        ----------
        arXiv:2507.04059; for unrolled see Hara et al., arXiv:1906.08473.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_iris
        >>> from sam_attribution import SAMClassifier, SAMInfluence
        >>> X, y = load_iris(return_X_y=True)
        >>> influence = SAMInfluence(SAMClassifier(max_epochs=5), random_state=0).fit(X, y)
        >>> worst = np.argsort(influence.scores_)[:2]  # NaN, not trained on, comes last
        >>> edited = influence.remove(worst)
        >>> edited.predict(X).shape, int(edited.edit_["n_removed"])
        ((150,), 2)
        """
        check_is_fitted(self)
        attribution = self._attribution_of(split)
        check_can_remove(attribution.prepared, self.method)
        rows = checked_removal(indices, attribution.trained, self._y)
        verify = _checked_count(verify)
        return edited_estimator(attribution, rows, verify=verify, seed=self._seed)


@exclusive()
def edited_estimator(attribution, rows, *, verify, seed):
    """Copy of a split's estimator with weights as if some rows of its problem had not been there.

    `verify` random groups, drawn by `seed`, are trained without to compare.
    """
    trained, problem = attribution.trained, attribution.problem
    visited = torch.as_tensor(np.flatnonzero(trained.visited), device=problem.y.device)
    groups = [torch.as_tensor(rows, device=problem.y.device)]
    groups += random_groups(visited, len(rows), verify, seed)
    step = attribution.prepared.removal_step(groups, verbose=attribution.verbose)
    params, buffers = state_after(problem, step, 0)
    edited = edited_copy(trained.net, params, {n: buffers[n] for n in step.buffers}, _REASON)
    predicted = attribution.predicted_rise(groups[0])
    before = attribution.validation_outputs
    report = edit_report(attribution.validation, before, step, predicted, verified=bool(verify))
    edited.edit_ = pd.Series({"n_removed": len(rows)} | report)
    if verify:
        edited.verification_ = _verified(attribution, groups[1:], step)
    return with_net(trained.estimator, edited)


def _verified(attribution, groups, step):
    """Training again without each random group, beside the steps after the first."""
    steps = type(step)(step.params[1:], {name: b[1:] for name, b in step.buffers.items()})
    options = {"n_jobs": attribution.n_jobs, "verbose": attribution.verbose}
    return verification(attribution.validation, groups, steps, **options)


def checked_removal(indices, trained, y):
    """Positions among the rows of a split's problem that `indices` into all rows stand for.

    Raises a TypeError or ValueError for `indices` that are no positions, or repeated, or not
    trained on, or that leave nothing to train on, or nothing of a class.
    """
    rows = _positions(indices, len(y))
    visited = trained.trained_rows
    if len(strangers := np.setdiff1d(rows, visited)):
        raise ValueError(
            f"indices holds rows that this model was not trained on, such as {strangers[0]} "
            "(held out to validate on): there is nothing to remove."
        )
    left = np.setdiff1d(visited, rows)
    if len(left) == 0:
        raise ValueError("indices are all rows that were trained on: nothing would be left.")
    classify = trained.problem.n_classes is not None
    if classify and len(gone := np.setdiff1d(y[visited], y[left])):
        raise ValueError(
            f"indices are all rows of class {gone.tolist()[0]!r}: an edit cannot forget a class. "
            "Train again without it."
        )
    return np.searchsorted(trained.split.train, rows)


def check_can_remove(prepared, method):
    """Raise a ValueError for a method that says nothing about the weights."""
    if prepared.removal_step is None:
        raise ValueError(
            f"method={method!r} does not say what the weights would be without a row. Take one "
            'that does: "gif", "tracin", "hif", "hif-fast", "hif-paper", "if" or "unrolled".'
        )


def _positions(indices, n_samples):
    given = np.asarray(indices)
    if given.dtype == bool:
        if given.shape != (n_samples,):
            raise ValueError(
                f"indices as a mask must have shape ({n_samples},), one entry per row given to "
                f"fit, got {given.shape}."
            )
        given = np.flatnonzero(given)
    if given.ndim != 1 or given.size == 0:
        raise ValueError(
            f"indices must name at least one row, as a list or mask, got shape {given.shape}."
        )
    if given.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers or booleans, got {given.dtype}.")
    if len(outside := given[(given < 0) | (given >= n_samples)]):
        raise ValueError(f"indices must be positions in 0..{n_samples - 1}, got {outside[0]}.")
    rows, counts = np.unique(given, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"indices holds row {rows[counts > 1][0]} more than once.")
    return rows


def _checked_count(verify):
    if isinstance(verify, bool) or not isinstance(verify, Integral) or verify < 0:
        raise ValueError(f"verify must be a number of groups, 0 or more, got {verify!r}.")
    return int(verify)
