"""Newton's method against minima that are known."""

import numpy as np
import pytest

from sam_attribution.detection._newton import newton_minimum

CENTRE, CURVATURE = np.array([1.0, -0.5, 0.3]), np.diag([5.0, 2.0, 9.0]) + 1.0
FAR = np.full(3, 50.0)


class Counted:
    def __init__(self, function):
        self._function, self.calls = function, 0

    def __call__(self, at):
        self.calls += 1
        return self._function(at)


def quadratic(at):
    slope = CURVATURE @ (at - CENTRE)
    return slope @ (at - CENTRE) / 2 + 7, slope, CURVATURE


def test_near_the_minimum_of_a_quadratic_one_evaluation_is_enough():
    function = Counted(quadratic)
    found, value = newton_minimum(function, CENTRE + 0.01, -FAR, FAR)
    np.testing.assert_allclose(found, CENTRE, atol=1e-12)
    assert value == pytest.approx(7, abs=1e-12)
    assert function.calls == 1


def test_a_bound_holds_one_number_and_the_others_are_best_there():
    high = np.array([50, -1.0, 50])
    found, value = newton_minimum(quadratic, np.array([3.0, -4, 3]), -FAR, high)
    others = [0, 2]
    system = CURVATURE[np.ix_(others, others)]
    expected = CENTRE[others] + np.linalg.solve(system, CURVATURE[others, 1] * 0.5)
    np.testing.assert_allclose(found, [expected[0], -1, expected[1]], atol=1e-12)
    assert value == pytest.approx(quadratic(found)[0])


def double_well(at):
    """Minima at 2 and -2, a maximum at 0."""
    (x,) = at
    return 10 * (x**2 - 4) ** 2, 40 * x * (at**2 - 4), np.array([[120 * x**2 - 160]])


@pytest.mark.parametrize("start", [0.1, 1, 9])
def test_from_where_the_curvature_is_negative_the_way_is_down(start):
    found, value = newton_minimum(double_well, np.array([start]), -FAR[:1], FAR[:1])
    assert found[0] == pytest.approx(2, abs=1e-3)
    assert value == pytest.approx(0, abs=1e-3)


def test_a_step_that_leads_up_is_shortened():
    """Newton's step on sqrt(1 + (x / 0.3)^2) leads from 0.4 to -0.71."""

    def function(at):
        root = np.sqrt(1 + (at / 0.3) ** 2)
        return 100 * root[0], 100 * at / 0.09 / root, np.diag(100 / 0.09 * root**-3)

    counted = Counted(function)
    found, value = newton_minimum(counted, np.array([0.4]), -FAR[:1], FAR[:1])
    assert found[0] == pytest.approx(0, abs=1e-3)
    assert value == pytest.approx(100, abs=0.01)
    assert 2 < counted.calls < 7
