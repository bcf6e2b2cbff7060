"""Everything that touches a file or prints what a file said: readers with limits, atomic writes, locks, the
guard against overwriting, the escaping of control characters. The lowest room: no torch, no pydantic.
"""
