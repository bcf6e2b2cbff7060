"""Any training program judged as the lab judges its own ideas.

The file (``plan``, ``words``); what is asked, by content (``question``, ``git``); trees made ready
(``trees``); one run (``process``, ``reading``, ``runs``); the seed (``seeds``); the rate (``tuning``); blocks
and rungs (``blocks``, ``scale``); the verdict (``findings``, ``answer``, ``book``); how it is shown
(``terminal``, ``report``).
"""

from danlu.lab.referee.answer import Answer
from danlu.lab.referee.study import referee

__all__ = ["Answer", "referee"]
