"""`check` finds what `php-fpm -t` rejects, and `--fix-preview` breaks nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fpm_listener.doctor import check, report
from fpm_listener.doctor.host_facts import Host
from tests.broken_configs import ENVIRONMENT, generate
from tests.check_parity import compare, nobody, verdict
from tests.integration.doctor.test_fix_preview import apply

if TYPE_CHECKING:
    from pathlib import Path

PHP_FPM = os.environ.get("PHP_FPM", "/usr/sbin/php-fpm8.2")


def test_generated_configurations(tmp_path: Path) -> None:
    """No rejection is missed, no accepted configuration is called rejected; then the preview.

    After the preview has been applied, php-fpm accepts what it accepted, and `check` finds nothing
    that it did not find before. `make check-parity` does the same with many configurations.
    """
    answers = compare(generate(13, 60), PHP_FPM, tmp_path)
    assert [str(one) for one in answers if one.problem] == []
    assert 10 < sum(one.accepted for one in answers) < 50

    conf = str(tmp_path / "supervisord.conf")
    before = check.check(conf, Host(), ENVIRONMENT, search=nobody)
    apply(report.preview(before))
    after = check.check(conf, Host(), ENVIRONMENT, search=nobody)
    for answer, main in zip(answers, sorted(tmp_path.glob("c*/php-fpm.conf")), strict=True):
        if answer.accepted:
            assert verdict(PHP_FPM, main)[0], main.read_text()
            own = f"{main.parent}/"
            new, old = (
                {(one.id, one.what) for one in found if one.where.startswith(own)}
                for found in (after, before)
            )
            assert new <= old, main.read_text()
