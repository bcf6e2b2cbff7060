"""danlu for agents over the Model Context Protocol: ten tools, and studies that other processes carry out.

questions (what may be asked, and the command that asks it) · inside (nothing outside of the working folder) ·
price (what a study takes, before it starts) · keeper (the process that carries out one study, within its
limits) · studies (handles: start, status, stop; the budget) · told (which held-out text a question is of;
Holm over a session; digests) · verdicts, reading (answers) · cut (answers are short) · tools (their names and
arguments) · server (the SDK, which nothing else here imports).
"""
