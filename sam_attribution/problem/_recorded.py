"""Check that the recorded steps are what led to a problem's weights."""


def check_recorded(problem):
    """Raise a ValueError unless the problem's recorded training led to its parameters."""
    path = problem.path
    if path is None:
        raise ValueError('this method needs a recorded training. Use "hif" or "grad-dot".')
    path.check_states()
    if not path.learning_rates.any():
        raise ValueError(
            "lr was 0 in every recorded step: no row moved the weights, so none has an influence. "
            "Train with a larger lr."
        )
    if path.moved_by:
        _raise_another(_who_moved(path.moved_by))
    if not path.ends_at(problem):
        _raise_another("they were changed after fit")


def _who_moved(moved_by):
    return ", ".join(f"{name} changed them after step {step}" for name, step in moved_by.items())


def _raise_another(reason):
    raise ValueError(
        "the final parameters (or batch-norm statistics) are not those at the end of the "
        f"recorded training: {reason}. Train without that (EarlyStopping(load_best=True), "
        'averaged weights and the like), or use a method of the final model: "hif" or "grad-dot".'
    )
