"""Everything that lies on disk, as typed and frozen documents: recipe, run, artifact, measurement.

Add here a new document or a new field of one; its file formats are contracts with what users have.
Never imports torch, nor any room but ``support``: what only reads starts fast and needs no torch.
"""
