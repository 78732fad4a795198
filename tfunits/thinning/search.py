"""How many units of every layer can go before a network stops to agree with the whole one."""

from collections.abc import Mapping

import keras
import numpy as np
from tqdm.auto import tqdm

from tfunits.thinning.agreement import agreement_bound, margins_of, scores_of
from tfunits.thinning.elimination import Elimination, eliminate
from tfunits.thinning.examples import Batch
from tfunits.thinning.network import Network

# Thresholds of the error that a layer may lose, between which the search starts: the smallest loses nothing to speak
# of, the largest nearly everything.
_THRESHOLDS = (1e-7, 2.0)
# Halvings of the range of thresholds.
_HALVINGS = 8
# Share of its remaining units that a layer loses in one trial, which is halved where it is too much.
_STEP = 0.2
_SMALLEST_STEP = 0.02
# Ridges of the fits, as shares of the units' mean variance: the first holds fits to hundreds of units back, the second
# folds exact copies exactly.
RIDGES = (1e-3, 1e-6)


class Search:
    """Thin networks, smaller and smaller, as long as they agree.

    Args:
      network: whose units go.
      batches: examples on which classes must stay, beside those of the fit.
      agreement: share of examples that must keep their class.
      max_trials: thin networks that are built, at most.

    Attributes:
      trials: how many were built.
      ended: why the search is over.
    """

    def __init__(self, network: Network, batches: list[Batch], agreement: float, max_trials: int) -> None:
        self._network, self._batches, self._agreement = network, batches, agreement
        # Margins count on examples that the network may never have seen, their changes on those of the fit too: what
        # one network among many leaves small by luck on a few is not small on others.
        self._margins = [margins_of(scores_of(network.model, part)) for part in (batches, network.batches)]
        self._eliminations: dict[str, Elimination] = {}
        self._ridge = RIDGES[0]
        self._best: keras.Model | None = None
        self.ended = "every layer is at its limit"
        self._progress = tqdm(total=max_trials, desc="thinning", unit="network")
        self._max_trials, self.trials = max_trials, 0

    def run(self) -> tuple[keras.Model, np.ndarray]:
        """The thin network, and which units are gone: bool [units]."""
        with self._progress:
            best, most = None, -1.0
            for ridge in RIDGES:
                self._rank(ridge)
                self._best = None
                counts = self._search_threshold()
                saved = float(sum(n * self._network.count_weights(self._network.groups[g]) for g, n in counts.items()))
                if saved > most:
                    most, best = saved, (ridge, self._eliminations, counts, self._best)
            self._ridge, self._eliminations, counts, self._best = best
            counts = self._search_layers(counts)
            if self.trials >= self._max_trials:
                self.ended = "max_trials"
            # Where the search ends early, the bar is full all the same.
            self._progress.total = self.trials
            self._progress.refresh()
        removed = self._removed(counts)
        return self._best or self._make(removed), removed

    def _make(self, removed: np.ndarray) -> keras.Model:
        model = self._network.build(removed, self._ridge)
        self._network.refit(model, removed, self._ridge)
        return model

    def _rank(self, ridge: float) -> None:
        """Find the order in which the units of every group go."""
        groups = tqdm(self._network.groups.items(), desc="ranking units", leave=False)
        self._ridge = ridge
        self._eliminations = {name: eliminate(self._network.readers(group), group, ridge) for name, group in groups}

    def _removed(self, counts: Mapping[str, int]) -> np.ndarray:
        removed = np.zeros(self._network.units.num_units, bool)
        rank = np.zeros(self._network.units.num_units, int)
        for name, count in counts.items():
            numbers = self._eliminations[name].numbers
            removed[numbers[:count]] = True
            rank[numbers] = np.arange(len(numbers))
        return self._network.leave_some(removed, rank)

    def _agrees(self, counts: Mapping[str, int]) -> bool:
        """Whether a thin network agrees often enough; False once there are no trials left."""
        if self.trials >= self._max_trials:
            return False
        self.trials += 1
        model = self._make(self._removed(counts))
        same, spreads = [], []
        for part, (margin, order) in zip((self._batches, self._network.batches), self._margins, strict=True):
            scores = scores_of(model, part)
            same.append(float((scores.argmax(axis=1) == order[:, 0]).mean()))
            spreads.append(float(np.sqrt(((margins_of(scores, order)[0] - margin) ** 2).mean())))
        found = min(*same, agreement_bound(self._margins[0][0], max(spreads)))
        self._progress.update()
        self._progress.set_postfix(gone=sum(counts.values()), agreement=f"{found:.3f}")
        if found >= self._agreement:
            self._best = model
        return found >= self._agreement

    def _search_threshold(self) -> dict[str, int]:
        """Counts at the largest loss, the same for all layers, that leaves enough agreement."""
        low, high = np.log(_THRESHOLDS)
        best = dict.fromkeys(self._eliminations, 0)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            counts = {name: found.count(np.exp(middle)) for name, found in self._eliminations.items()}
            if counts == best or self._agrees(counts):
                low, best = middle, counts
            else:
                high = middle
        return best

    def _search_layers(self, counts: dict[str, int]) -> dict[str, int]:
        """More of each layer in turn, the one with most parameters first, in ever smaller steps."""
        steps = dict.fromkeys(counts, _STEP)
        while self.trials < self._max_trials:
            open_layers = [name for name, step in steps.items() if step >= _SMALLEST_STEP]
            if not open_layers:
                break
            for name in sorted(open_layers, key=lambda n: -self._saved(n, counts, steps[n])):
                most = len(self._eliminations[name].numbers)
                more = min(most - counts[name], int(np.ceil(steps[name] * (most + 1 - counts[name]))))
                if more <= 0:
                    steps[name] = 0
                    continue
                tried = {**counts, name: counts[name] + more}
                if self._agrees(tried):
                    counts = tried
                else:
                    steps[name] = steps[name] / 2 if more > 1 else 0
                if self.trials >= self._max_trials:
                    break
        return counts

    def _saved(self, name: str, counts: Mapping[str, int], step: float) -> float:
        """Weights that go with a step of one layer, about."""
        left = len(self._eliminations[name].numbers) + 1 - counts[name]
        return step * left * self._network.count_weights(self._network.groups[name])
