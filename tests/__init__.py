"""The tests. A package, so that no installed package that brings ``tests`` of its own hides it."""
