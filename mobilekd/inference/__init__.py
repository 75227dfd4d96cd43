"""Answers of a finished student, wherever it comes from, and the photographs that it is judged on.

Add here another source of answers or of labelled photographs. Never imports training or lowering.
"""
