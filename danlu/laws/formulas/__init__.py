"""The laws: one module for a law or a family, each with its formula, its derivatives and its paper."""
