"""HpBandSter's master, made resumable: what the journal knows is answered without training.

The master starts from the beginning each time, with the same seed. A configuration whose result
stands in the journal is answered from it at once; only the others reach a worker. So resuming is
replaying, for every way of proposing configurations.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hpbandster.core import master as hpbandster_master
from hpbandster.core.dispatcher import Job

from mnist_lab.engine.dispatcher import Dispatcher
from mnist_lab.records import Failed, Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpbandster.core.base_iteration import BaseIteration

    from mnist_lab.engine.ledger import Ledger
    from mnist_lab.engine.proposals import Proposals


class Stopped(Exception):
    """The master was told to stop."""


class Master(hpbandster_master.Master):  # type: ignore[misc]  # HpBandSter is untyped
    """Decides what to train next, and keeps the ledger.

    Args:
        proposals: who proposes the configurations.
        ledger: answers what was trained before, and takes what is trained now.
        on_note: called with a line about a worker that a person may want to know.
        run_id: of the HpBandSter run.
        host: the address to listen on.
        nameserver: address of the nameserver.
        nameserver_port: its port.
    """

    def __init__(
        self,
        *,
        proposals: Proposals,
        ledger: Ledger,
        on_note: Callable[[str], None],
        run_id: str,
        host: str,
        nameserver: str,
        nameserver_port: int,
    ) -> None:
        # HpBandSter's own __init__ would start its own dispatcher, so its attributes are set here.
        self.logger = logging.getLogger("hpbandster")
        self.result_logger = None
        self.config_generator = proposals
        self.working_directory = ""
        self.time_ref: float | None = None
        self.config: dict[str, Any] = {"time_ref": None}
        self.iterations: list[BaseIteration] = []
        self.warmstart_iteration: list[BaseIteration] = []
        self.num_running_jobs = 0
        # A job for each worker, and none waiting: the next proposal may know one result more.
        self.user_job_queue_sizes = self.job_queue_sizes = (-1, 0)
        self.dynamic_queue_size = True
        self.thread_cond = threading.Condition()

        self.failure: BaseException | None = None
        self.work_wanted = threading.Event()
        self._proposals = proposals
        self._ledger = ledger
        self._stopping = False
        self.dispatcher = Dispatcher(
            new_result_callback=self.job_callback,
            queue_callback=self.adjust_queue_size,
            on_start=ledger.started,
            on_epoch=ledger.epoch,
            on_note=on_note,
            run_id=run_id,
            host=host,
            nameserver=nameserver,
            nameserver_port=nameserver_port,
        )
        self.dispatcher_thread = threading.Thread(
            target=self.dispatcher.run, name="dispatcher", daemon=True
        )
        self.dispatcher_thread.start()

    def run_guarded(self) -> None:
        """Run all iterations; what ends them too early is kept in `failure`."""
        try:
            self.run(self._proposals.n_iterations, min_n_workers=0)
        except Stopped:
            pass
        except BaseException as failure:  # noqa: BLE001 - told by the thread that watches this one
            self.failure = failure
        finally:
            # HpBandSter takes the lock by hand, and leaves with it when anything is raised.
            with suppress(RuntimeError):
                self.thread_cond.release()

    def stop(self) -> None:
        """Make :meth:`run` return soon; jobs that run are left alone."""
        self._stopping = True
        with self.thread_cond:
            self.thread_cond.notify_all()

    def get_next_iteration(self, iteration: int, iteration_kwargs: dict[str, Any]) -> BaseIteration:
        """The next of HpBandSter's iterations, as the proposals make it."""
        del iteration_kwargs  # HpBandSter's own result logger, which is not used
        return self._proposals.iteration(iteration)

    def job_callback(self, job: Job) -> None:
        """Write the result of a trial down, and let HpBandSter decide what it means."""
        if job.exception is not None:
            self._ledger.failed(job.id, int(job.kwargs["budget"]), _last_line(job.exception))
        else:
            outcome = Result.model_validate_json(job.result["info"]["outcome"])
            self._ledger.finished(
                job.id,
                int(job.kwargs["budget"]),
                outcome,
                job.result["info"]["model"],
            )
        if job.exception is not None or job.kwargs["budget"] == self._budgets_of(job.id)[-1]:
            self._ledger.over(job.id)
        super().job_callback(job)

    def _queue_wait(self) -> None:
        """Wait for a free worker; HpBandSter calls this before each decision."""
        while not self._stopping:
            idle = self.num_running_jobs == 0 or self.num_running_jobs < self.job_queue_sizes[1]
            # Answers from the journal need no worker.
            if idle or self._ledger.replaying:
                return
            self.thread_cond.wait()
        raise Stopped

    def _submit_job(self, config_id: Any, config: dict[str, Any], budget: float) -> None:
        """Answer from the journal what it knows; hand the rest to a worker."""
        if budget != self._budgets_of(config_id)[0]:
            self._drop_beaten(config_id[0])
        info = self.iterations[config_id[0]].data[config_id].config_info
        trial, known = self._ledger.proposed(config_id, config, info, int(budget))
        self.num_running_jobs += 1
        if known is None:
            self.work_wanted.set()
            self.dispatcher.submit_job(
                config_id,
                config=config,
                budget=budget,
                working_directory=self.working_directory,
                trial=trial.model_dump_json(),
            )
            return
        job = Job(config_id, config=config, budget=budget)
        if isinstance(known, Failed):
            job.exception = known.reason
        else:
            job.result = {"loss": known.loss, "info": {}}
        super().job_callback(job)

    def _budgets_of(self, config_id: Any) -> tuple[int, ...]:
        """The budgets of a trial's rungs, from the one that it was proposed at."""
        budgets: tuple[int, ...] = self.iterations[config_id[0]].budgets[config_id[1] :]
        return budgets

    def _drop_beaten(self, iteration: int) -> None:
        """Trials that were not promoted with the others of their rung are over."""
        for config_id, datum in self.iterations[iteration].data.items():
            if datum.status == "TERMINATED":
                self._ledger.over(config_id)


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]
