"""A method's own prediction of the weights without some rows."""

from sam_attribution.editing._state import state_after


class LinearStep:
    """The step that a prepared method predicts, to first order in the rows' weights."""

    how = "linear"
    is_linear = True
    share = 0.0  # of the training that is taken again
    remedy = 'The step is too long: remove fewer rows, or use how="replay".'

    def __init__(self, problem, groups, prepared):
        self._problem, self._groups, self._prepared = problem, groups, prepared

    def states(self, *, verbose=0, **_):
        """Yield parameters and buffers without each group; all steps share the work."""
        step = self._prepared.removal_step(self._groups, verbose=verbose)
        for number in range(len(self._groups)):
            yield state_after(self._problem, step, number)
