"""Which programs supervisord has, which of them are php-fpm, and what php-fpm's configuration says.

Laws:
1. supervisord's own file comes first, read by its own parser: it has all and needs no XML-RPC. The
   live answer of supervisord is the second way.
2. What cannot be read is said once, and never stops the listener.
"""

from __future__ import annotations
