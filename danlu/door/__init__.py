"""The front door in Python: what ``import danlu`` offers, thin over the rooms below, as the verbs are.

experiment (words and keywords → an experiment) · run (train one, open one) · history (its metrics as
columns) · progress (how it is followed) · ideas, sweep, ladder, runs (the verbs of the lab) · record (what
they answer, by attribute). Nothing is imported here, and PyTorch only where a model is trained or loaded.
"""
