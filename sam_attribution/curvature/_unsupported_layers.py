"""What Kronecker factors cannot stand for: the layers, the reasons, and what to do about them."""

from dataclasses import dataclass

from sam_attribution.problem import attributed_names, parameters_without

NO_LAYER = "the parameters {} belong to modules that have submodules, or to several modules at once"
NOT_CALLED = "the layers {} are not called in the forward pass"
OTHER_CALLS = "the layers {} are not called with one tensor to give one tensor"
NOT_BY_ROW = (
    "the inputs of the layers {} do not have one entry for each row, so the gradient of a single "
    "row is not known there"
)
ELSEWHERE = (
    "the parameters of the layers {} are used outside of the layers' calls, or a hook changes the "
    "layers' output"
)
NOT_DIFFERENTIABLE = "the layers {} cannot be differentiated row by row"


@dataclass(frozen=True)
class Unsupported:
    """A layer, or a parameter that belongs to none, the names of its parameters, the reason."""

    label: str
    names: tuple[str, ...]
    reason: str


def without_calls(layers, calls, n_rows):
    """The layers whose calls in a pass, by the name of the layer, are not what factors need."""
    reasons = {layer: _reason(calls[layer.name], n_rows) for layer in layers}
    return [layer.unsupported(reason) for layer, reason in reasons.items() if reason]


def _reason(calls, n_rows):
    if not calls:
        return NOT_CALLED
    if None in calls:
        return OTHER_CALLS
    return NOT_BY_ROW if any(len(call.given) != n_rows for call in calls) else None


def names_of(unsupported):
    """Names of all parameters of the unsupported."""
    return [name for each in unsupported for name in each.names]


def in_words(unsupported):
    """What is unsupported and why, one clause for each reason."""
    by_reason = {}
    for each in unsupported:
        by_reason.setdefault(each.reason, []).append(each.label)
    return "; ".join(reason.format(labels) for reason, labels in by_reason.items())


def refusal(problem, unsupported):
    """The ValueError that names what is unsupported, all of it, and the setting that works."""
    setting = parameters_without(problem, names_of(unsupported))
    leave_out = (
        "No other parameters are attributed: u"
        if setting is None
        else f'Leave them out by EKFAC(unsupported="skip") or by {setting}, or u'
    )
    return ValueError(
        f"EK-FAC has no rule for some layers: {in_words(unsupported)}. {leave_out}se "
        'InfluenceFunction(curvature="ggn").'
    )


def all_are(problem, unsupported):
    """True if nothing that is attributed is supported."""
    return set(attributed_names(problem)) <= set(names_of(unsupported))
