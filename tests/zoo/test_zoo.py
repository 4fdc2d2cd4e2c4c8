"""Small modules and settings drawn at random: every method is right, or refuses by name.

``python -m benchmarks.zoo`` runs thousands of draws.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sam_attribution.influence._methods import METHODS as NAMED
from sam_attribution.probes import Probe
from tests.zoo.causes import cause_of
from tests.zoo.checks import Outcome, outcome
from tests.zoo.settings import METHODS, Draw, draw


@pytest.mark.slow
@given(seed=st.integers(0, 10**6))
@settings(
    max_examples=30,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
def test_a_draw_is_right_or_refused_by_name(seed):
    found = outcome(draw(seed))
    assert found.kind != "unexplained", f"{draw(seed).differences()}: {found.detail}"


def test_every_method_is_drawn():
    drawn = {name.partition(",")[0] for name in METHODS}
    # auto is one of the others; the random series of lissa-h is that of lissa
    assert set(NAMED) - {"auto", "lissa-h"} <= drawn


def test_a_draw_is_a_function_of_its_integer():
    assert [draw(seed) for seed in range(5)] == [draw(seed) for seed in range(5)]


def test_a_wrong_number_is_found(monkeypatch):
    made = Draw(1, method="grad-dot", n_rows=12)
    assert outcome(made) == Outcome("equal")
    right = Probe.label_table
    monkeypatch.setattr(Probe, "label_table", lambda *args: 1.001 * right(*args))
    assert outcome(made).kind == "unexplained"


def test_a_foreign_error_is_found(monkeypatch):
    def broken(*_):
        raise RuntimeError("expected scalar type Double")

    monkeypatch.setattr(Probe, "label_table", broken)
    found = outcome(Draw(1, method="grad-dot", n_rows=12))
    assert found.kind == "unexplained"
    assert "RuntimeError: expected scalar type Double" in found.detail


def test_a_cause_holds_for_the_draws_that_it_is_said_of():
    text = "optimizer__maximize must be False"
    assert cause_of(Draw(1, optimizer="maximize"), text) == "maximize"
    assert cause_of(Draw(1), text) is None
