"""Fixtures of the end-to-end tests; what they are made of stands in harness.py."""
import itertools
import shutil
import signal
import sys

import pytest

sys.dont_write_bytecode = True

from certificates import Authority # noqa: E402
from harness import Dovecot, Peer, Postrider, RawPeer, Recorder, Sink, new_folder # noqa: E402
from relay import NAME # noqa: E402

# Whoever runs the tests in the background of a script has them ignore it, and what they start would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout: seconds after which a test is stopped")


def pytest_collection_modifyitems(items):
    # A hanging test must not hang the run; slow ones name their own limit.
    for item in items:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(120))


def pytest_terminal_summary(terminalreporter):
    """Figures that a test recorded, for who reads the log."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "figures" and report.when == "call":
                terminalreporter.write_line(f"{report.nodeid}: {value}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    item.failed = getattr(item, "failed", False) or report.failed


@pytest.fixture
def tmp_path(request):
    """Instead of pytest's own, which other accounts cannot reach. What a failed test left stays there."""
    folder = new_folder()
    yield folder
    if not getattr(request.node, "failed", False):
        shutil.rmtree(folder, ignore_errors=True)


class Folders:
    """Instead of pytest's own, which other accounts cannot reach."""

    def __init__(self):
        self.made = []

    def mktemp(self, basename):
        self.made.append(new_folder(f"postrider-test.{basename}."))
        return self.made[-1]


@pytest.fixture(scope="session")
def tmp_path_factory(request):
    """For what several tests of a file share. All of it stays when a test failed."""
    folders = Folders()
    yield folders
    for folder in folders.made if not request.session.testsfailed else []:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_server(tmp_path):
    """Makes servers, each in its own folder; all are stopped and looked at when the test ends."""
    made, numbers = [], itertools.count(1)

    def make(**configuration):
        server = Postrider(tmp_path / f"p{next(numbers)}")
        made.append(server)
        return server.configure(**configuration)

    yield make
    faults = []
    for server in made:
        try:
            server.finish()
        except AssertionError as fault:
            faults.append(str(fault))
    assert not faults, "\n".join(faults)


@pytest.fixture
def server(make_server):
    """A running server with the plain configuration."""
    return make_server().start()


def stopping(kind):
    @pytest.fixture
    def make():
        made = []

        def one(*args, **kw):
            made.append(kind(*args, **kw))
            return made[-1]
        yield one
        for peer in made:
            peer.stop()
    return make


make_peer = stopping(Peer)
make_raw_peer = stopping(RawPeer)
make_sink = stopping(Sink)
make_recorder = stopping(Recorder)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def good(authority):
    """What a next hop should show."""
    return authority.make("peer", [f"DNS:{NAME}"])


@pytest.fixture
def dovecot():
    made = Dovecot()
    yield made
    made.stop()
