"""Drawing: charts as SVG, pages that hold everything they show, curves in a terminal. No dependency."""

from danlu.draw.chart import Chart
from danlu.draw.page import Table, page
from danlu.draw.terminal import text_chart
from danlu.draw.xml import text

__all__ = ["Chart", "Table", "page", "text", "text_chart"]
