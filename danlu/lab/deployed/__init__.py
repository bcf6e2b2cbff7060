"""A trained run written anew, for use: ``danlu export --fold``, ``danlu quantize``.

folder (the run that is written, whole or not at all) · batch_norms (precise statistics, norms folded away).
"""
