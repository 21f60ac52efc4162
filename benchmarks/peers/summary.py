"""From the record of the benchmark to its table (markdown) and its figure."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

from contract import N_TRAIN
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from mnist_lab.config import TrainConfig, forward_multiplications
from mnist_lab.plots.page import BLUE, GREY, ORANGE, save, styled

if TYPE_CHECKING:
    from pathlib import Path

    from contract import Configuration
    from matplotlib.axes import Axes

TITLES = {
    "hpbandster": "model.fit + HpBandSter",
    "kerastuner": "KerasTuner",
    "optuna": "Optuna + PyTorch",
    "joblib": "joblib + Keras",
    "ours-float32": "mnist-lab float32",
    "ours-bfloat16": "mnist-lab bfloat16",
}
# What the others are compared with: the script that people write.
REFERENCE = "hpbandster"
N_VALID = 10_000


class Share(NamedTuple):
    """How near an epoch comes to the speed of a matrix product, one thread against one thread."""

    configuration: str
    precision: str
    gflop: float
    epoch_s: float
    of_alone: float  # with the other cores idle
    of_all_cores: float  # with a matrix product on every core


def epoch_gflop(config: TrainConfig) -> float:
    """Billions of additions and multiplications of an epoch, its validation included.

    The backward pass multiplies twice as often as the forward pass: for the gradients of the
    weights and of the layer's input; the images need none.
    """
    forward = 2 * forward_multiplications(config)
    first = 2 * 28**2 * config.filter_size**2 * config.num_filters
    return (N_TRAIN * (3 * forward - first) + N_VALID * forward) / 1e9


def shares(record: dict[str, Any]) -> list[Share]:
    """Ours, for each network and batch size, from the median epoch of all runs."""
    epochs: dict[tuple[str, TrainConfig], list[float]] = {}
    for run in record["runs"]:
        precision = run["peer"].removeprefix("ours-")
        if precision == run["peer"]:
            continue
        configurations = record["works"][run["work"]]["configurations"]
        for configuration, answer in zip(configurations, run["configurations"], strict=True):
            # The learning rate changes no operation.
            key = precision, TrainConfig(**configuration | {"learning_rate": 0.1})
            epochs.setdefault(key, []).extend(answer["epoch_s"])
    found = []
    for (precision, config), times in epochs.items():
        peaks = [one for one in record["peaks"] if one["precision"] == precision]
        epoch_s, gflop = statistics.median(times), epoch_gflop(config)
        alone, all_cores = (
            gflop / epoch_s / statistics.median(one[how] for one in peaks)
            for how in ("alone", "all_cores")
        )
        found.append(Share(_network(config), precision, gflop, epoch_s, alone, all_cores))
    return sorted(
        found, key=lambda one: (one.gflop, one.configuration, one.precision == "bfloat16")
    )


def write(record: dict[str, Any], out: Path) -> str:
    """Write peers.md, peers.png and peers.svg; returns the table."""
    parts = [_head(record)]
    for work in _works(record):
        parts += [_costs(record, work), _errors(record, work)]
    if found := shares(record):
        parts.append(_roofline(record, found))
    text = "\n".join(parts)
    (out / "peers.md").write_text(text, encoding="utf-8")
    for suffix, content in save(_draw(record, found)).items():
        (out / f"peers.{suffix}").write_bytes(content)
    return text


def _head(record: dict[str, Any]) -> str:
    host, versions = record["machine"], record["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in ("python", "tensorflow", "keras"))
    others = ", ".join(sorted({one for lines in record["requirements"].values() for one in lines}))
    systems = ", ".join(sorted({one["system"] for one in record["runs"]}))
    return (
        "# mnist-lab and its peers\n\n"
        f"{host['cores']} cores, {host['processor']}, {host['memory_gib']} GiB; {systems}. Medians "
        "of whole processes, from the command to its end (smallest to largest); the order "
        "alternates. "
        f"Memory: {record['memory']}.\n\nOurs: {named}. Peers: {others}.\n"
    )


def _costs(record: dict[str, Any], work: str) -> str:
    listed, by_peer = record["works"][work], _by_peer(record, work)
    lines = [
        f"## {listed['title']}\n",
        "| | n | seconds | times as fast | CPU seconds | peak memory in MiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    reference = _median(by_peer[REFERENCE], "wall_s") if REFERENCE in by_peer else None
    for peer, runs in by_peer.items():
        walls = [run["wall_s"] for run in runs]
        middle = statistics.median(walls)
        times = f"{reference / middle:.2f}" if reference else ""
        lines.append(
            f"| {TITLES[peer]} | {len(runs)} | {middle:.1f} ({min(walls):.1f} to {max(walls):.1f})"
            f" | {times} | {_median(runs, 'cpu_s'):.0f} | {_median(runs, 'peak_mib'):.0f} |"
        )
    return "\n".join(lines) + "\n"


def _errors(record: dict[str, Any], work: str) -> str:
    by_peer = _by_peer(record, work)
    titles = " | ".join(TITLES[peer] for peer in by_peer)
    lines = [
        "Validation error after the last epoch in %, median over the runs' seeds:\n",
        f"| configuration | {titles} |",
        "| --- |" + " --- |" * len(by_peer),
    ]
    for number, configuration in enumerate(record["works"][work]["configurations"]):
        errors = [
            statistics.median(run["configurations"][number]["valid_error"] for run in runs)
            for runs in by_peer.values()
        ]
        cells = " | ".join(f"{100 * error:.2f}" for error in errors)
        lines.append(f"| {_configuration(configuration)} | {cells} |")
    return "\n".join(lines) + "\n"


def _roofline(record: dict[str, Any], found: list[Share]) -> str:
    peaks = "; ".join(
        f"{precision} {_median(those, 'alone'):.0f} alone, {_median(those, 'all_cores'):.0f} with "
        "one on every core"
        for precision in ("float32", "bfloat16")
        if (those := [one for one in record["peaks"] if one["precision"] == precision])
    )
    lines = [
        "## Share of the peak\n",
        (
            "Operations of an epoch (50,000 images trained, 10,000 validated) per second, against "
            f"a matrix product of 4096² by one thread, in GFLOP/s: {peaks}. Trials run one per "
            "core.\n"
        ),
        "| network | precision | GFLOP an epoch | s an epoch | of one alone | of all cores busy |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.configuration} | {one.precision} | {one.gflop:.0f} | {one.epoch_s:.2f} | "
        f"{one.of_alone:.0%} | {one.of_all_cores:.0%} |"
        for one in found
    ]
    return "\n".join(lines) + "\n"


@styled()
def _draw(record: dict[str, Any], found: list[Share]) -> Figure:
    """Seconds of each work on top, shares of the peak below."""
    works = _works(record)
    networks = list(dict.fromkeys(one.configuration for one in found))
    heights = [2.4, 0.5 + 0.22 * len(networks)] if found else [2.4]
    n_runs = {len(runs) for work in works for runs in _by_peer(record, work).values()}
    n = " to ".join(map(str, sorted({min(n_runs), max(n_runs)})))
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.1)
    figure = Figure(figsize=(3 + 2.6 * max(len(works), 2), sum(heights) + 1), layout=layout)
    figure.suptitle(
        f"Median of n = {n} whole processes (line: smallest to largest), and their peak memory",
        fontsize=10,
    )
    rows = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, work in zip(rows[0].subplots(1, len(works), squeeze=False)[0], works, strict=True):
        _draw_costs(axes, record, work, first=work == works[0])
    if found:
        _draw_shares(rows[1].subplots(), found, networks)
    return figure


def _draw_costs(axes: Axes, record: dict[str, Any], work: str, *, first: bool) -> None:
    by_peer = _by_peer(record, work)
    longest = max(run["wall_s"] for runs in by_peer.values() for run in runs)
    for row, peer in enumerate(TITLES):
        if peer not in by_peer:
            continue
        walls = [run["wall_s"] for run in by_peer[peer]]
        middle = statistics.median(walls)
        axes.barh(row, middle, 0.62, color=BLUE if peer.startswith("ours") else "#B8BEC4")
        axes.plot([min(walls), max(walls)], [row, row], color=GREY, lw=1)
        memory_gib = _median(by_peer[peer], "peak_mib") / 1024
        text = f"{middle:.0f} s, {memory_gib:.1f} GiB"
        axes.text(max(walls) + 0.03 * longest, row, text, va="center", fontsize=8)
    axes.set_title(record["works"][work]["title"], fontsize=9, loc="left")
    axes.set(xlabel="seconds", xlim=(0, 1.62 * longest))
    axes.set_axisbelow(True)
    axes.set_yticks(range(len(TITLES)), list(TITLES.values()) if first else [""] * len(TITLES))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _draw_shares(axes: Axes, found: list[Share], networks: list[str]) -> None:
    for precision, color, marker in (("float32", BLUE, "o"), ("bfloat16", ORANGE, "s")):
        those = [one for one in found if one.precision == precision]
        axes.plot(
            [100 * one.of_all_cores for one in those],
            [networks.index(one.configuration) for one in those],
            marker,
            color=color,
            label=precision,
        )
    axes.set_title(
        "mnist-lab: share of the speed of a matrix product, both on every core at once",
        fontsize=9,
        loc="left",
    )
    axes.set(xlabel="% of the matrix product in the same precision", xlim=(0, None))
    axes.set_yticks(range(len(networks)), networks)
    axes.set_ylim(len(networks) - 0.4, -0.6)
    axes.legend(frameon=False)


def _works(record: dict[str, Any]) -> list[str]:
    """Those with a run, in their order."""
    done = {run["work"] for run in record["runs"]}
    return [work for work in record["works"] if work in done]


def _by_peer(record: dict[str, Any], work: str) -> dict[str, list[dict[str, Any]]]:
    """The runs of each peer, in the order of the titles."""
    by_peer = {
        peer: [run for run in record["runs"] if (run["work"], run["peer"]) == (work, peer)]
        for peer in TITLES
    }
    return {peer: runs for peer, runs in by_peer.items() if runs}


def _median(runs: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(run[key] for run in runs))


def _network(config: TrainConfig) -> str:
    size = config.filter_size
    return f"batch {config.batch_size}, {config.num_filters} filters {size}×{size}"


def _configuration(configuration: Configuration) -> str:
    rate = configuration["learning_rate"]
    return f"learning rate {rate:g}, {_network(TrainConfig(**configuration))}"
