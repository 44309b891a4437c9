"""The manual says what the programs do: no key, option or command without a word in it."""
import re
import subprocess

import pytest

from harness import BUILD, POSTRIDER, ROOT

COMMANDS = ["queue", "trace", "explain", "codes", "send", "check"]


def test_every_configuration_key_is_in_the_manual():
    page = (BUILD / "src/conf/postrider.conf.5").read_text().replace("\\-", "-").replace("\\_", "_")
    keys = re.findall(r'^(?:KEY|WORD)\(\w+, "(\w+)"', (ROOT / "src/conf/keys.def").read_text(), re.M)
    assert len(keys) > 50
    assert not [key for key in keys if not re.search(rf"\b{key}\b", page)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_in_its_manual(command):
    said = subprocess.run([str(POSTRIDER), command, "--help"], capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"(--[a-z-]+)", said))
    page = (ROOT / f"man/postrider-{command}.1").read_text().replace("\\-", "-")
    assert options
    assert not [option for option in options if option not in page]


@pytest.mark.parametrize("name", ["postriderd.8", "postrider.1", "sendmail.1",
                                  *[f"postrider-{command}.1" for command in COMMANDS]])
def test_every_page_has_its_sections(name):
    page = (ROOT / "man" / name).read_text()
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION"):
        assert re.search(rf"(?m)^\.S[Hh] {section}", page), section
