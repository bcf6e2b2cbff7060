"""Training: the loop and all that surrounds it; ``danlu.train.run.train`` is the way in.

Nothing is imported here: the verbs that only read use ``danlu.train.folder`` without PyTorch.
"""
