"""The report's page: a section is a file with a function ``section`` of what the report is made of
(``inputs``).

Add here a section, then name it in ``commands/report.py``; or a block of the page. Never imports
torch, or anything that trains, lowers or measures.
"""
