"""Models of other programs in and out: ``from_huggingface``, ``from_gguf`` and ``to_huggingface``.

A family (one ``model_type`` of transformers) is a table, not a class of models. To add one, write
``danlu/interop/families/NAME.py`` with a ``Family``, and name it in ``danlu/interop/families/__init__.py``
(the order there decides which family a model is written as, if several have it):

1. ``always``: the fields of the specification (dotted, without ``model.``) that every member has; what
   neither ``always`` nor ``fields`` say is the specification's default.
2. ``fields``: a row for every field of ``config.json`` (``danlu.interop.fields``): ``Field("hidden_size",
   "width", 768)`` with transformers' own default; ``Field(..., words)`` where values are called otherwise;
   ``Only(x=False)`` for an option of which danlu has one value; ``Rope``; ``Custom(read, write)`` where
   fields hang together; ``Ignored`` for what never alters the logits. ``vocabulary`` and ``context`` stand
   beside the fields of the specification. A field that no row names is refused, so name all.
   Rows are read in their order: a ``Custom`` finds in ``config.patch`` what earlier ones said.
3. ``tensors``: ``Map(theirs, ours)`` of modules (weight, bias; a norm's gain is their weight) or of single
   tensors, ``{i}`` for the layer. A row holds where the danlu model has ``ours``, so that biases and gated
   parts need no conditions; ``when`` where the names depend on the specification. ``rows`` and ``order``
   (``families/common.py``: ``qkv``, ``by_group``) for queries, keys and values that are apart, or mixed.

Writing is the same table backwards: nothing else is to be done. Whether a model is of a family is decided by
writing its specification (in its normal form, ``danlu.interop.normal``) as a config and reading it back.
Layers that differ stand in the normal form under ``pattern``, a list of all layers' mixer, position and
feed_forward (None where all are equal); ``pattern`` of the patch is a specification's.

``tests/interop/family.py`` has the checks that every family goes through.
"""

from danlu.interop.errors import InteropError
from danlu.interop.gguf import from_gguf
from danlu.interop.huggingface import Imported, from_huggingface, to_huggingface

__all__ = ["Imported", "InteropError", "from_gguf", "from_huggingface", "to_huggingface"]
