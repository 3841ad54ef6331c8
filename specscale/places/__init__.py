"""Where files are, on this machine or elsewhere: reading and writing them, and who holds a folder."""
