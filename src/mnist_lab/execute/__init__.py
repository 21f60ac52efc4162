"""Who executes: the loop of a run, what its journal knows, and the workers, here or elsewhere."""
