"""Claims of the field: as written (``claim``), read (``book``), run (``proof``), judged (``verdict``),
written up (``page``)."""
