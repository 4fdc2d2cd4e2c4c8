"""The parameters that are attributed: patterns of names that add, and patterns that take away."""

from fnmatch import fnmatchcase
from glob import escape

import numpy as np
import torch

from sam_attribution.parameters import matching

_N_SHOWN = 12


def selection(parameters, layout, head):
    """Positions of the attributed parameters in the flat vector, None if these are all.

    `parameters` is as for :func:`problem_from_estimator`; `head` belongs to "head".
    """
    if head is not None:
        return head.index
    if isinstance(parameters, str) and parameters == "all":
        return None
    return positions_of(_chosen_names(parameters, layout.names), layout)


def positions_of(names, layout):
    """Positions of the parameters `names` in the flat vector."""
    spans = [layout.slices[name] for name in names]
    return torch.cat([torch.arange(span.start, span.stop) for span in spans])


def attributed_names(problem):
    """Names of the parameters that a problem attributes, also of those it attributes a part of."""
    layout = problem.layout
    if problem.selected is None:
        return list(layout.names)
    chosen = torch.zeros(layout.size, dtype=torch.bool)
    chosen[problem.selected.cpu()] = True
    return [name for name in layout.names if chosen[layout.slices[name]].any()]


def parameters_without(problem, names):
    """The setting that attributes what `problem` does without `names`, as it is written in code.

    None if that is nothing. It excludes what is not attributed, or lists what is, whichever is
    shorter; it names a whole module by one pattern.
    """
    every = problem.layout.names
    kept = [name for name in attributed_names(problem) if name not in set(names)]
    if not kept:
        return None
    excluded = [f"!{pattern}" for pattern in _patterns_of(set(every) - set(kept), every)]
    listed = _patterns_of(set(kept), every)
    return f"parameters={min(excluded, listed, key=len) or ['*']}"


def _chosen_names(parameters, names):
    patterns = [parameters] if isinstance(parameters, str) else np.ravel(parameters).tolist()
    if strangers := [pattern for pattern in patterns if not isinstance(pattern, str)]:
        raise TypeError(f"parameters must be names or patterns of names, got {strangers[0]!r}.")
    for pattern in (each.removeprefix("!") for each in patterns):
        if not matching(names, [pattern]):
            raise _bad(parameters, names, f"{pattern!r} matches none of them")
    chosen = matching(names, patterns) if patterns else []
    if not chosen:
        raise _bad(parameters, names, "that leaves nothing to attribute")
    return chosen


def _bad(parameters, names, fault):
    shown, n_more = list(names[:_N_SHOWN]), len(names) - _N_SHOWN
    more = f" and {n_more} more" if n_more > 0 else ""
    return ValueError(
        f'parameters must be "all", "head" or patterns matching some of {shown}{more} (with "!" '
        f"before a pattern to leave out what it matches), got {parameters!r}: {fault}."
    )


def _patterns_of(wanted, names):
    """Patterns that match exactly the names `wanted` among `names`, the widest ones first."""
    patterns, left = [], [name for name in names if name in wanted]
    while left:
        parts = left[0].split(".")
        wider = [f"{escape('.'.join(parts[:n]))}.*" for n in range(1, len(parts))]
        pattern = next((p for p in wider if wanted.issuperset(matching(names, [p]))), None)
        if pattern is None or len(matching(names, [pattern])) == 1:
            pattern = escape(left[0])
        patterns.append(pattern)
        left = [name for name in left if not fnmatchcase(name, pattern)]
    return patterns
