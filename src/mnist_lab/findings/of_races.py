"""What a race shows: the winner and its lead, what is undecided, what was dropped, the cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mnist_lab.analysis.outcomes import n_ended, race_rows
from mnist_lab.findings.common import Finding, left_out
from mnist_lab.racing import ALPHA, MOST_ROUNDS, race_of
from mnist_lab.words import capital, counted, listed, percent, points, signed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnist_lab.analysis.outcomes import SummaryRow
    from mnist_lab.config import StudySettings
    from mnist_lab.racing import Contender, Gap, Race
    from mnist_lab.records import Trial


def of_race(settings: StudySettings, trials: Sequence[Trial], n_valid: int) -> Iterator[Finding]:
    """The findings of a race, before its end those so far."""
    race, rows = race_of(settings, trials), race_rows(settings, trials)
    if race.leader is not None:
        yield _first(race, rows[race.leader.place])
        if len(race.left) > 1:
            yield _undecided(race)
    elif not race.left:
        yield Finding("winner", "No configuration wins: all failed or diverged.")
    if dropped := [one for one in race.contenders if one.dropped is not None]:
        yield _dropped(race, dropped)
    if race.leader is not None:
        yield _certainty(race, n_ended(trials), n_valid)
    yield from left_out(trials)


def _first(race: Race, row: SummaryRow) -> Finding:
    """The configuration that wins or leads, and by how much."""
    leader, n = race.leader, race.n_rounds
    assert leader is not None  # noqa: S101 - asked by the caller
    wins = len(race.left) == 1
    verb = "wins" if wins else "leads, but has not won," if race.is_over else "leads so far,"
    claim = f"{capital(name_of(leader))} {verb} after {counted(n, 'repeat')}: {row.title}."
    error = row.error
    shown = percent(error.mean, error.sd) if error else "unknown"
    numbers = f"Its validation error is {shown} (mean ± standard deviation over seeds, n = {n})."
    if (second := _second(race)) is not None:
        one, gap = second
        numbers += f" The next best, {name_of(one)}, is {_behind(gap)}."
    return Finding("winner" if wins else "leader", claim, numbers)


def _second(race: Race) -> tuple[Contender, Gap] | None:
    """The next best, over the repeats that it shares with the leader."""
    leader = race.leader
    assert leader is not None  # noqa: S101 - asked by the caller
    gaps = [
        (one, gap)
        for one in race.contenders
        if one is not leader and (gap := race.gap(one, leader)) is not None
    ]
    return min(gaps, key=lambda pair: pair[1].mean, default=None)


def _behind(gap: Gap) -> str:
    """`worse by 0.12 points (+0.03 to +0.21, n = 7 common seeds)`."""
    word = "worse" if gap.mean >= 0 else "better"
    bounds = "too few for an interval"
    if math.isfinite(gap.half):
        bounds = f"{signed(gap.mean - gap.half)} to {signed(gap.mean + gap.half)}"
    return f"{word} by {points(gap.mean)} points ({bounds}, n = {gap.n} common seeds)"


def _undecided(race: Race) -> Finding:
    """What is left beside the leader, how far behind each may be, and what would decide."""
    leader, others = race.left[0], race.left[1:]
    names = listed([name_of(one) for one in race.left])
    gaps = [(one, gap) for one in others if (gap := race.gap(one, leader)) is not None]
    numbers = f"Compared with {name_of(leader)}: " + "; ".join(
        f"{name_of(one)} is {_behind(gap)}" for one, gap in gaps
    )
    claim = f"Still undecided: {names}."
    if race.is_over:
        claim = f"{race.n_rounds} repeats cannot separate {names}."
        more = f"a higher --max-repeats, up to {MOST_ROUNDS}, continues"
        more = more if race.most < MOST_ROUNDS else "more repeats are not worth the time"
        numbers += f". Take the leader, or the cheapest of them; {more}"
    return Finding("undecided", claim, f"{numbers}.")


def _dropped(race: Race, dropped: Sequence[Contender]) -> Finding:
    """The configurations that were dropped, when, and why."""
    words = []
    for one in sorted(dropped, key=lambda one: (one.dropped or 0, one.place)):
        reason = "failed or diverged"
        if one.by is not None and (gap := race.gap(one, race.contenders[one.by])) is not None:
            reason = f"{points(gap.mean)} points worse than {name_of(race.contenders[one.by])}"
        words.append(f"{name_of(one)} after repeat {one.dropped} ({reason})")
    n_all = len(race.contenders)
    claim = f"{len(dropped)} of {n_all} configurations were dropped."
    if len(dropped) == 1:
        claim = f"One of {n_all} configurations was dropped."
    return Finding("dropped", claim, f"{capital(listed(words))}.")


def _certainty(race: Race, n_trained: int, n_valid: int) -> Finding:
    """What the race guarantees, what it does not, and what it cost."""
    most = len(race.contenders) * race.most
    share = f"; repeating all {race.most} times takes {most}" if n_trained < most else ""
    return Finding(
        "certainty",
        f"At most {100 * ALPHA:.0f} % of such races drop the best configuration.",
        f"This holds for the mean over seeds on these {n_valid:,} validation images. They may have "
        "chosen the configurations; `mnist-lab test` uses other images. Intervals are of "
        "differences on equal seeds and allow for every look and every configuration. The race "
        f"took {counted(n_trained, 'training')}{share}.",
    )


def name_of(one: Contender) -> str:
    """A contender in words: its place in the order given, from 1."""
    return f"configuration {one.place + 1}"
