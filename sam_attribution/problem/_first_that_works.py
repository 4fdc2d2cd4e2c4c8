"""Which of several ways torch lets a module take: tried on one row, and remembered."""

from weakref import WeakKeyDictionary

from sam_attribution.problem._kernels import differentiable_kernels


class FirstThatWorks:
    """Ways to the same numbers, from the fastest to the most general.

    Parameters
    ----------
    purpose : str
        What cannot be done if none works, as in "cannot be ...".
    *ways : callable

    Attributes
    ----------
    chosen : WeakKeyDictionary
        The way of each problem that was asked for.
    """

    def __init__(self, purpose, *ways):
        self.purpose = purpose
        self.ways = ways
        self.chosen = WeakKeyDictionary()

    def of(self, problem, attempt):
        """Return the way of a problem.

        Parameters
        ----------
        problem : Problem
        attempt : callable
            Goes a way for one row.

        Raises
        ------
        ValueError
            If none works, with what each said.
        """
        if problem not in self.chosen:
            self.chosen[problem] = self._find(problem, attempt)
        return self.chosen[problem]

    def _find(self, problem, attempt):
        said = []
        for way in self.ways:
            try:
                with differentiable_kernels(problem.module):
                    attempt(way)
            except (RuntimeError, NotImplementedError) as error:
                said.append(f"{way.__name__}: {str(error).splitlines()[0]}")
            else:
                return way
        raise ValueError(
            f"{type(problem.module).__name__} cannot be {self.purpose}. " + "; ".join(said)
        )
