"""Peer: `model.fit` in a HpBandSter worker, the script that people write for this exercise.

As HpBandSter's first example: nameserver, one worker in a thread, optimizer, one process. What a
user has to know today: values go to the worker as native Python ones, as NumPy's (which ConfigSpace
returns for integers and choices) hang 0.7.4 for ever; and both budgets are set to the same number,
else each configuration is counted at several.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import contract
import hpbandster.core.nameserver as hpns
from ConfigSpace import ConfigurationSpace
from hpbandster.core.base_config_generator import base_config_generator
from hpbandster.core.worker import Worker
from hpbandster.optimizers import RandomSearch
from keras_fit import train

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contract import Answer, Arrays, Configuration, Work

HOST = "127.0.0.1"

# As in HpBandSter's examples; else each of its objects logs at level DEBUG.
logging.basicConfig(level=logging.WARNING)


class KerasWorker(Worker):  # type: ignore[misc]  # HpBandSter is untyped
    """Trains what it is given."""

    def __init__(self, arrays: Arrays, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arrays = arrays
        self.seed = seed

    def compute(self, config: Configuration, budget: float, **_: Any) -> dict[str, Any]:
        """The loss is the validation error after `budget` epochs."""
        answer = train(config, int(budget), self.seed, self.arrays)
        return {"loss": answer["valid_error"], "info": answer}


class Given(base_config_generator):  # type: ignore[misc]  # HpBandSter is untyped
    """Proposes given configurations instead of random ones."""

    def __init__(self, configurations: Iterable[Configuration]) -> None:
        super().__init__()
        self._left = iter(configurations)

    def get_config(self, budget: float) -> tuple[Configuration, dict[str, Any]]:
        """The next one."""
        del budget
        return next(self._left), {}


def search(data: str, work: Work) -> list[Answer]:
    """Let HpBandSter's random search propose the configurations one after the other."""
    nameserver = hpns.NameServer(run_id=work.name, host=HOST, port=0)
    _, port = nameserver.start()
    there = {"run_id": work.name, "nameserver": HOST, "nameserver_port": port}
    KerasWorker(contract.load(data), work.seed, **there).run(background=True)
    optimizer = RandomSearch(
        configspace=ConfigurationSpace(), min_budget=work.epochs, max_budget=work.epochs, **there
    )
    optimizer.config_generator = Given(work.configurations)
    result = optimizer.run(n_iterations=len(work.configurations))
    optimizer.shutdown(shutdown_workers=True)
    nameserver.shutdown()
    runs = sorted(result.get_all_runs(), key=lambda one: one.config_id)
    return [one.info for one in runs]


if __name__ == "__main__":
    contract.run(search)
