"""Many trainings at once are the single ones, whatever they share."""

import pytest
import torch
from torch import nn

from sam_attribution.problem import FunctionalTraining, problem_from_estimator
from sam_attribution.retraining import train_many
from sam_attribution.retraining._train_many import stack_size
from sam_attribution.training import SAMClassifier
from tests.models import fitted, fitted_problem
from tests.retraining.by_hand import TRAININGS, data_of, retrained

CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def training_of(name, **settings):
    """A classifier, its data, and its training as steps."""
    training = {k: v for k, v in TRAININGS[name].items() if k != "sample_weight"}
    defaults = {
        "max_epochs": 3,
        "batch_size": 12,
        "random_state": 0,
        "dtype": "float64",
        "rho": 0.1,
    }
    X, y, weight = data_of(TRAININGS[name])
    clf = SAMClassifier(**{**defaults, **training, **settings}).fit(X, y, sample_weight=weight)
    program = FunctionalTraining(problem_from_estimator(clf, X, y, weight))
    return clf, (X, y, weight), program


def without_one(n_models, n_samples=40):
    """Every row present in the first model, one row missing in each of the others."""
    weights = torch.ones(n_models, n_samples, dtype=torch.float64)
    weights[range(1, n_models), range(n_models - 1)] = 0
    return weights


def ends(program, weights, **options):
    """Final parameters and buffers of all models."""
    stacks = list(train_many(program, program.start(), weights, **options))
    assert [m for s in stacks for m in range(len(weights))[s.models]] == list(range(len(weights)))
    states = [stack.states[0] for stack in stacks]
    buffers = {k: torch.cat([state.buffers[k] for state in states]) for k in states[0].buffers}
    return torch.cat([state.params for state in states]), buffers


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_a_stack_is_a_loop_of_plain_torch(name):
    clf, data, program = training_of(name)
    weights = without_one(3)
    weights[2, 5:9] = 0.5
    params, buffers = ends(program, weights)
    for number, row_weights in enumerate(weights):
        module = retrained(clf, *data, row_weights)
        expected = nn.utils.parameters_to_vector(module.parameters())
        torch.testing.assert_close(params[number], expected.detach(), **CLOSE)
        for key, buffer in module.named_buffers():
            torch.testing.assert_close(buffers[key][number], buffer, **CLOSE)
    assert (params[1:] - params[0]).norm(dim=1).min() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["momentum", "batch norm", "dropout", "adam"])
def test_stacks_of_any_size_and_processes_give_the_same(name):
    program = training_of(name)[2]
    weights = without_one(5)
    expected, expected_buffers = ends(program, weights, models_at_once=1)
    for options in ({"models_at_once": 2}, {"models_at_once": 5}, {"n_jobs": 2}):
        params, buffers = ends(program, weights, **options)
        torch.testing.assert_close(params, expected, **CLOSE)
        for key, buffer in expected_buffers.items():
            torch.testing.assert_close(buffers[key], buffer, **CLOSE)


def test_states_on_the_way():
    clf, _, program = training_of("momentum", trajectory="all")
    (stack,) = train_many(program, program.start(), without_one(2), at=[0, 4, 12])
    for number, state in zip([0, 4, 12], stack.states, strict=True):
        recorded = clf.trajectory_.states[number]
        torch.testing.assert_close(state.params[0], recorded.params, **CLOSE)
        velocity = program.state(recorded).memory
        assert len(state.memory) == len(velocity) == (number > 0)
    torch.testing.assert_close(state.memory[0][0], velocity[0], **CLOSE)


def test_what_is_read_off_is_kept():
    program = training_of("momentum")[2]
    stacks = train_many(
        program, program.start(), without_one(3), at=[2, 5], read=norms, models_at_once=2
    )
    first, second = (stack.states for stack in stacks)
    assert [len(value) for value in first] == [2, 2]
    assert [len(value) for value in second] == [1, 1]


def norms(state):
    return state.params.norm(dim=1)


def test_a_start_in_the_middle_goes_on_with_the_given_memory():
    program = training_of("adam", trajectory="all")[2]
    (late,) = train_many(program, program.start(), without_one(1), at=[6])
    end = ends(program, without_one(1))[0]

    class Rest:
        n_steps = program.n_steps - 6

        def step(self, number):
            return program.step(number + 6)

    state = program.state(program.problem.path.nearest(6))
    torch.testing.assert_close(state.params, late.states[0].params[0], **CLOSE)
    (stack,) = train_many(Rest(), state, without_one(1))
    torch.testing.assert_close(stack.states[0].params, end, **CLOSE)


def test_nothing_given_is_changed():
    problem = fitted_problem("cnn")
    program = FunctionalTraining(problem)
    start, stream = program.start(), torch.get_rng_state()
    before = start.params.clone(), {k: b.clone() for k, b in start.buffers.items()}
    weights = without_one(2)
    list(train_many(program, start, weights))
    assert torch.equal(start.params, before[0])
    assert all(torch.equal(start.buffers[k], b) for k, b in before[1].items())
    assert torch.equal(weights, without_one(2))
    assert torch.equal(torch.get_rng_state(), stream)


def test_a_stack_fits_into_the_caches():
    small = FunctionalTraining(fitted_problem("mlp")).step(0).batch
    layer = nn.Sequential(nn.Flatten(), nn.Linear(36, 2000), nn.ReLU(), nn.Linear(2000, 3)).double()
    _, X, y, _ = fitted("cnn")
    clf = SAMClassifier(layer, max_epochs=1, dtype="float64", random_state=0).fit(X, y)
    large = FunctionalTraining(problem_from_estimator(clf, X, y)).step(0).batch
    assert len(large.rows) == 20
    numbers = 36 * 2000 + 2000 + 2000 * 3 + 3 + 20 * (36 + 36 + 2000 + 2000 + 3)
    assert stack_size(large) == 2**22 // (8 * numbers) == 3
    assert stack_size(small) > 100


@pytest.mark.parametrize("at", [[], [3, 2], [1, 1], [-1], [13]])
def test_bad_steps_are_named(at):
    program = training_of("momentum")[2]
    with pytest.raises(ValueError, match=r"at must be ascending numbers of steps in 0\.\.12"):
        train_many(program, program.start(), without_one(2), at=at)


@pytest.mark.parametrize("size", [0, -1, 2.5, "all", None])
def test_a_bad_number_of_models_is_named(size):
    program = training_of("momentum")[2]
    with pytest.raises(ValueError, match='models_at_once must be "auto" or a positive integer'):
        train_many(program, program.start(), without_one(2), models_at_once=size)


class Cumulative(nn.Sequential):
    """A batch norm whose factor depends on the number of batches, and a branch on a number."""

    def __init__(self):
        super().__init__(nn.Linear(6, 4), nn.BatchNorm1d(4, momentum=None), nn.Linear(4, 3))

    def forward(self, X):
        output = super().forward(X)
        return output.tanh() if self[0].weight.norm().item() > 0 else output


@pytest.mark.slow
def test_a_module_that_vmap_does_not_know_is_trained_one_by_one():
    torch.manual_seed(0)
    clf, X, y, _ = fitted("mlp", module=Cumulative(), trajectory=1)
    program = FunctionalTraining(problem_from_estimator(clf, X, y))
    weights = without_one(4)
    expected = ends(program, weights, models_at_once=1)
    for found, alone in zip(ends(program, weights, models_at_once=3), expected, strict=True):
        torch.testing.assert_close(found, alone, **CLOSE)
    torch.testing.assert_close(expected[0][0], program.problem.params, **CLOSE)
    assert (expected[0][1:] - expected[0][0]).norm(dim=1).min() > 1e-4


class Transposed(nn.Module):
    """Dropout of activations that are transposed, as in ``nn.TransformerEncoderLayer``."""

    def __init__(self):
        super().__init__()
        self.layer, self.drop, self.head = nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(12, 3)

    def forward(self, X):
        hidden = self.layer(X.view(-1, 3, 2)).transpose(0, 1)
        return self.head(torch.tanh(self.drop(hidden)).transpose(0, 1).flatten(1))


@pytest.mark.parametrize("rho", [0.0, 0.1])
def test_dropout_has_the_masks_of_training_whatever_its_memory_layout(rho):
    torch.manual_seed(0)
    clf, X, y, _ = fitted("mlp", module=Transposed(), rho=rho, max_epochs=2, trajectory=1)
    program = FunctionalTraining(problem_from_estimator(clf, X, y))
    weights = without_one(3)
    params, _ = ends(program, weights)
    torch.testing.assert_close(params[0], program.problem.params, **CLOSE)
    torch.testing.assert_close(params, ends(program, weights, models_at_once=1)[0], **CLOSE)
