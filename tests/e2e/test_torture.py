"""SIGKILL at the system calls of a message's life, as many points as half a minute holds; tests/torture/torture.py
--all takes every one."""
import os
import re
import subprocess

import pytest

from harness import ROOT

SECONDS = 25


@pytest.mark.timeout(400)
def test_every_250_is_kept_wherever_a_role_is_killed(record_property):
    done = subprocess.run([str(ROOT / "tests/torture/torture.py"), "--seconds", str(SECONDS), "--workers", "6"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=os.environ, check=False)
    assert done.returncode == 0, done.stdout
    points = int(re.search(r"(?m)^(\d+) points, 0 violations\Z", done.stdout.strip()).group(1))
    assert points >= 20, done.stdout
    record_property("figures", done.stdout.strip().splitlines()[-2])
