"""Points from files as people have them: which table, which columns, in which units."""

from danlu.laws.files.read import Column, Read, read

__all__ = ["Column", "Read", "read"]
