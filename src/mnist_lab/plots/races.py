"""The figure of a race: how far behind the leader each configuration is, repeat after repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter

from mnist_lab.plots import page
from mnist_lab.plots.labels import End, label_ends, look, wrapped
from mnist_lab.plots.page import BOTTOM, GREY, INK, LEFT, styled
from mnist_lab.racing import FEWEST
from mnist_lab.words import counted, percent, short, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnist_lab.config import TrainConfig
    from mnist_lab.plots.page import Caption
    from mnist_lab.racing import Contender, Gap, Race


@styled()
def race(race: Race, configurations: Sequence[TrainConfig], caption: Caption) -> Figure:
    """Mean differences from the leader on equal seeds; dropped ones are grey and end early."""
    key = (
        "Mean difference from the leader on equal seeds, above 0 is worse; band and bar: down to "
        f"the lower end of the interval, from repeat {FEWEST} on; grey, ×: dropped as worse."
    )
    figure = page.new_page(_claim(race), key, caption, height=4.6)
    axes = page.add_axes(figure, LEFT, BOTTOM, 4.9, 3.6)
    axes.set(xlabel="repeats", ylabel="error above the leader's, in points")
    page.integer_axis(axes, max(race.n_rounds, 1))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{100 * value:+.3g}" if value else "0")
    )
    if race.leader is None:
        page.say(axes, "no repeat is complete" if race.left else "all failed or diverged")
        return figure
    ends, heights = [], [0.0]
    for one in race.contenders:
        end, reached = _draw(axes, race, one, configurations[one.place])
        ends.append(end)
        heights += reached
    low, high = min(heights), max(heights)
    margin = 0.08 * (high - low) or 0.001
    axes.set_ylim(low - margin, high + margin)
    label_ends(axes, ends)
    return figure


def _claim(race: Race) -> str:
    """What the race shows, as the title."""
    repeats, leader = counted(race.n_rounds, "repeat"), race.leader
    if leader is None:
        return "No configuration wins" * (not race.left) or "The race has just begun"
    name = f"Configuration {leader.place + 1}"
    if len(race.left) == 1:
        return f"{name} wins after {repeats}"
    end = "remain undecided" if race.is_over else "are left"
    return f"{name} leads; {len(race.left)} of {len(race.contenders)} {end} after {repeats}"


def _draw(
    axes: Axes, race: Race, one: Contender, configuration: TrainConfig
) -> tuple[End, list[float]]:
    """One configuration's line and band; returns its label, and which heights must be seen."""
    leader, last = race.leader, len(one.errors)
    assert leader is not None  # noqa: S101 - asked by the caller
    color, marker = look(one.place)
    color = GREY if one.dropped else color
    name = f"{one.place + 1}: {short(configuration)}"
    if one is leader:
        axes.plot((0, race.n_rounds), (0, 0), color=color)
        shown = percent(sum(one.known) / len(one.known)) if one.known else ""
        label = wrapped(name, f"{'wins' if len(race.left) == 1 else 'leads'}, error {shown}")
        return End(label, color, marker, race.n_rounds, 0.0), []
    gaps = [(n, gap) for n in range(1, last + 1) if (gap := race.gap(one, leader, n)) is not None]
    if not gaps:
        return End(wrapped(name, "failed or diverged"), color, marker, last, None), []
    rounds, means = [n for n, _ in gaps], [gap.mean for _, gap in gaps]
    axes.plot(rounds, means, color=color, marker=marker, markersize=3.5)
    sure: list[tuple[int, Gap]] = [(n, gap) for n, gap in gaps if gap.half < 1]
    if sure:
        if not one.dropped:
            axes.fill_between(
                [n for n, _ in sure],
                [gap.mean - gap.half for _, gap in sure],
                [gap.mean for _, gap in sure],
                color=color,
                alpha=0.12,
                linewidth=0,
            )
        n, gap = sure[-1]
        lower = gap.mean - gap.half
        axes.plot((n, n), (gap.mean, lower), "-_", color=color, linewidth=1, markevery=[1])
    if one.dropped:
        axes.plot(rounds[-1], means[-1], "x", color=INK, markersize=8)
    ended = f"dropped after {one.dropped}" if one.dropped else "undecided"
    if one.dropped and one.by is None:
        ended += ", failed or diverged"
    label = wrapped(name, f"{signed(means[-1])}, {ended}")
    # The first bands may be so wide that nothing else would be seen.
    seen = [*means, *(gap.mean - gap.half for _, gap in sure[-1:])]
    return End(label, color, marker, rounds[-1], means[-1]), seen
