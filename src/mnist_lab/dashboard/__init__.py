"""All runs below a folder in the browser, live: a server that only reads.

Who asks must hold the secret of the address that is printed; no request names a file, and nothing
that a run says is trusted.
"""

from mnist_lab.dashboard.server import serve

__all__ = ["serve"]
