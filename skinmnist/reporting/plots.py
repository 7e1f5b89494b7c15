"""Individual figures of the report, for notebooks and scripts."""

from __future__ import annotations

from matplotlib.figure import Figure

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.significance import Pair
from skinmnist.analysis.summaries import finished_pairs
from skinmnist.errors import InputError
from skinmnist.experiment.metrics import best_pair
from skinmnist.names import did_you_mean, find_pair, known_spelling, pair_name
from skinmnist.reporting.sections.leaderboard import leaderboard_of
from skinmnist.reporting.sections.outcomes import confusion_of, mistakes_of
from skinmnist.reporting.sections.probabilities import reliability_of
from skinmnist.reporting.sections.tradeoff import tradeoff_figure
from skinmnist.reporting.sections.training import examples, samples_of
from skinmnist.reporting.theme import headed
from skinmnist.text import shown


class Plots:
    """The figures of a run's report as matplotlib figures, accessed through `Run.plot`.

    Methods raise InputError if a name is not in the run or if there is nothing to draw.

    Examples
    --------
    The examples use the run from the example of `Run`.

    >>> figure = run.plot.confusion("none + dummy")
    >>> figure.savefig("confusion.png")  # doctest: +SKIP
    >>> run.plot
    <Plots: tradeoff(), leaderboard(), confusion(), reliability(), samples(), mistakes()>
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis

    def __repr__(self) -> str:
        names = [name for name in vars(type(self)) if not name.startswith("_")]
        return f"<Plots: {', '.join(f'{name}()' for name in names)}>"

    def tradeoff(self) -> Figure:
        """Draw the trade-off between classes for each sampler, and for the same model as its threshold moves.

        Examples
        --------
        >>> len(run.plot.tradeoff().axes)  # Two models, with two planes each.
        4
        """
        self._pair(None)
        return tradeoff_figure(self._analysis)

    def leaderboard(self) -> Figure:
        """Draw the macro-F1 of every pair: folds, mean and standard deviation.

        Examples
        --------
        >>> run.plot.leaderboard().axes[0].get_xlabel()
        'macro-F1 on held-out pictures'
        """
        self._pair(None)
        return leaderboard_of(self._analysis)

    def confusion(self, pair: str | Pair | None = None) -> Figure:
        """Draw the confusion matrix of a pair, by default the best; rows are true classes.

        Examples
        --------
        >>> run.plot.confusion("none + dummy").texts[-1].get_text()
        'none + dummy'
        """
        named = self._pair(pair)
        return headed(confusion_of(self._analysis, named), pair_name(named))

    def reliability(self, pair: str | Pair | None = None) -> Figure:
        """Draw a pair's confidence against its accuracy, by default for the best pair.

        Examples
        --------
        >>> run.plot.reliability(("none", "dummy")).axes[0].get_ylabel()
        'share correct'
        """
        sampler, model = named = self._pair(pair)
        return headed(reliability_of(self._analysis, model, sampler), pair_name(named))

    def samples(self, sampler: str) -> Figure:
        """Draw synthetic rows, each between the training row and the neighbour that it interpolates.

        Examples
        --------
        >>> run.plot.samples("smote").texts[-1].get_text()
        'Made by SMOTE, between the two training rows that it blends'
        """
        record = self._analysis.record
        known = record.info.grid.samplers
        name = known_spelling(str(sampler), known)
        if name not in known:
            hint = did_you_mean(name, known) or f"; expected one of {', '.join(known)}"
            raise InputError(f"unknown sampler {shown(sampler)}{hint}")
        figure = samples_of(record, name)
        if figure is None:
            others = ", ".join(dict.fromkeys(other for other, _, _ in examples(record)))
            raise InputError(
                f"no rows made by {name} are stored; expected a sampler that blends rows, such as SMOTE, "
                f"with a model on pixels ({f'here {others}' if others else 'this run has none'})"
            )
        return headed(figure, f"Made by {name}, between the two training rows that it blends")

    def mistakes(self, pair: str | Pair | None = None) -> Figure:
        """Draw the most confident mistakes of a pair, by default the best.

        Examples
        --------
        >>> run.plot.mistakes("none + dummy").texts[-1].get_text()
        'Most confident mistakes of none + dummy'
        """
        named = self._pair(pair)
        figure = mistakes_of(self._analysis.record, named)
        if figure is None:
            raise InputError(
                f"no pictures of mistakes of {pair_name(named)!r} are stored: it made none, or the run is "
                "older than these pictures; run the same comparison again"
            )
        return headed(figure, f"Most confident mistakes of {pair_name(named)}")

    def _pair(self, named: str | Pair | None) -> Pair:
        """Return the given pair, by default the best; raise InputError if no cell has finished."""
        record = self._analysis.record
        pairs = finished_pairs(record)
        best = best_pair(record.scores)
        return best if named is None and best is not None else find_pair(named, pairs)
