"""Execution: the loop of a run, the contents of its journal, and the workers, here or elsewhere."""
