"""The web server: metrics, health, status page.

Serves over HTTP what `status` renders. Slow clients cannot block others.
Start with `application`, then `server`.
"""
