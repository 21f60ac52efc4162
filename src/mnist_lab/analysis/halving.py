"""The brackets of Hyperband and BOHB: who went up which rung."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from mnist_lab.analysis.trials import Outcome, best_trial, endings, final_error, grouped, outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnist_lab.config import Bracket
    from mnist_lab.records import Trial

# Of a trial at a rung of its bracket; `undecided` until the whole rung has ended.
Standing = Literal["promoted", "beaten", "winner", "undecided"]


class Step(NamedTuple):
    """One budget of a trial of Hyperband; `error` is None unless the trial completed it."""

    budget: int
    outcome: Outcome
    error: float | None
    standing: Standing


class Climb(NamedTuple):
    """A trial on its way up the rungs of a bracket; `bracket` counts its panel's from 0."""

    bracket: int
    steps: tuple[Step, ...]


class BracketPanel(NamedTuple):
    """The brackets of Hyperband that have the same numbers; `n_over` of `n_planned` have ended."""

    bracket: Bracket
    n_planned: int
    n_over: int
    climbs: tuple[Climb, ...]


def bracket_panels(trials: Iterable[Trial], planned: Sequence[Bracket]) -> list[BracketPanel]:
    """The brackets of Hyperband or BOHB, those of equal numbers together, in the order planned.

    Args:
        trials: of the search; HpBandSter's id says which bracket each belongs to.
        planned: the brackets in their order (`StudySettings.brackets`).
    """
    members = grouped(trials, lambda trial: trial.id[0])
    panels = []
    for bracket in dict.fromkeys(planned):
        numbers = [number for number, one in enumerate(planned) if one == bracket]
        last, n_over = bracket.epochs[-1], 0
        climbs: list[Climb] = []
        for place, number in enumerate(numbers):
            own = members.get(number, [])
            decided = _decided(own, bracket)
            n_over += last in decided
            best = best_trial(own) if last in decided else None
            won = best is not None and best.configuration.epochs == last
            for trial in own:
                steps = [
                    _step(one, trial, decided)
                    for one in endings([trial])
                    if one.configuration.epochs in bracket.epochs  # a file may say anything
                ]
                if best and won and best.trial == trial.trial:
                    steps[-1] = steps[-1]._replace(standing="winner")
                climbs.append(Climb(place, tuple(steps)))
        panels.append(BracketPanel(bracket, len(numbers), n_over, tuple(climbs)))
    return panels


def _decided(trials: list[Trial], bracket: Bracket) -> set[int]:
    """The budgets of a bracket's rungs where it is known who goes on, or who won."""
    reached = [trial.configuration.epochs for trial in trials]
    decided = {
        budget
        for budget, above, n in zip(
            bracket.epochs, bracket.epochs[1:], bracket.n_configs[1:], strict=False
        )
        if sum(one >= above for one in reached) >= n
    }
    last = bracket.epochs[-1]
    n_ended = sum(one.configuration.epochs == last for one in endings(trials))
    return decided | ({last} if n_ended >= bracket.n_configs[-1] else set())


def _step(one: Trial, trial: Trial, decided: set[int]) -> Step:
    """The step of `trial` that ended as `one`."""
    budget = one.configuration.epochs
    standing: Standing = "undecided"
    if trial.configuration.epochs > budget:
        standing = "promoted"
    elif budget in decided or one.state == "failed":
        standing = "beaten"
    return Step(budget, outcome_of(one), final_error(one), standing)
