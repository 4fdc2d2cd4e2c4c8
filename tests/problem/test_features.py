"""The input of the last linear layer, and rows of queries that are read batch by batch."""

import numpy as np
import torch
from torch import nn

from sam_attribution.problem import Queries, problem_from_estimator
from tests.models import SmallCNN, fitted_problem
from tests.rows.data import Rows, X, Y, net


def test_features_are_what_the_last_layer_is_given():
    problem = fitted_problem("cnn")
    found = problem.features(problem.params, problem.buffers, problem.X)
    torch.testing.assert_close(found, problem.module.body(problem.X).flatten(1).detach())
    assert not found.requires_grad


def test_features_are_those_of_the_parameters_given():
    problem = fitted_problem("cnn")
    halved = problem.params / 2
    module = SmallCNN().double().eval()
    torch.nn.utils.vector_to_parameters(halved, module.parameters())
    module.load_state_dict(problem.buffers, strict=False)
    found = problem.features(halved, problem.buffers, problem.X)
    torch.testing.assert_close(found, module.body(problem.X).flatten(1).detach())


def test_logits_stand_in_where_no_linear_layer_is_last():
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Softplus())
    problem = fitted_problem("cnn", module=module)
    found = problem.features(problem.params, problem.buffers, problem.X)
    torch.testing.assert_close(found, problem.module(problem.X).detach())


def test_rows_of_a_dataset_come_in_batches():
    trained = net().fit(X, Y)
    problem = problem_from_estimator(trained, X, Y, batch_size=7)
    source, codes = trained.to_tensors(Rows(X[:17], Y[:17]), Y[:17])
    queries = Queries(problem, source, codes, problem.row_loss.per_sample, (torch.arange(17),))
    batches = [queries.batch(rows) for rows in queries.chunks()]
    assert [len(part) for part, _ in batches] == [7, 7, 3]
    np.testing.assert_array_equal(torch.cat([part for part, _ in batches]), X[:17])
    np.testing.assert_array_equal(torch.cat([part for _, part in batches]), Y[:17])
    some = torch.tensor([3, 1])
    np.testing.assert_array_equal(queries.batch(some)[0], X[[3, 1]])
    assert [rows.tolist() for rows in queries.chunks(some)] == [[3, 1]]
