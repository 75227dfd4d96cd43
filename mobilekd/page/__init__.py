"""The report's page: each file is one section, a pure function of manifests and measurements.

Add here a section or a block of the page. Never imports torch, or anything that trains, lowers or
measures.
"""
