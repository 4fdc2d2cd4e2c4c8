"""One trained network: what it and the classes in its features say of every label."""

from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import torch
from torch import Tensor

from sam_attribution.detection._accounts import at_their_word, corrected
from sam_attribution.detection._class_model import ClassModel, stratified_folds
from sam_attribution.detection._looks import first_look, looks
from sam_attribution.detection._probabilities import (
    almost_identity,
    log_posterior,
    mean_probability,
)
from sam_attribution.detection._some_rows import some_rows
from sam_attribution.detection._wrong_share import wrong_share_at_word, wrong_share_corrected

_ROWS_FOR_AGREEMENT = 3000


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
    likelihoods : Tensor of shape (3, m)
        Log-likelihood of each held-out label: the labels trained on at their word; corrected, the
        held-out ones clean; corrected, the held-out ones as noisy.
    seconds : float
        What it took so far.
    """

    def __init__(self, problem, X, y):
        started = perf_counter()
        self._problem, self._X_held_out = problem, X
        self._y, self._y_held_out = problem.y.cpu(), y.cpu()
        self._weights = problem.weights.detach().float().cpu()
        trained, held_out = looks(problem, problem.X), looks(problem, X)
        self._features = [[look.features for look in each] for each in (trained, held_out)]
        self._network = [_mean_probability(each) for each in (trained, held_out)]
        self._n_early = max(1, sum(look.is_early for look in trained))
        self._classes = ClassModel(*self._features, stratified_folds(self._y), self._weights)
        given = at_their_word(self._classes, self._y, self._weights, problem.n_classes)
        self._accounts = given, corrected(self._classes, self._y, self._weights, given)
        self.likelihoods = self._likelihoods()
        self.seconds = perf_counter() - started

    @cached_property
    def agreement(self):
        """How much better held-out labels fit than those trained on, in standard errors.

        Before training, where no label has left a trace in the features, labels as noisy as the
        others fit their classes just as well.
        """
        some = some_rows(len(self._y), _ROWS_FOR_AGREEMENT)
        rows = self._problem.X[some.to(self._problem.X.device)], self._X_held_out
        y, weights = self._y[some], self._weights[some]
        features = ([first_look(self._problem, X)] for X in rows)
        classes = ClassModel(*features, stratified_folds(y), weights)
        given = at_their_word(classes, y, weights, self._problem.n_classes)
        pairs = (given.log_p, y), (given.held_out_log_p, self._y_held_out)
        hits = [(log_p.argmax(1) == y).double() for log_p, y in pairs]
        rate = torch.cat(hits).mean()
        error = (rate * (1 - rate) * sum(1 / len(each) for each in hits)).sqrt().clamp_min(1e-12)
        return float((hits[1].mean() - hits[0].mean()) / error)

    @property
    def log_likelihood_of_sizes(self):
        """Log-likelihood (m,) of each held-out label by the sizes of the classes alone."""
        return self._accounts[0].log_prior[self._y_held_out]

    def conclude(self, *, correct, trust):
        """What follows.

        Parameters
        ----------
        correct : bool
            Whether classes are those of the corrected account.
        trust : bool
            Whether the held-out labels are right, so that they are a witness of their own.

        Returns
        -------
        Conclusion
        """
        started = perf_counter()
        account = self._accounts[correct]
        arguments = self._classes, self._y, self._weights, account
        if correct:
            share, transition = wrong_share_corrected(*arguments, self._n_early)
        else:
            share, transition = wrong_share_at_word(*arguments, self._y_held_out, self._n_early)
        # taken at their word, no class is more likely than another to be mislabelled as this
        prior = account.transition if correct else torch.ones_like(transition)
        trusted = self._by_held_out(account.log_p) if trust else None
        trained = _evidence(self._network[0], account.log_p, trusted, self._y, prior)
        held_out = _evidence(
            self._network[1], account.held_out_log_p, None, self._y_held_out, prior
        )
        self.seconds += perf_counter() - started
        return Conclusion(share, transition, trained, held_out)

    def _by_held_out(self, otherwise):
        """Log-probabilities of the rows trained on, by the classes of the held-out rows.

        Classes that no held-out row has keep those of `otherwise`.
        """
        y = self._y_held_out
        ones = torch.ones(len(y))
        classes = ClassModel(*reversed(self._features), stratified_folds(y), ones)
        log_p = at_their_word(classes, y, ones, self._problem.n_classes).held_out_log_p
        absent = torch.bincount(y, minlength=self._problem.n_classes) == 0
        if not absent.any():
            return log_p
        share = otherwise.masked_fill(absent, -torch.inf).logsumexp(1, keepdim=True)
        present = log_p.masked_fill(absent, -torch.inf).log_softmax(1)
        return torch.where(absent, otherwise, present + share)

    def _likelihoods(self):
        given, fixed = self._accounts
        clean = almost_identity(len(given.log_prior))
        pairs = (given, clean), (fixed, clean), (fixed, fixed.transition)
        return torch.stack([a.held_out_likelihood(self._y_held_out, t) for a, t in pairs])


@dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks for the labels of some rows.

    Attributes
    ----------
    table : Tensor of shape (n, n_classes)
        Log-probability of each label to be the true one.
    parts : Tensor of shape (n, 2 or 3)
        That of the given label, by the network alone, by the classes alone, and by the trusted
        rows alone.
    """

    table: Tensor
    parts: Tensor


@dataclass(frozen=True, eq=False)
class Conclusion:
    """Share of wrong labels, their transition, and the evidence for rows of either kind."""

    wrong_share: float
    transition: Tensor
    trained: Evidence
    held_out: Evidence


def _evidence(network, classes, trusted, y, transition):
    witnesses = [network, log_posterior(classes, y, transition)]
    table = network + classes
    if trusted is not None:
        witnesses.append(trusted)
        table = table + trusted
    parts = torch.cat([each.gather(1, y[:, None]) for each in witnesses], dim=1)
    return Evidence(log_posterior(table, y, transition), parts)


def _mean_probability(looks):
    """Log of the network's probabilities, averaged over the states."""
    return mean_probability(torch.stack([look.log_probabilities for look in looks]))
