"""The words in Chinese about the size of a pool: the same rows as in size_en.py."""

from __future__ import annotations

SIZES = {
    "size_fits": "{where}最多容纳 {fits} 个工作进程",
    "size_none": "{where}连一个工作进程也容纳不下",
    "size_container": "本容器",
    "size_host": "本机",
    "size_configured": "，已配置 {most} 个",
    "size_basis": "（自 {since} 起测量了 {workers} 个工作进程{last}）",
    "size_last": "，最近一次在 {age} 前",
    "size_unknown": "能容纳多少个工作进程未知：{why}",
    "size_why_unmeasured": "尚未测量",
    "size_why_no_limit": "无法读取内存上限",
    "size_why_no_usage": "无法读取 {subject} 的已用内存",
    "size_why_few_workers": "进程池 {subject} 中处理过需要 1 MiB 内存的请求的工作进程太少",
    "size_why_no_max_children": "进程池 {subject} 的 pm.max_children 未知",
    "size_why_not_followed": "监听器未跟踪共用内存的另一个 php-fpm（{subject}）",
    "size_peak": "最近 24 小时的峰值：{peak} 个工作进程忙碌（自 {since} 起采样 {samples} 次）",
    "size_waited": "，其间有客户端等待",
    "size_sentence": "进程池 {pool}：{lines}。",
    "grow_unknown": "先确定内存能容纳多少个工作进程，再调大 pm.max_children：fpm-listener status",
    "grow_to": "将进程池 {pool} 的 pm.max_children 调大到不超过 {fits}",
    "grow_full": "先增加内存，再调大进程池 {pool} 的 pm.max_children：最多容纳 {fits} 个"
    "工作进程，已配置 {most} 个",
    "grow_shared_to": "将 process.max（所有进程池合计最多 {most} 个工作进程）调大到不超过 {fits}",
    "grow_shared_full": "先增加内存，再调大 process.max：它将所有进程池合计限制为 {most} 个"
    "工作进程，而内存最多容纳 {fits} 个",
    "grow_shared_unknown": "process.max 将所有进程池合计限制为 {most} 个工作进程",
    "grow_none": "增加内存：进程池 {pool} 连一个工作进程也容纳不下",
    "lower_unknown": "调小 pm.max_children 或 memory_limit",
    "lower_to": "将 pm.max_children 设为不超过 {pools}，调小 memory_limit",
    "lower_pool": "{fits}（进程池 {pool}）",
    "lower_more": "，另有 {count} 个（fpm-listener status 可列出）",
    "lower_none": "进程池 {pool} 连一个工作进程也容纳不下：调小 memory_limit",
    "lower_fits": "查明哪些请求或其他程序占用大量内存：按测量结果，"
    "已配置的工作进程都能容纳。调小 memory_limit",
}
