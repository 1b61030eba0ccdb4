"""The host side of a run: its folder, files, figures and pictures."""
