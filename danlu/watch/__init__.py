"""A live page over a folder of runs and studies (``danlu watch``), for one person on this machine.

- ``serve``: the server, its address and its keys; ``guard``: who may ask for what
- ``app``: which address shows what; ``page``: how a page is put together
- ``place``: the folder, its runs, studies and ledger, each known by an id
- ``runs``, ``run``, ``compared``, ``studies``, ``sweeps``, ``queue``, ``kept``: what the pages show
- ``live``: what has changed, as events

Needs the extra ``watch``. No torch here: what is shown is read from files.
"""
