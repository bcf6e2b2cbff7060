"""What is inside a network: the statistics of gradients, weights, activations and attention, each in one
place.

table (what each statistic is, no torch) · numbers (of any tensor) · attending (of a call of attention) ·
watching (of danlu's blocks in a pass) · weighing (of weights and gradients, by part).

``train.internals_every``, the measures of the lab and ``danlu inspect`` all take them from here. Values are
flat: ``{"kurtosis/blocks.0": 1.2}``, statistic and layer.
"""
