"""Which questions a SAMInfluence can answer: those that its method and its labels allow."""

from sklearn.base import TransformerMixin, is_regressor
from sklearn.utils.metaestimators import available_if

from sam_attribution.influence._checks import unfitted
from sam_attribution.influence._estimator import net_of
from sam_attribution.influence._methods import METHODS


def scores_any_row(influence):
    """True, or an AttributeError if only the rows of ``fit`` can be scored."""
    if not getattr(_method_of(influence), "has_probes", True):  # fit refuses what is no method
        raise AttributeError(
            f"method={influence.method!r} scores the rows of fit with the labels that they have, "
            'and no others: read scores_ or call attribute. For more take another, such as "gif".'
        )
    return True


def knows_labels(influence):
    """True, or an AttributeError if rows have no other labels that could be asked about."""
    scores_any_row(influence)
    if is_regressor(net_of(unfitted(influence.estimator))):
        raise AttributeError(
            "a regressor has targets instead of classes, so there is no table of the labels that "
            "a row might carry. Use scores_, or score_samples(X, y) for rows with targets."
        )
    return True


def _method_of(influence):
    """The method of the last fit, or the one that will be fitted."""
    if runs := getattr(influence, "_runs", None):
        return runs[0].attribution.method
    method = influence.method
    return METHODS[method]() if isinstance(method, str) and method in METHODS else method


class LabelTransformer(TransformerMixin):
    """A transformer whose columns are labels: none without labels to put there."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # only now: what scikit-learn wraps for set_output is always there
        for name in ("transform", "fit_transform"):
            setattr(cls, name, available_if(knows_labels)(getattr(cls, name)))
