"""Drawing: charts as SVG, pages that hold everything they show, curves in a terminal. No dependency."""

from danlu.draw.chart import Chart
from danlu.draw.notebook import Displayed
from danlu.draw.page import Link, Table, page
from danlu.draw.terminal import text_chart
from danlu.draw.xml import text

__all__ = ["Chart", "Displayed", "Link", "Table", "page", "text", "text_chart"]
