"""Where the cells of a sweep run: as processes of this machine, or on the nodes of a Ray cluster.

Add here another place (``place`` has its protocol). A cell itself is a process that
``commands.sweep`` answers for; nothing here trains, and nothing here imports torch.
"""
