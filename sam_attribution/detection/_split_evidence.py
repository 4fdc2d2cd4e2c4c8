"""Evidence about the labels of one split: noise models, likelihoods and signals."""

from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from sam_attribution._rows import part_of
from sam_attribution.detection._class_model import ClassModel, stratified_folds, subsample
from sam_attribution.detection._judging_network import JudgingNetwork
from sam_attribution.detection._noise_model import fit_as_given, fit_by_em
from sam_attribution.detection._overlap import warn_of_overlap
from sam_attribution.detection._probabilities import (
    almost_identity,
    log_posterior,
    mean_probability,
)
from sam_attribution.detection._snapshots import (
    initial_features,
    snapshot,
    snapshot_states,
)
from sam_attribution.detection._trusted_classes import trusted_classes
from sam_attribution.detection._untouched_features import has_untouched, untouched_kinds
from sam_attribution.detection._untouched_scores import SplitSignals

_ROWS_FOR_AGREEMENT = 3000


class SplitEvidence:
    """Both noise models of the labels that one network was trained on.

    Parameters
    ----------
    trained : TrainedSplit
        Its problem holds the rows trained on and the states of the training; its split holds the
        held-out rows.

    Attributes
    ----------
    trained : TrainedSplit
    likelihoods : Tensor of shape (3, m)
        Log-likelihood of each held-out label under three models: classes as given; classes by EM
        and clean held-out labels; classes by EM and held-out labels as noisy as the others.
    untouched : bool
        Some features are known that depend on no label: those before the training, or the rows
        themselves.
    seconds : float
        Time that the detection took so far.
    """

    def __init__(self, trained):
        started = perf_counter()
        self.trained, self._problem = trained, trained.problem
        self._X_held_out, y_held_out = trained.tensors(trained.split.X, trained.split.y)
        if len(trained.split.held_out) == 0:
            warn_of_overlap(self._problem, self._X_held_out)
        self._y, self._y_held_out = self._problem.y.cpu(), y_held_out.cpu()
        self._weights = _relative(self._problem.weights.detach().double().cpu())
        self._class_model = ClassModel(stratified_folds(self._y), self._weights)
        self._features, self._untouched = [], []  # where they are needed again
        path = self._problem.path
        self._states = snapshot_states(path)
        self.untouched = has_untouched(self._problem, self._problem.X)
        seen = [self._look_at(state) for state in self._states]
        self._network = tuple(mean_probability(states) for states in zip(*seen, strict=True))
        del seen  # arrays of states x rows x classes
        rows = self._class_model, self._y, self._weights
        self._as_given = fit_as_given(*rows, self._problem.n_classes)
        self._by_em = fit_by_em(*rows, self._as_given)
        self.likelihoods = self._likelihoods()
        self._early = self._untouched_classes()
        self.seconds = perf_counter() - started

    def _look_at(self, state):
        """Hand the features at a state to the class model.

        Returns
        -------
        trained, held_out : Tensor of shape (n, n_classes), (m, n_classes)
            Log-probabilities by the network at that state.
        """
        then = self._problem.at_epoch(self._problem.path.epoch_at(state))
        trained, held_out = (snapshot(then, state, X) for X in (then.X, self._X_held_out))
        features = trained.features, held_out.features
        self._class_model.add_state(*features)
        if len(self.trained.split.held_out) == 0:  # a ValidationData: its labels may be trusted
            self._features.append(features)
        return trained.log_probabilities, held_out.log_probabilities

    def _untouched_classes(self):
        """ClassModel of the features that labels have touched least."""
        first = self._problem.at_epoch(0)
        self._kinds = untouched_kinds(first, self._problem.X)
        sources = self._problem.X, self._X_held_out
        kinds = [[features(first, X) for X in sources] for features in self._kinds]
        if self._features:
            self._untouched = kinds
        y = torch.cat([self._y, self._y_held_out])
        weights = torch.cat([self._weights, self._weights.new_ones(len(self._y_held_out))])
        states = ((torch.cat(kind), kind[0][:1]) for kind in kinds)
        return ClassModel(stratified_folds(y), weights, states)

    def signals(self, n_samples, trust=False):
        """What the network says about the rows; those of a ValidationData follow `n_samples`.

        With `trust` the labels of the ValidationData are right.
        """
        split = self.trained.split
        held_out = held_out_numbers(split, n_samples)
        signals = self._early, self._class_model, self._network
        return SplitSignals(split.train, held_out, *signals, self._trusted() if trust else None)

    def _trusted(self):
        about = self._y_held_out, self._problem.n_classes
        return trusted_classes(self._untouched, self._features, *about)

    def judging_network(self, memberships, n_samples):
        """What judges other rows, with classes fitted to `memberships`, (n_rows, n_classes)."""
        likely = torch.as_tensor(memberships, dtype=torch.float32)
        return JudgingNetwork(self.signals(n_samples), self._kinds, self._states, likely)

    @property
    def codes(self):
        """Codes of the labels of the rows trained on, and of those held out, ndarrays."""
        return self._y.numpy(), self._y_held_out.numpy()

    @cached_property
    def agreement(self):
        """Excess fit of the held-out labels over those trained on, in standard errors.

        Before training the features do not depend on any label, so labels that are as noisy as
        the others fit their classes just as well. NaN if no state from before training is known.
        """
        path = self._problem.path
        if path.time_of(path.recorded_states[0]) > 0:
            return float("nan")
        some = subsample(len(self._y), _ROWS_FOR_AGREEMENT)
        first = self._problem.at_epoch(0)
        rows = part_of(first.X, some.to(first.device)), self._X_held_out
        y, weights = self._y[some], self._weights[some]
        features = [initial_features(self._problem, X) for X in rows]
        class_model = ClassModel(stratified_folds(y), weights, [features])
        fitted = fit_as_given(class_model, y, weights, self._problem.n_classes)
        pairs = (fitted.log_p, y), (fitted.held_out_log_p, self._y_held_out)
        hits = [(log_p.argmax(1) == y).double() for log_p, y in pairs]
        rate = torch.cat(hits).mean()
        error = (rate * (1 - rate) * sum(1 / len(each) for each in hits)).sqrt().clamp_min(1e-12)
        return float((hits[1].mean() - hits[0].mean()) / error)

    @property
    def by_network(self):
        """Log-probabilities (m, n_classes) by the network of the held-out rows, and their codes."""
        return self._network[1].numpy(), self._y_held_out.numpy()

    def result(self, *, by_em, trust):
        """Return what the signals say under one of the noise models.

        Parameters
        ----------
        by_em : bool
            Take the noise model fitted by EM, otherwise the one fitted as given.
        trust : bool
            The held-out labels are right, so their classes are a signal of their own.

        Returns
        -------
        trained, held_out : SignalTables
        """
        started = perf_counter()
        noise_model = self._by_em if by_em else self._as_given
        # with labels as given, no class is more likely than another to be mislabelled as this
        transition = noise_model.transition
        prior = transition if by_em else torch.ones_like(transition)
        trusted = [self._by_held_out(noise_model.log_p)] if trust else []
        network, network_held_out = self._network
        found = (
            signal_tables([network, noise_model.log_p, *trusted], self._y, prior),
            signal_tables([network_held_out, noise_model.held_out_log_p], self._y_held_out, prior),
        )
        self.seconds += perf_counter() - started
        return found

    def _by_held_out(self, otherwise):
        """Log-probabilities of the rows trained on, by the classes of the held-out rows.

        Classes that no held-out row has keep those of `otherwise`.
        """
        y = self._y_held_out
        ones = self._weights.new_ones(len(y))
        swapped = (reversed(pair) for pair in self._features)
        class_model = ClassModel(stratified_folds(y), ones, swapped)
        log_p = fit_as_given(class_model, y, ones, self._problem.n_classes).held_out_log_p
        absent = torch.bincount(y, minlength=self._problem.n_classes) == 0
        if not absent.any():
            return log_p
        share = otherwise.masked_fill(absent, -torch.inf).logsumexp(1, keepdim=True)
        present = log_p.masked_fill(absent, -torch.inf).log_softmax(1)
        return torch.where(absent, otherwise, present + share)

    def _likelihoods(self):
        clean = almost_identity(self._problem.n_classes)
        pairs = (
            (self._as_given, clean),
            (self._by_em, clean),
            (self._by_em, self._by_em.transition),
        )
        return torch.stack([m.held_out_likelihood(self._y_held_out, t) for m, t in pairs])


def held_out_numbers(split, n_samples):
    """Numbers of the held-out rows; those of a ValidationData follow `n_samples`."""
    own = len(split.held_out) == 0
    return n_samples + np.arange(len(split.y)) if own else split.held_out


def _relative(weights):
    """Weights of mean 1; a ValueError for those that overflowed or vanished in the net's dtype."""
    if not weights.isfinite().all() or not weights.any():
        raise ValueError(
            "sample_weight has numbers that are too large or too small for the precision of the "
            "network. Divide it by its mean."
        )
    weights = weights / weights.abs().max()  # no sum of them overflows
    return (weights / weights.mean()).float() if weights.mean() > 0 else weights.float()


@dataclass(frozen=True, eq=False)
class SignalTables:
    """What the signals say of some rows, at face value.

    Attributes
    ----------
    log_p : Tensor of shape (n, n_classes)
        Log-probability of each class, without the given label: the product of the signals.
    components : Tensor of shape (n, 2 or 3)
        Log-probability of the given label by the network alone, by the class model and the
        transition alone, and by the trusted rows alone.
    """

    log_p: Tensor
    components: Tensor


def signal_tables(signals, y, transition):
    """Multiply the signals, as if they were independent, and look up the given labels in each.

    Parameters
    ----------
    signals : list of Tensor of shape (n, n_classes)
        Log-probabilities of the true class: by the network, by the class model, and by the trusted
        rows, if any.
    y : Tensor of int64, shape (n,)
        Codes of the given labels.
    transition : Tensor of shape (n_classes, n_classes)

    Returns
    -------
    SignalTables
    """
    network, classes, *trusted = signals
    components = [network, log_posterior(classes, y, transition), *trusted]
    given = torch.cat([each.gather(1, y[:, None]) for each in components], dim=1)
    return SignalTables(torch.log_softmax(sum(signals), dim=1), given)
