"""The doctor: `fpm-listener check`.

Reads configurations and reports findings. It changes nothing.
Start with `check`. Each rule is a function or a row of a table in a `rules_` module; its text is in
findings.txt.
"""
