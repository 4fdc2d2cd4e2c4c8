"""The best method that a training allows."""

from functools import partial

from sam_attribution._warnings import warn, withheld_warnings
from sam_attribution.curvature import check_second_derivative
from sam_attribution.methods._gif import GIF
from sam_attribution.methods._hif import HIF
from sam_attribution.methods._method import Method
from sam_attribution.methods._unrolled import Unrolled


class Auto(Method):
    """The first of unrolled, HIF-fast and GIF that can answer for a training.

    Unrolled scores need a recorded training of pure steps and all parameters; HIF-fast needs second
    derivatives of the model alone. It stands in too where the sweep through training fails.

    The cost is that of the method taken: with unrolled 1.6 to 2.2 trainings where all states or all
    weights were recorded.
    """

    def check_model(self, problem, optimizer):
        """Raise a ValueError if no method can answer for the model."""
        _first_of(lambda method: method.check_model(problem, optimizer))

    def prepare(self, problem):
        """Prepare the first method that can answer; a warning says why it is not unrolled.

        Raises
        ------
        ValueError
            If none can.
        """
        return _prepared(problem)


def _prepared(problem, reason=None):
    """The first method that can answer, prepared; with a `reason` against unrolled, of the others.

    A single warning gives the reason, and what the method found has to warn of.
    """
    (found, doubts), name, reason = _first_of(partial(_attempt, problem), reason)
    found.diagnostics["method"] = name
    if reason is None:
        found.instead = partial(_prepared, problem)
        for doubt in doubts:
            warn(doubt)
        return found
    found.diagnostics["method_reason"] = _first_sentence(reason)
    beside = [_capitalised(_first_sentence(each)) for each in doubts]
    said = " ".join([_first_sentence(reason), *beside, "Name a method to choose it yourself."])
    warn(f'method="auto" uses "{name}", which is less exact than "unrolled": {said}')
    return found


def _attempt(problem, method):
    """What a method prepared, and the warnings that it would have issued."""
    if not isinstance(method, GIF):
        check_second_derivative(problem)
    with withheld_warnings() as doubts:
        return method.prepare(problem), doubts


def _first_sentence(reason):
    """What is the matter, without the advice for other methods that follows."""
    return f"{str(reason).split('. ')[0].rstrip('.')}."


def _capitalised(sentence):
    return sentence[:1].upper() + sentence[1:]


def _first_of(attempt, reason=None):
    """What an attempt returns for the first method that it accepts, its name, and why not another.

    With a `reason` against unrolled that one is not tried. A ValueError with the reason for the
    first one if it accepts none.
    """
    methods = {
        "unrolled": Unrolled(check=None),
        "hif-fast": HIF("fast"),
        "gif": GIF(),
    }
    for name, method in list(methods.items())[reason is not None :]:
        try:
            return attempt(method), name, reason
        except ValueError as error:
            reason = reason or error
    raise reason
