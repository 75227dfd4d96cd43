"""What the scripts of this folder make pages of: the code, and the files of results."""
