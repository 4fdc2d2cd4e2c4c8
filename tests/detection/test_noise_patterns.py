"""Transition matrices of patterns of wrong labels, written out."""

import numpy as np

from sam_attribution.detection._noise_patterns import one_sided, only, scaled, symmetric_pattern


def test_transition_at_a_rate():
    pattern = np.array([[0, 1.5, 0.5], [0, 0, 0], [0.2, 0.8, 0]])
    expected = [[0.8, 0.15, 0.05], [0, 1, 0], [0.02, 0.08, 0.9]]
    np.testing.assert_allclose(scaled(pattern)(0.1), expected)
    np.testing.assert_allclose(scaled(pattern)(0.9)[0], [0.1, 0.675, 0.225])


def test_symmetric_noise():
    expected = [[0.7, 0.15, 0.15], [0.15, 0.7, 0.15], [0.15, 0.15, 0.7]]
    np.testing.assert_allclose(scaled(symmetric_pattern(np.ones(3, bool)))(0.3), expected)


def test_no_label_is_wrong_by_being_one_that_no_row_has():
    expected = [[0.7, 0.3, 0], [0.3, 0.7, 0], [0.15, 0.15, 0.7]]
    pattern = symmetric_pattern(np.array([True, True, False]))
    np.testing.assert_allclose(scaled(pattern)(0.3), expected)


def test_a_share_of_wrong_labels_of_one_class():
    """Of 100 rows 60 have the label 1, and 20 more are of class 1."""
    np.testing.assert_allclose(one_sided(1, 0.6)(0.2), [[1, 0], [0.2 / 0.8, 0.6 / 0.8]])


def test_rates_of_some_pairs_only():
    counts = np.array([[70.0, 20, 10], [5, 30, 5], [0, 0, 60]])
    confused = np.zeros((3, 3), bool)
    confused[0, 1] = True
    expected = [[1 - 20.5 / 101, 20.5 / 101, 0], [0, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(only(confused)(counts), expected)
