"""The table of experiments: what each one varies, its defaults, and its help.

`--help` reads it, so it imports nothing heavy. Defaults are defined only here: the functions of
:mod:`mnist_lab.study`, the command line's options and a settings file's keys use them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

# The exercise sheet's network and training.
BASE: dict[str, Any] = {
    "learning_rate": 0.1,
    "batch_size": 128,
    "num_filters": 16,
    "filter_size": 3,
    "momentum": 0.0,
    "dropout": 0.0,
    "weight_decay": 0.0,
    "epochs": 12,
}
# In the place of a default: the option must be given.
REQUIRED = ...


class Experiment(NamedTuple):
    """A row of the table."""

    question: str  # at the head of a report
    help: str  # of the command, with examples
    defaults: dict[str, Any]  # its own options in the order of the help, with underscores
    varies: str | None = None  # the hyperparameter of a sweep; its values are in the defaults
    words: dict[str, str] = {}  # noqa: RUF012 - of options that mean something else elsewhere
    next: str = "hyperband"  # what follows where no search was made yet

    @property
    def is_search(self) -> bool:
        """Whether it is about a search space: draws from it, or repeats the best of those."""
        return bool({"space", "runs"} & set(self.defaults))


# As good as fifty trials of six epochs with a tenth of their epochs, replayed on recorded curves
# (docs/performance.md). One bracket alone answers first; one survivor would have one seed's luck.
_HALVING = {
    "iters": 1,
    "min_epochs": 1 / 8,
    "max_epochs": 8,
    "eta": 8,
    "survivors": 2,
    "space": None,
}
_BRACKETS = {"iters": "Brackets to train; a later call may raise it."}

EXPERIMENTS = {
    "lr-sweep": Experiment(
        "Which learning rate?",
        """Train with several learning rates and compare.

        \b
        mnist-lab lr-sweep
        mnist-lab lr-sweep --values 0.1,0.03 --repeats 5
        mnist-lab lr-sweep --data sample --epochs 2     try it in 20 seconds
        """,
        {"values": (0.1, 0.01, 0.001, 0.0001), "epochs": 12, "repeats": 1},
        varies="learning_rate",
        words={"values": "Learning rates to compare."},
        next="filter-sweep",
    ),
    "filter-sweep": Experiment(
        "Which filter size, and what does it cost?",
        """Train with several filter sizes and compare error and time.

        \b
        mnist-lab filter-sweep
        mnist-lab filter-sweep --values 3,5 --repeats 5
        mnist-lab filter-sweep --learning-rate 0.001 --out results/filter-sweep-0.001
        """,
        {
            "values": (1, 3, 5, 7),
            "learning_rate": BASE["learning_rate"],
            "epochs": 12,
            "repeats": 1,
        },
        varies="filter_size",
        words={"values": "Filter sizes to compare, 1 to 28."},
    ),
    "random-search": Experiment(
        "Which configuration of the search space?",
        """Train configurations drawn at random from a search space.

        \b
        mnist-lab random-search
        mnist-lab random-search --iters 80                     30 more
        mnist-lab random-search --space configs/wide-space.json
        """,
        {"iters": 50, "epochs": 6, "space": None},
    ),
    "hyperband": Experiment(
        "Which configuration of the search space, if only the best train for long?",
        """Train many configurations briefly and continue the best.

        \b
        mnist-lab hyperband
        mnist-lab hyperband --dry-run       what it would train
        mnist-lab hyperband --iters 3       two more brackets
        mnist-lab hyperband --min-epochs 1/16 --max-epochs 18 --eta 4

        Each iteration is a bracket. The first one trains 64 configurations for 1/8 of an epoch,
        the best 8 of them for 1 epoch, and the best 2 of those for 8 epochs. Promoted trials resume
        from their checkpoints. The second bracket starts with 8 configurations at 1 epoch, the
        third with 3 at 8 epochs; then they repeat. Selections within the first epoch use the
        validation loss, later ones the validation error. --dry-run shows the brackets that other
        options make.
        """,
        _HALVING,
        words=_BRACKETS,
    ),
    "bohb": Experiment(
        "Which configuration of the search space, if a model proposes and only the best train "
        "for long?",
        """Hyperband, guided by a model of the results so far.

        \b
        mnist-lab bohb
        mnist-lab bohb --iters 6 --space configs/wide-space.json

        The brackets are those of `mnist-lab hyperband`. The model starts when 10 results of one
        budget are known (with four hyperparameters). A third of the configurations stay random.
        """,
        _HALVING,
        words=_BRACKETS,
    ),
    "race": Experiment(
        "Which of the best configurations is really the best?",
        """Repeat the best until one wins.

        \b
        mnist-lab race results/random-search
        mnist-lab race results/hyperband results/bohb --top 3
        mnist-lab race --config one.json --config other.json

        Trains the best configurations of runs and files from the same seeds, one seed after
        another. From the fifth seed on, it drops those that are clearly worse than another. The
        race ends when one is left, or after --max-repeats.
        """,
        {"runs": (), "config": (), "top": 5, "epochs": None, "max_repeats": 20},
        words={
            "config": "A configuration to include; repeat it for several.",
            "epochs": "Epochs of each training. [default: each configuration's own]",
        },
    ),
    "train": Experiment(
        "How well does this configuration train?",
        """Train one configuration and keep the model.

        \b
        mnist-lab train
        mnist-lab train --learning-rate 0.05 --momentum 0.9 --epochs 20
        """,
        BASE,
    ),
    "test": Experiment(
        "How good is this configuration on images that no decision has seen?",
        """Retrain a configuration and score it on the test images.

        \b
        mnist-lab test --config results/random-search/best.json
        mnist-lab test --config best.json --epochs 20 --repeats 10
        """,
        {"config": REQUIRED, "epochs": None, "fit_on": "train+valid", "repeats": 1},
        words={"epochs": "Epochs of each training. [default: the configuration's]"},
    ),
}


def function_name(experiment: str) -> str:
    """The experiment's function in a notebook: `lr_sweep` of `lr-sweep`."""
    return experiment.replace("-", "_")
