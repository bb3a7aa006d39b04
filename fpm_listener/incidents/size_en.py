"""The words in English about the size of a pool. `size_texts` uses them.

`grow_…` and `lower_…` are parts of remedies.
"""

from __future__ import annotations

SIZES = {
    "size_fits": "at most {fits} workers fit into {where}",
    "size_none": "not even one worker fits into {where}",
    "size_container": "this container",
    "size_host": "this host",
    "size_configured": "; {most} are configured",
    "size_basis": " ({workers} workers measured since {since}{last})",
    "size_last": ", the last one {age} ago",
    "size_unknown": "it is unknown how many workers fit: {why}",
    "size_why_unmeasured": "they were not measured yet",
    "size_why_no_limit": "the limit of the memory cannot be read",
    "size_why_no_usage": "the memory in use of {subject} cannot be read",
    "size_why_few_workers": "too few workers of pool {subject} have served a request that needs "
    "1 MiB",
    "size_why_no_max_children": "pm.max_children of pool {subject} is unknown",
    "size_why_not_followed": "the listener does not follow another php-fpm that shares the memory "
    "({subject})",
    "size_peak": "peak of the last 24 h: {peak} busy workers ({samples} samples since {since})",
    "size_waited": ", and clients waited",
    "size_sentence": " Pool {pool}: {lines}.",
    "grow_unknown": "find out how many workers fit into the memory before you raise "
    "pm.max_children: fpm-listener status",
    "grow_to": "raise pm.max_children of pool {pool} to at most {fits}",
    "grow_full": "add memory before you raise pm.max_children of pool {pool}: at most {fits} "
    "workers fit, and {most} are configured",
    "grow_none": "add memory: not even one worker of pool {pool} fits",
    "grow_shared_to": "raise process.max, which limits all pools together to {most} workers, to at "
    "most {fits}",
    "grow_shared_full": "add memory before you raise process.max: it limits all pools together to "
    "{most} workers, and at most {fits} fit",
    "grow_shared_unknown": "process.max limits all pools together to {most} workers",
    "lower_unknown": "Lower pm.max_children or memory_limit",
    "lower_to": "Set pm.max_children to at most {pools}, lower memory_limit",
    "lower_pool": "{fits} (pool {pool})",
    "lower_more": " and {count} more (fpm-listener status shows them)",
    "lower_none": "Not even one worker of pool {pool} fits: lower memory_limit",
    "lower_fits": "Find requests and other programs that need much memory: as measured, all "
    "configured workers fit. Lower memory_limit",
}
