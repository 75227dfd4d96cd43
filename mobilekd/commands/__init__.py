"""The commands, one file each with a function of the file's name; ``mobilekd`` offers them.

Add here a command: what it checks before it starts, then calls into the rooms below. Only
``compare`` (which evaluates what was not evaluated yet), ``demo``, ``design`` (which trains what it
ranks) and ``sweep`` run other commands; all others meet in folders on disk.
"""
