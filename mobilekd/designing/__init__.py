"""A student for a latency: candidates of a family, what each costs on a device, which one learns
best.

Add here a family, a kind of operator or a way to rank. ``commands/design.py`` tells the story from
top to bottom. Never imports commands.
"""
