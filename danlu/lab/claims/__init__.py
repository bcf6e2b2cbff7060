"""Claims of the field: read (``book``), run (``experiment``), judged (``verdict``), written up (``page``)."""
