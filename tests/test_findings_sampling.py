"""What is said about a search space's draws is right, for ranges, choices and conditions."""

from __future__ import annotations

import math
from typing import Any

from mnist_lab.analysis.sampling import SampledHyperparameter
from mnist_lab.findings.sampling import examples, sampling

# Whole numbers from 2 to 5: two octaves of the same probability.
MASSES = (0.3, 0.2, 0.25, 0.25)
WHOLE = SampledHyperparameter(
    "num_filters",
    "log",
    2,
    5,
    (),
    [2, 3, 3, 5],
    edges=(1.5, 2.5, 3.5, 4.5, 5.5),
    masses=MASSES,
    whole=True,
)
EDGES = tuple(1e-4 * 10 ** (row / 10) for row in range(31))
RATE = SampledHyperparameter(
    "learning_rate", "log", 1e-4, 0.1, (), [1e-4, 1e-2], edges=EDGES, masses=(1 / 30,) * 30
)
CHOICE = SampledHyperparameter("filter_size", "choice", None, None, (3, 5), [3, 3, 3, 5])


def said(*hyperparameters: SampledHyperparameter, **asked: int) -> dict[str, str]:
    """What is said, by topic."""
    return dict(sampling(hyperparameters, asked or None))


def test_whole_numbers() -> None:
    """Each octave, the median, the powers of two: expected, and drawn."""
    assert said(WHOLE)["number of filters"] == (
        "2 to 5, logarithmic: 2 to 3 with 50.0 % (drawn 75.0 %) and 4 to 5 with 50.0 % (drawn "
        "25.0 %). The median is 3 (drawn 3); without log it would be 4. The powers of two are 2 of "
        "4 values, with 55.0 % (drawn 25.0 %) together."
    )
    assert "does not mean powers of two" in said(WHOLE)["log"]


def test_value_that_was_asked_for() -> None:
    """How rare it is, how often it was drawn, and which value is the likeliest."""
    assert said(WHOLE, num_filters=5)["ordinary"] == (
        "5 filters is an ordinary draw. 5 filters: one draw in 4 (drawn 1 time in 4), number 2 of "
        "4 values by probability, expected 12 times in a search of 50; the likeliest, 2, comes "
        "once in 3."
    )
    assert "the likeliest" not in said(WHOLE, num_filters=2)["ordinary"]


def test_value_that_was_drawn() -> None:
    """If nothing is asked for, it is the first draw that is no power of two."""
    batch = WHOLE._replace(name="batch_size", draws=[2, 4])
    assert {name: one.value for name, one in examples([WHOLE, batch, RATE, CHOICE]).items()} == {
        "num_filters": 3,
        "batch_size": 2,
    }
    assert said(WHOLE, batch)["ordinary"].startswith("3 filters and batch size 2 are ordinary")
    assert "ordinary" not in said(WHOLE._replace(draws=[]), RATE)


def test_long_range() -> None:
    """Many doublings are told together: nine whole ones, and how the draws differ."""
    assert said(RATE)["learning rate"] == (
        "0.0001 to 0.1, logarithmic: each of its 9 whole doublings has 10.0 % (drawn 0.00 % to "
        "50.0 %). The median is 0.00316 (drawn 0.01); without log it would be 0.0501."
    )


def test_linear_and_others() -> None:
    """Without log, and where the distribution is another, only what holds is said."""
    linear = RATE._replace(name="dropout", scale="linear", lower=0.0, edges=EDGES)
    assert said(linear) == {
        "dropout": f"0 to 0.1, linear. The median is {EDGES[15]:.3g} (drawn 0.01)."
    }
    normal = said(RATE._replace(distribution="normal"))
    assert "log" not in normal
    assert normal["learning rate"].startswith("0.0001 to 0.1, logarithmic, normal: 0.0001 to ")
    assert "without log" not in normal["learning rate"]


def test_choices_conditions_and_what_is_forbidden() -> None:
    """Shares are of the draws in which it is active; what is forbidden moves them."""
    rare: dict[str, Any] = {"draws": [2], "forbids": True}
    found = said(CHOICE, WHOLE._replace(**rare))
    assert (
        found["filter size"]
        == "2 choices: 3 with 50.0 % (drawn 75.0 %) and 5 with 50.0 % (drawn 25.0 %)."
    )
    assert found["number of filters"].endswith(
        "Active in 25.0 % of the draws, of which these are the shares. What is expected is before "
        "the forbidden combinations."
    )
    likely = said(CHOICE._replace(probabilities=(0.7, 0.3)))["filter size"]
    assert "3 with 70.0 % (drawn 75.0 %)" in likely


def test_no_draws() -> None:
    """What was never active has what is expected, and nothing that was drawn."""
    for one in (WHOLE, RATE, CHOICE):
        text = " ".join(said(one._replace(draws=[])).values())
        assert "drawn" not in text
        assert "%" in text
    assert math.isclose(sum(MASSES), 1)
