"""Runs for other tools: written from their folders, outside the training process (``danlu publish``).

rows.py        the one reader: rows as they come, and those that a resumed run took back
exporter.py    the contract of an exporter; entry points ``danlu.exporters``
memory.py      what was published already, beside the target
carry_out.py   the runs, one look after another
tables.py      CSV, Parquet
tensorboard.py, mlflow.py, wandb.py, trackio.py   by those tools' own libraries
"""

from danlu.lab.publish.carry_out import Published, publish
from danlu.lab.publish.exporter import Exporter

__all__ = ["Exporter", "Published", "publish"]
