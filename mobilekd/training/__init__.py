"""One training loop for teachers and students, with what it needs: data at hand, schedules, teachers at work."""
