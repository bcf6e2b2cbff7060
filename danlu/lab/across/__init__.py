"""An idea over sizes: the rungs (``rungs``), the rates of each side (``rates``), the study (``study``), what
came out of it (``answer``), what the ledger is told (``book``), and how it is shown (``terminal``,
``report``)."""

from danlu.lab.across.answer import Across, Scaled
from danlu.lab.across.study import Question, try_across

__all__ = ["Across", "Question", "Scaled", "try_across"]
