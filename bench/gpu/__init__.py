"""The first contact with a GPU: what it alone can say about danlu, in at most eight minutes.

``python -m bench.gpu`` starts one process a section. ``__main__`` knows the sections, the clock and the table
and needs nothing but Python; each other module is one section or a few that belong together; ``place`` is
what sections share.
"""
