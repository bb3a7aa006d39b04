"""The doctor: `fpm-listener check`.

Reads configurations and reports findings. It changes nothing.
Start with `check`; each rule is a function in a `rules_` module.
"""
