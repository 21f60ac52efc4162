"""A run's trials as rows and cells."""

from __future__ import annotations

from made_events import failed, proposed, run_info, started, study_settings, whole_trial

from mnist_lab import views
from mnist_lab.records import fold


def test_states() -> None:
    """What is not finished waits or runs while somebody trains it, and is stopped otherwise."""
    trials = fold([*whole_trial(1), proposed(2), started(2), failed(2), proposed(3)])
    trials += fold([proposed(4), started(4)])
    for state, expected in (("running", ("waiting", "running")), ("stopped", ("stopped",) * 2)):
        info = run_info(state=state)
        table = views.trial_table(info, trials, ("state", "epoch", "s/epoch"))
        assert [row[0].text for row in table.rows] == ["complete", "failed", *expected]
        assert table.rows[1][2] == views.Cell("–", None)
        assert (table.trials, table.best) == ([1, 2, 3, 4], {1})
        assert [one.trial for one in views.unfinished(info, trials)] == [4] * (state == "running")


def test_best() -> None:
    """The lowest mean of a sweep, with its spread; of two repeats without an interval."""
    info = run_info(settings=study_settings(repeats=2))
    assert views.best(info, []) is None
    assert not views.best_in_words(info, [])
    for second, words in ((0.02, "2.00 ± 0.00 %"), (0.03, "2.50 ± 0.71 %")):
        made = [*whole_trial(1, 0.02), *whole_trial(2, second)]
        trials = fold([*made, *whole_trial(3, 0.2, learning_rate=0.01)])
        found = views.best(info, trials)
        assert found is not None
        assert found.interval() is None
        assert found.configuration.learning_rate == trials[0].configuration.learning_rate
        assert views.trial_table(info, trials, ("trial",)).best == {1, 2}
        (line,) = views.best_in_words(info, trials)
        assert line.endswith(f", validation error {words} (n = 2)")
