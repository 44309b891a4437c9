"""What `make install` lays down works where it lies."""
import os
import stat
import subprocess

import pytest

from harness import BUILD, POSTRIDERD, message


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that stands for / of a machine with everything installed."""
    root = tmp_path_factory.mktemp("root")
    done = subprocess.run(["meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet"], capture_output=True,
                          text=True, check=False, env=dict(os.environ, DESTDIR=str(root)))
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def find(root, name):
    path, = [p for p in root.rglob(name) if p.is_file()]
    return path


def test_the_installed_server_takes_mail(installed, make_server, monkeypatch):
    program = find(installed, "postriderd")
    assert program.parent.name == "sbin" and program.stat().st_size == POSTRIDERD.stat().st_size
    monkeypatch.setattr("harness.POSTRIDERD", program)
    server = make_server().start()
    server.submit(message("installed"), to="alice@example.com")
    server.wait_mail("alice")


def test_the_example_configuration_is_installed_and_good(installed):
    example = find(installed, "postrider.conf.example")
    done = subprocess.run([find(installed, "postrider"), "check", "-c", example], capture_output=True, text=True,
                          check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", ["postrider.1", "postriderd.8", "postrider.conf.5", "postrider-replies.7",
                                  "postrider-log.5", "libsmtpcodes.3", "sendmail.1"])
def test_every_program_and_table_has_its_page(installed, page):
    assert find(installed, page).parent.name == "man" + page[-1]


def test_l1_no_program_gets_rights_by_being_started(installed):
    for path in installed.rglob("*"):
        assert not path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWGRP | stat.S_IWOTH) or \
            path.is_symlink(), path


def test_sendmail_stands_where_scripts_call_it(installed):
    assert find(installed, "sendmail").parent.name == "sbin"
    assert os.access(find(installed, "sendmail"), os.X_OK)
