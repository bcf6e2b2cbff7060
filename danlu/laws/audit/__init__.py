"""An audit of points before a fit of them is believed; a file a subject.

``dependence``: rows of one run or size. ``sources``: mixed ones. ``groups``: rows off the law together.
``shape``: lack of fit, and what the design cannot tell.
"""

from danlu.laws.audit.whole import Audit, Decision, audit

__all__ = ["Audit", "Decision", "audit"]
