"""Run directories -> one self-contained HTML page, which opens anywhere and asks nobody.

Nothing in it is trusted: text becomes HTML through markupsafe alone, figures are images, and the
page's own policy lets no script run but the two that it is made with, and no address be asked.
"""

from mnist_lab.report.charts import Reported
from mnist_lab.report.page import page

__all__ = ["Reported", "page"]
