"""The settings file and what an operator decides in it.

Values and their defaults. Nothing here acts on them.
Start with `settings`; each receiver's section is in `receivers`.
"""
