"""Teachers: networks that were trained before the student, and answers of them that were kept.

Add here what makes, checks, speeds up or stores one teacher. Never imports the training loop, which
puts several together.
"""
