"""One training loop for teachers and students, with what it needs: data at hand, schedules,
teachers at work.

Add here what takes part in an epoch. Never imports lowering, backends or the report.
"""
