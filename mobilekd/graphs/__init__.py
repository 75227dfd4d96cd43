"""Networks as graphs, read and rewritten: torch's (``torch_graph``), a ``.pte`` file's (``pte``), a
Core ML package's (``mil``), and the arithmetic that int8 files do.

Add here what looks into a network without knowing why. Never imports students, backends or
quantisation.
"""
