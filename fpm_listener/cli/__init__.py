"""The commands that people type, except `listen` and `guard`.

Parses arguments, calls other packages, prints.
Start with `arguments`.
"""
