"""The figures of a sweep: learning curves, and the error and time of each filter size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mnist_lab.analysis.comparing import compare, gains, timed
from mnist_lab.analysis.outcomes import GOAL
from mnist_lab.plots import page
from mnist_lab.plots.labels import End, label_ends, look, remark, wrapped
from mnist_lab.plots.page import BOTTOM, GREY, LEFT, styled
from mnist_lab.words import budget_text, capital, epochs_text, in_words, listed, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnist_lab.analysis.outcomes import Spread, SummaryRow
    from mnist_lab.plots.page import Caption


@styled()
def learning_curves(rows: Sequence[SummaryRow], varied: str, caption: Caption) -> Figure:
    """Errors by epoch, one colour per value: validation solid, training thin and dashed."""
    validated = [one.curve("valid_error") for one in rows]
    tops = [point for curve in validated for point in curve if point]
    points = tops + [point for one in rows for point in one.curve("train_error") if point]
    repeated = any(point.n > 1 for point in tops)
    band = "; band: mean ± standard deviation" if repeated else ""
    key = f"Solid: validation after each epoch; dashed: training during it{band}."
    figure = page.new_page(_verdict(rows, varied, caption), key, caption, height=4.6)
    axes = page.add_axes(figure, LEFT, BOTTOM, 5.1, 3.6)
    page.percent_axis(axes, [*(point.mean for point in points), *map(_top, tops)])
    page.integer_axis(axes, max(map(len, validated), default=0))
    axes.set(xlabel="epoch", ylabel="error")
    ends = [_draw_curve(axes, row, index) for index, row in enumerate(rows)]
    if not points:
        page.say(axes, "no trial has finished an epoch" if rows else "no trial yet")
    elif varied == "learning_rate" and axes.get_ylim()[0] < GOAL < axes.get_ylim()[1]:
        axes.axhline(GOAL, color=GREY, linewidth=0.8, zorder=1)
        ends.append(End("90 % accuracy", GREY, "", axes.get_xlim()[1], GOAL))
    label_ends(axes, ends)
    return figure


def _verdict(rows: Sequence[SummaryRow], varied: str, caption: Caption) -> str:
    """Which value has the lowest error at the end, and which may be as good."""
    names, compared = in_words(varied), compare(rows, caption.n_valid)
    if compared is None:
        return f"Error by {names}"
    best = compared.rows[0]
    reached = f"{percent(best.mean)} after {epochs_text(best.configuration.epochs)}"
    if len(rows) == 1:
        return f"{capital(best.title)}: {reached}"
    if compared.rivals:
        listed_names = listed([best.name, *(row.name for row in compared.rivals)])
        return f"{capital(names)}s {listed_names}: lowest errors, too close to call"
    # Lowest after every epoch, and not at the end alone.
    curves = {row.name: row.curve("valid_error") for row in rows}
    leads = all(
        mine is not None and (other is None or mine.mean <= other.mean)
        for curve in curves.values()
        for mine, other in zip(curves[best.name], curve, strict=False)
    )
    if varied == "learning_rate" and leads:
        return f"Learning rate {best.name} learns fastest: {reached}"
    return f"{capital(names)} {best.name} has the lowest error: {reached}"


def _draw_curve(axes: Axes, row: SummaryRow, index: int) -> End:
    """One value's lines and band; returns the label for their end."""
    color, marker = look(index)
    valid, train = row.curve("valid_error"), row.curve("train_error")
    every = row.positions
    style = "_--" if len(every) == 1 else "--"  # a dashed line of one point is invisible
    trained, validated = (
        [point.mean if point else math.nan for point in points] for points in (train, valid)
    )
    axes.plot(every, trained, style, color=color, linewidth=0.8)
    axes.plot(every, validated, marker=marker, markersize=3.5, color=color)
    band = [
        (epoch, point.mean - point.sd, point.mean + point.sd)
        for epoch, point in zip(every, valid, strict=True)
        if point and point.sd is not None
    ]
    if band:
        epochs, low, high = zip(*band, strict=True)
        axes.fill_between(epochs, low, high, color=color, alpha=0.18, linewidth=0)
    reached = every[-1] if every else 0
    is_early = 0 < reached < row.budget
    early = f"ends at epoch {budget_text(reached)} of {budget_text(row.budget)}" if is_early else ""
    last = valid[-1] if valid else None
    text = f"{row.name}: {percent(last.mean, last.sd)}" if last else row.name
    # Where no image validates, the label stands at the end of the training error.
    end = last or (train[-1] if train else None)
    label = wrapped(text, remark(row.tally), early)
    return End(label, color, marker, reached, end.mean if end else None)


@styled()
def filter_cost(rows: Sequence[SummaryRow], caption: Caption) -> Figure:
    """Final validation error against the seconds an epoch takes, a marker for each filter size."""
    repeated = any(len(row.errors) > 1 for row in rows)
    bars = " Dots: repeats; bars: mean ± standard deviation." if repeated else ""
    key = f"Lower is better, further left is faster.{bars}"
    figure = page.new_page(_bargain(rows, caption), key, caption, height=4.6)
    axes = page.add_axes(figure, LEFT, BOTTOM, 5.1, 3.6)
    axes.set(xlabel="seconds per epoch (median)", ylabel="validation error after the last epoch")
    axes.set_xlim(0, 1.1 * max((row.seconds_per_epoch or 0.0 for row in rows), default=0) or 1)
    tops = [_top(row.error) for row in rows if row.error]
    page.percent_axis(axes, [*(error for row in rows for error in row.errors), *tops], below=0.05)
    if not any(row.errors for row in rows):
        page.say(axes, "no trial is complete" if rows else "no trial yet")
    label_ends(axes, [_draw_cost(axes, row, index) for index, row in enumerate(rows)])
    return figure


def _bargain(rows: Sequence[SummaryRow], caption: Caption) -> str:
    """Which filter size is worth its time, and what the lowest error costs."""
    compared = compare(rows, caption.n_valid)
    found = gains(compared) if compared else []
    if compared is None or not found:
        return "Error and time of each filter size"

    def seconds(row: SummaryRow) -> float:
        return row.seconds_per_epoch or 0.0

    fastest, (_, best) = found[0].over, timed(compared.rows)[0]
    worthy = next((one.row for one in reversed(found) if one.is_shown), fastest)
    if worthy is not best:
        share = seconds(worthy) / seconds(best)
        of = f"takes {100 * share:.0f} % of its time"
        return f"{worthy.name} may be as good as {best.name}, and {of}"
    if best is fastest:
        return f"{best.name} has the lowest error and is the fastest"
    times = f"{seconds(best) / seconds(fastest):.2g} times as long as {fastest.name}"
    return f"{best.name} has the lowest error and takes {times}"


def _draw_cost(axes: Axes, row: SummaryRow, index: int) -> End:
    """One filter size's marker, bar and repeats; returns its label."""
    color, marker = look(index)
    seconds, error = row.seconds_per_epoch, row.error
    if seconds is None or error is None:
        return End(wrapped(row.name, remark(row.tally)), color, marker, 0, None)
    if error.n > 1:
        axes.plot([seconds] * error.n, row.errors, ".", color=color, alpha=0.4)
    axes.errorbar(seconds, error.mean, error.sd, marker=marker, color=color, capsize=5)
    text, cost = f"{row.name}: {percent(error.mean, error.sd)}", f"{seconds:.3g} s per epoch"
    return End(wrapped(text, cost, remark(row.tally)), color, marker, seconds, error.mean)


def _top(point: Spread) -> float:
    """The upper end of a bar or band: mean + standard deviation."""
    return min(1.0, point.mean + (point.sd or 0.0))
