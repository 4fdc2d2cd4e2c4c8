"""Patterns that add parameters, and patterns that take them away."""

import pytest
from torch import nn

from sam_attribution.parameters import ParameterLayout
from sam_attribution.problem import parameters_without
from sam_attribution.problem._selection import positions_of, selection
from tests.models import fitted_problem


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(4, 2)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"linear": nn.Linear(2, 2), "norm": nn.LayerNorm(2)}) for _ in range(2)
        )
        self.pooler = nn.Linear(2, 2)


LAYOUT = ParameterLayout(Encoder())
EVERY = set(LAYOUT.names)
NORMS = {f"blocks.{block}.norm.{own}" for block in (0, 1) for own in ("weight", "bias")}


def names_of(positions):
    chosen = set(positions.tolist())
    of_name = {name: set(range(s.start, s.stop)) for name, s in LAYOUT.slices.items()}
    found = {name for name, own in of_name.items() if own & chosen}
    assert chosen == set().union(*(of_name[name] for name in found))
    return found


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("!*pooler*", EVERY - {"pooler.weight", "pooler.bias"}),
        (["!*pooler*", "!*norm*"], EVERY - NORMS - {"pooler.weight", "pooler.bias"}),
        (["blocks.*", "!*norm*"],
         {f"blocks.{block}.linear.{own}" for block in (0, 1) for own in ("weight", "bias")}),
        (["!*norm*", "*bias", "pooler.*"],
         {"blocks.0.linear.bias", "blocks.1.linear.bias", "pooler.bias", "pooler.weight"}),
        (["pooler.[!w]*"], {"pooler.bias"}),
        (["embedding.weight"], {"embedding.weight"}),
    ],
)  # fmt: skip
def test_included_is_any_pattern_without_any_exclusion(parameters, expected):
    assert names_of(selection(parameters, LAYOUT, None)) == expected
    if isinstance(parameters, list):
        assert names_of(selection(parameters[::-1], LAYOUT, None)) == expected


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (["blocks.*", "tail*"], r"'tail\*' matches none of them"),
        (["!tail*"], r"'tail\*' matches none of them"),
        (["all", "!*norm*"], "'all' matches none of them"),
        (["*norm*", "!blocks*"], r"got \['\*norm\*', '!blocks\*'\]: that leaves nothing"),
        ("!*", "leaves nothing"),
        ([], "leaves nothing"),
    ],
)
def test_a_pattern_has_to_match_and_something_to_be_left(parameters, message):
    with pytest.raises(ValueError, match=message) as error:
        selection(parameters, LAYOUT, None)
    assert "'embedding.weight'" in str(error.value)


def test_many_names_are_abbreviated():
    layout = ParameterLayout(nn.Sequential(*[nn.Linear(1, 1) for _ in range(20)]))
    with pytest.raises(ValueError, match=r"'5.bias'\] and 28 more"):
        selection("tail", layout, None)


class Named:
    """What the advice needs of a problem."""

    def __init__(self, parameters="all"):
        self.layout, self.selected = LAYOUT, selection(parameters, LAYOUT, None)


@pytest.mark.parametrize("parameters", ["all", ["blocks.*"], "*bias", ["!*norm*", "*weight"]])
@pytest.mark.parametrize("left_out", [NORMS, {"pooler.weight"}, {"blocks.0.linear.bias"}])
def test_advice_attributes_the_rest(parameters, left_out):
    before = EVERY if parameters == "all" else names_of(Named(parameters).selected)
    name, _, value = parameters_without(Named(parameters), left_out).partition("=")
    assert name == "parameters"
    found = names_of(selection(eval(value), LAYOUT, None))
    assert found == before - left_out


def test_advice_names_whole_modules_and_knows_when_nothing_is_left():
    assert (
        parameters_without(Named(), NORMS) == "parameters=['!blocks.0.norm.*', '!blocks.1.norm.*']"
    )
    assert (
        parameters_without(Named(["pooler.*"]), {"pooler.bias"}) == "parameters=['pooler.weight']"
    )
    assert parameters_without(Named("*bias"), EVERY) is None


def test_exclusions_reach_the_problem_of_a_net():
    problem = fitted_problem("cnn", options={"parameters": ["!head.*"]})
    expected = [name for name in problem.layout.names if not name.startswith("head.")]
    assert problem.selected.tolist() == positions_of(expected, problem.layout).tolist()
