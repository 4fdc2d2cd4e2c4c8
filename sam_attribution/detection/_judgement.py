"""One trained network: what it and the classes in its features say of every label."""

from time import perf_counter

import torch

from sam_attribution.detection._accounts import at_their_word, corrected
from sam_attribution.detection._class_model import ClassModel, stratified_folds
from sam_attribution.detection._looks import looks
from sam_attribution.detection._probabilities import (
    almost_identity,
    log_posterior,
    mean_probability,
)
from sam_attribution.detection._wrong_share import wrong_share_at_word, wrong_share_corrected

# What the labels are taken to be, of the rows trained on and of those held out
OPTIONS = (("at their word", "cannot tell"), ("corrected", "clean"), ("corrected", "as noisy"))


class Judgement:
    """Both accounts of the labels that one network was trained on.

    Parameters
    ----------
    problem : Problem
        With the rows trained on and the states of the training.
    X, y : Tensor
        Held-out rows and label codes.

    Attributes
    ----------
    support : Tensor of shape (3,)
        Log-likelihood of the held-out labels under each of ``OPTIONS``, summed over rows.
    seconds : float
        What it all took.
    """

    def __init__(self, problem, X, y):
        started = perf_counter()
        self._y, self._y_held_out = problem.y.cpu(), y.cpu()
        self._weights = problem.weights.detach().float().cpu()
        trained, held_out = looks(problem, problem.X), looks(problem, X)
        self._network = _mean_probability(trained), _mean_probability(held_out)
        self._n_early = max(1, sum(look.is_early for look in trained))
        self._classes = ClassModel(
            [look.features for look in trained],
            [look.features for look in held_out],
            stratified_folds(self._y),
            self._weights,
        )
        given = at_their_word(self._classes, self._y, self._weights)
        self._accounts = given, corrected(self._classes, self._y, self._weights, given)
        self.support = self._support()
        self.seconds = perf_counter() - started

    def conclude(self, option):
        """What follows if the labels are taken as the given one of ``OPTIONS`` says.

        Returns
        -------
        Conclusion
        """
        is_corrected = OPTIONS[option][0] == "corrected"
        account = self._accounts[is_corrected]
        arguments = self._classes, self._y, self._weights, account
        if is_corrected:
            share, transition = wrong_share_corrected(*arguments, self._n_early)
        else:
            share, transition = wrong_share_at_word(*arguments, self._y_held_out, self._n_early)
        # taken at their word, no class is more likely than another to be mislabelled as this
        prior = account.transition if is_corrected else torch.ones_like(transition)
        both = zip(
            self._network,
            (account.log_p, account.held_out_log_p),
            (self._y, self._y_held_out),
            strict=True,
        )
        return Conclusion(share, transition, *(_Evidence(*each, prior) for each in both))

    def _support(self):
        given, fixed = self._accounts
        clean = almost_identity(len(given.log_prior))
        pairs = (given, clean), (fixed, clean), (fixed, fixed.transition)
        return torch.stack([a.held_out_likelihood(self._y_held_out, t).sum() for a, t in pairs])


class Conclusion:
    """A share of wrong labels, and the evidence for every label of every row.

    Attributes
    ----------
    wrong_share : float
    transition : Tensor of shape (n_classes, n_classes)
        Probability of each given label, per true class.
    trained, held_out : evidence for the rows of either kind
        ``table`` (n, n_classes) is the log-probability of each label to be the true one,
        ``parts`` (n, 2) that of the given label by the network alone, and by the classes alone.
    """

    def __init__(self, wrong_share, transition, trained, held_out):
        self.wrong_share = wrong_share
        self.transition = transition
        self.trained = trained
        self.held_out = held_out


class _Evidence:
    def __init__(self, network, classes, y, transition):
        self.table = log_posterior(network + classes, y, transition)
        witnesses = network, log_posterior(classes, y, transition)
        self.parts = torch.cat([each.gather(1, y[:, None]) for each in witnesses], dim=1)


def _mean_probability(looks):
    """Log of the network's probabilities, averaged over the states."""
    return mean_probability(torch.stack([look.log_probabilities for look in looks]))
