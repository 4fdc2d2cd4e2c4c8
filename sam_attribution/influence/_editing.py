"""The part of SAMInfluence that edits a trained model as if its rows had been others."""

from functools import partial
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from sam_attribution._row_order import check_order_of_labels, check_positions, check_results
from sam_attribution._validation import Interval, StrOptions, check_arguments
from sam_attribution.editing import LR_FACTOR
from sam_attribution.influence._edited_estimators import (
    check_can_remove,
    edited_estimator,
    edits_of,
    relabelled_estimator,
    way_of_editing,
)
from sam_attribution.influence._rows_to_edit import (
    checked_relabelling,
    checked_removal,
    positions_of,
)

_RULES = {
    "how": [StrOptions({"auto", "replay", "linear", "retrain"})],
    "share": [Interval(Real, 0, 1, closed="right")],
    "lr_factor": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither"), None],
}
_RELABELLING = {"how": [StrOptions({"replay", "retrain"})]}


class Editing:
    """Removal of training rows from a fitted model, and other labels for them."""

    def remove(
        self,
        indices,
        *,
        how="auto",
        share=0.1,
        lr_factor=LR_FACTOR,
        after=None,
        split=None,
        verify=0,
    ):
        """Return the model as if some training rows had never been there, without retraining.

        The last tenth of the recorded training is repeated without the rows (``"replay"``): same
        batches, rates, optimizer state and random numbers, the rows at weight 0. On networks
        trained with wrong labels this comes near the accuracy of training again. It does not
        unlearn the rows: compare ``edit_["removed_loss_after"]`` with the loss of rows never seen.

        Parameters
        ----------
        indices : array-like of int, or of bool with shape (n_samples,)
            Positions in the rows given to ``fit``.
        how : {"auto", "replay", "linear", "retrain"}, default="auto"
            ``"replay"`` repeats the last `share` of the recorded training. ``"linear"`` takes the
            step that `method` predicts, to first order in the rows' weights: ``unrolled`` by the
            derivative of the whole training, HIF by a linear solve, GIF and TracIn by the sum of
            the rows' gradients along it. ``"retrain"`` repeats all of the training. ``"auto"`` is
            ``"replay"`` where training can be repeated, otherwise ``"linear"``, with a warning.
        share : float, default=0.1
            Share of the training steps that are repeated. They begin at a recorded state and with
            each of the rows in a batch: with few recorded states or fewer than ten epochs
            ``edit_["share"]`` is larger. A linear edit repeats none.
        lr_factor : float, "auto" or None, default="auto"
            ``None`` takes the recorded learning rates, which would lead to the recorded weights if
            no row were removed: the change of the weights is that by the rows alone. A number is
            the rate of the first repeated step, in parts of the mean rate of the training; from
            there it falls in a line to 0. A larger number moves the model further, and may
            diverge. ``"auto"`` is 1 where the mean rate over the repeated steps had fallen below
            half of that of the training, as at the end of a cosine schedule, otherwise ``None``.
            Where all steps are repeated, the rates are the recorded ones.
        after : SAMClassifier or Pipeline, optional
            A model that this method or :meth:`relabel` returned, whose edits the new model has as
            well: the end of the training is repeated once, with all of them. In ``edit_`` the
            number of rows and their losses are of the rows of this call; the other numbers compare
            the model with all of its edits to that without any. Not with ``"linear"``, nor with
            `verify`.
        split : int, optional
            Which split's model is edited; needed if there are several.
        verify : int, default=0
            Number of random groups, each of as many rows as are removed, without which the model
            is edited and trained again to compare: one training for each, and one more.

        Returns
        -------
        SAMClassifier or Pipeline
            A fitted copy with edited weights and statistics of batch norm (linear: with unrolled
            alone), its optimizer as new. Its training is not recorded: it cannot be attributed
            itself. The classifier (the last step of a Pipeline) has ``edit_``, a Series: `how`;
            `n_removed`; `share` of the training steps that were repeated; `seconds` until the
            weights were known; `step_length`, relative to the weights; `value`, the mean
            validation evaluation before the edit, its `rise`, the `rise_error`, its standard error
            over the validation rows, and the `predicted_rise`, the sum of the removed rows' scores
            (NaN with ``aggregate="worst-class"``, for methods without a unit, and after a
            :meth:`relabel`); `accuracy`, `validation_loss` and `removed_loss` (of the removed rows)
            before the edit, and each of them ``_after`` it. A linear edit has its `nonlinearity`,
            see below. With `verify` it has ``verification_``, a DataFrame with a row for each
            random group: `cosine` between edited and retrained change of the attributed parameters,
            `length_ratio` of the first to the second, and `rise` and `accuracy` on the validation
            rows and `removed_loss` of the group, each of the edited and of the retrained model.

        Raises
        ------
        ValueError
            If training cannot be repeated, or the method predicts no weights; if `indices` are
            empty, out of range, repeated, not trained on, all rows or all rows of a class; or as
            :meth:`attribute`.
        TypeError
            If `indices` are neither integers nor booleans.

        Warns
        -----
        AttributionWarning
            If ``"auto"`` is a linear edit. For a replay with an `lr_factor`, if the validation loss
            rises by more than a quarter, and that of a classifier by more than 0.01. For a linear
            edit, if ``edit_["nonlinearity"]`` is above 0.5, ``|rise - predicted_rise|`` above
            ``|predicted_rise| / 2 + |value| / 10``, the `rise` of the other sign than predicted
            and above two `rise_error`, or the `removed_loss_after` of a classifier above
            ``2 * unseen_loss + 1``: one warning with all reasons. The nonlinearity compares half of
            the step with all of it on the outputs z for up to 128 validation rows,
            ``2 ||z(1) - 2 z(1/2) + z(0)|| / ||z(1) - z(0)||``: 0 on a straight line. All test the
            model along the step; whether training is linear in the rows' weights only training
            again can tell, which `verify` does.

        Notes
        -----
        Cost: replay `share` of a training, for any number of rows, and some of its steps with all
        rows, as a check that they repeat. Linear, for r removed of n rows:
        GIF and TracIn one gradient of the r rows per visited state (of every step: one training);
        HIF one such gradient (full: two, and a product with the Hessian) and a solve; unrolled
        about 2.5 trainings. And a forward pass over the validation rows.

        Replay and retraining move all weights that training moved, whatever `parameters` are.

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
        check_arguments(_RULES, "remove", how=how, share=share, lr_factor=lr_factor)
        attribution = self._attribution_of(split)
        earlier = edits_of(after, attribution)
        if how == "linear":
            check_can_remove(attribution.prepared, self.method)
        self._check_order(indices)
        rows = checked_removal(indices, attribution.trained, self._y, earlier)
        verify = _checked_count(verify)
        _check_first(after, how, verify)
        replay = {"share": 1.0 if how == "retrain" else share, "lr_factor": lr_factor}
        way = partial(way_of_editing, how=how, replay=replay, method=self.method)
        return edited_estimator(attribution, rows, earlier, way, verify=verify, seed=self._seed)

    def relabel(
        self,
        indices,
        labels,
        *,
        how="replay",
        share=0.1,
        lr_factor=LR_FACTOR,
        after=None,
        split=None,
    ):
        """Return the model as if some training rows had other labels, without retraining.

        The end of the recorded training is repeated with these labels, as :meth:`remove` repeats it
        without rows. Where the right label is known, this keeps the row.

        Parameters
        ----------
        indices : array-like of int, or of bool with shape (n_samples,)
            Positions in the rows given to ``fit``.
        labels : array-like of shape (n_indices, ...)
            Labels for them, among those of ``fit``; of a regressor or SAMNet targets. Those of a
            mask are in the order of the rows.
        how : {"replay", "retrain"}, default="replay"
            ``"replay"`` repeats the last `share` of the training, ``"retrain"`` all of it.
        share, lr_factor, after
            As for :meth:`remove`.
        split : int, optional
            Which split's model is edited; needed if there are several.

        Returns
        -------
        SAMClassifier or Pipeline
            A fitted copy, as by :meth:`remove`. In its ``edit_``, `n_relabelled` is the number of
            rows, `removed_loss` is their loss with the labels that they had, and
            `relabelled_loss` that with the new ones.

        Raises
        ------
        TypeError, ValueError
            If training cannot be repeated, if `labels` do not fit the rows, or as :meth:`remove`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sam_attribution import SAMClassifier, SAMInfluence
        >>> X, y = load_iris(return_X_y=True)
        >>> influence = SAMInfluence(SAMClassifier(max_epochs=5), random_state=0).fit(X, y)
        >>> worst = influence.scores_.argsort()[:2]
        >>> edited = influence.relabel(worst, [2, 2])
        >>> edited.predict(X).shape, int(edited.edit_["n_relabelled"])
        ((150,), 2)
        """
        check_is_fitted(self)
        check_arguments(_RULES | _RELABELLING, "relabel", how=how, share=share, lr_factor=lr_factor)
        attribution = self._attribution_of(split)
        earlier = edits_of(after, attribution)
        self._check_order(indices)
        positions = positions_of(indices, len(self._y))
        check_order_of_labels(labels, indices, positions, self._index)
        rows, labels = checked_relabelling(
            positions, labels, attribution.trained, self._y, self._targets, earlier
        )
        replay = {"share": 1.0 if how == "retrain" else share, "lr_factor": lr_factor}
        edits = earlier.with_labels(rows, labels)
        return relabelled_estimator(attribution, rows, edits, replay)

    def _check_order(self, indices):
        """Raise a ValueError for a mask in another order than the rows, and for their labels."""
        check_positions(self._index, indices=indices)
        if np.asarray(indices).dtype == bool:
            has_index = isinstance(self._index, pd.Index)
            check_results({"X": pd.Series(0, self._index) if has_index else None}, indices=indices)


def _check_first(after, how, verify):
    """Raise a ValueError for an edit after another one that can only be the first."""
    if after is not None and (how == "linear" or verify):
        raise ValueError(
            f'after={type(after).__name__} needs how="replay" and verify=0, got how={how!r} and '
            f"verify={verify}: linear edits, and training again to verify, begin at the model as "
            "it was trained."
        )


def _checked_count(verify):
    if isinstance(verify, bool) or not isinstance(verify, Integral) or verify < 0:
        raise ValueError(f"verify must be a number of groups, 0 or more, got {verify!r}.")
    return int(verify)
