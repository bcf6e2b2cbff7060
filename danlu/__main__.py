"""``python -m danlu`` is the command ``danlu``."""

from danlu.cli.main import main

main()
