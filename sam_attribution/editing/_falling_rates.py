"""Learning rates that fall to 0 over the end of a recorded run."""

from dataclasses import replace

_USUAL = 1.0
_FALLEN = 0.5  # of the mean rate of the run


def factor_of(lr_factor, path, first):
    """The factor for `lr_factor`, which may be "auto"; None for the recorded rates.

    A run that is repeated from its start has the recorded rates. "auto" has them too, unless their
    mean from step `first` on is below half of the mean of the run: such steps are so short that
    they change next to nothing.
    """
    if not first:
        return None
    if lr_factor != "auto":
        return lr_factor
    fallen = (path.learning_rates[first:].mean(0) < _FALLEN * path.mean_rates).any()
    return _USUAL if fallen else None


def falling_rates(path, first, factor):
    """The recorded steps, with rates that fall in a line from step `first` to the end of the run.

    They begin at `factor` times the mean rate of the run, of each parameter group, and would be 0
    in the step after the last one. A recorded schedule may have fallen to 0 before `first`, so its
    own rates there say nothing about how far a step may go.
    """
    schedule, top = path.schedule, factor * path.mean_rates
    left = len(schedule) - first
    again = (
        replace(step, rates=tuple((top * (1 - number / left)).tolist()))
        for number, step in enumerate(schedule[first:])
    )
    return [*schedule[:first], *again]
