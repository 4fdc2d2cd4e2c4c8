"""Learning rates that fall to 0 over the end of a recorded run."""

from dataclasses import replace


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
