"""Trainings by the net's own loop, one model at a time, where steps have no functional form."""

from sam_attribution._warnings import warn
from sam_attribution.dynamics import NoFunctionalForm, TrainingState
from sam_attribution.problem import FunctionalTraining, check_recorded
from sam_attribution.training import Diverged

_WHAT = 'training again without rows ("loo", refine, diagnose(n_left_out=...), remove(verify=...))'


class RealLoop:
    """A training by the net's own steps, as a program for ``train_many``.

    `steps` are ``training.NetSteps``, `params` and `buffers` those of their start.
    """

    def __init__(self, steps, params, buffers):
        self._steps = steps
        self._start = TrainingState(params, buffers)
        self.n_steps = steps.n_steps

    def start(self):
        """Parameters and buffers before the first step."""
        return self._start

    def states(self, row_weights, at):
        """Yield the states of one model, with row weights (n_samples,), before steps `at`.

        They are stacks of one, shape (1, ...), on the device of the start.
        """
        for params, buffers in self._steps.states(row_weights.cpu(), at):
            buffers = {name: buffer[None] for name, buffer in buffers.items()}
            yield TrainingState(params[None], buffers)


def train_alone(program, start, row_weights, at, read=None, names=("a model",)):
    """States of a model by the net's own loop, as ``train_stack`` gives them for a stack of one."""
    try:
        states = program.states(row_weights[0], at)
        return [state if read is None else read(state) for state in states]
    except ValueError as error:
        kind = Diverged if isinstance(error, Diverged) else ValueError
        raise kind(f"{names[0]}, training fails: {error}") from error


def recorded_training(problem, real_loop, method):
    """The recorded training of a problem as a program, and the words for how it is repeated.

    As pure steps where all of them have a functional form, unless `real_loop` is True.
    """
    problem.path.check_training_again(_WHAT)
    if real_loop is True:
        return recorded_loop(problem), "the net's own steps"
    try:
        check_known_steps(problem.path)
        return FunctionalTraining(problem), PURE
    except NoFunctionalForm as error:
        if real_loop is False:
            raise
        return recorded_loop(problem), own_steps(error.cause, method)


def recorded_loop(problem, step=0, **options):
    """The recorded steps from the last recorded state at or before a step, as a RealLoop.

    `options` are those of ``TrainingPath.net_steps``.
    """
    path = problem.path
    path.check_training_again(_WHAT)
    check_recorded(problem)
    start = path.nearest(step)
    steps = path.net_steps(start=start, first=start.step, **options)
    return RealLoop(steps, start.params, start.buffers)


PURE = "pure steps"


def own_steps(cause, method):
    """Warn that models are trained one at a time; return the words for the diagnostics."""
    warn(
        f"{method} trains one model at a time, by the net's own steps: {cause}. The result is "
        "right, and slower than with many models at once. Leave out few rows, or set n_jobs."
    )
    return f"the net's own steps: {cause}"


def check_known_steps(path):
    """Raise NoFunctionalForm for steps of the net's own, and for half precision."""
    if path.own_steps:
        raise NoFunctionalForm(
            f'{path.own_steps}, so training steps have no functional form. Use real_loop="auto".',
            path.own_steps,
        )
    if path.mixed_precision:
        raise NoFunctionalForm(
            "training ran in half precision (accelerate), and its steps as functions run in full "
            'precision. Use real_loop="auto".',
            "training computed in half precision",
        )
