"""What every room stands on: errors, whole files, progress, provenance.

Add here what any program of this kind would need and what knows nothing of photographs, students or
phones. Imports no other room and, beside rich, no third-party library.
"""
