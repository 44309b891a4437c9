"""scripts/test counts what it is told: nothing that failed can look as if it had passed."""
import importlib.machinery
import importlib.util
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def runner(tmp_path, monkeypatch):
    loader = importlib.machinery.SourceFileLoader("runner", str(ROOT / "scripts/test"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("runner", loader))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    monkeypatch.setattr(module, "LOGS", tmp_path / "logs")
    return module


def test_cmocka_words_are_counted(runner):
    text = "[==========] Running 5 test(s).\n[  PASSED  ] 3 test(s).\n[  FAILED  ] 2 test(s), listed below:\n"
    assert runner.cmocka_counts({"result": "FAIL", "stdout": text}) == (3, 2)
    assert runner.cmocka_counts({"result": "OK", "stdout": "[  PASSED  ] 12 test(s).\n"}) == (12, 0)


def test_a_program_that_dies_is_a_failure(runner):
    assert runner.cmocka_counts({"result": "FAIL", "stdout": "[  PASSED  ] 12 test(s).\n"}) == (12, 1)
    assert runner.cmocka_counts({"result": "TIMEOUT"}) == (0, 1)
    assert runner.cmocka_counts({"result": "OK"}) == (1, 0)


def test_a_last_line_is_believed_only_with_its_exit_status(runner):
    assert runner.last_counts("x", 0, "ok\n4 passed, 0 failed\n").passed == 4
    assert not runner.last_counts("x", 0, "4 passed, 0 failed\n").failed
    assert runner.last_counts("x", 1, "4 passed, 0 failed\n").failed
    assert runner.last_counts("x", 0, "4 passed, 0 failed\nSegmentation fault\n").failed
    assert len(runner.last_counts("x", 1, "FAIL a\nFAIL b\n2 passed, 2 failed\n").failed) == 2
    assert runner.last_counts("x", 0, "").failed


def test_pytest_failures_errors_and_skips_are_failures(runner, tmp_path):
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_x.py").write_text("import pytest\n"
                                     "def test_good(): pass\n"
                                     "def test_bad(): assert 0\n"
                                     "def test_skipped(): pytest.skip('no')\n"
                                     "@pytest.fixture\ndef broken(): raise OSError\n"
                                     "def test_error(broken): pass\n")
    result = runner.pytest("x", tests, tmp_path)
    assert result.passed == 1
    assert sorted(name.split(".")[-1] for name, _ in result.failed) == ["test_bad", "test_error", "test_skipped"]


def test_what_this_machine_cannot_do_is_listed_and_fails_nothing(runner, tmp_path, capsys):
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_x.py").write_text("import pytest\n"
                                     "def test_good(): pass\n"
                                     "def test_kernel(): pytest.skip('not here: an old kernel')\n")
    result = runner.pytest("x", tests, tmp_path)
    assert result.passed == 1 and not result.failed
    runner.show("x", result, 1)
    assert "--- NOT TRIED x: " in capsys.readouterr().out.partition("an old kernel")[0]


def test_no_tests_at_all_is_a_failure(runner, tmp_path):
    (tmp_path / "tests").mkdir()
    assert runner.pytest("x", tmp_path / "tests", tmp_path).failed


def test_a_command_that_hangs_is_stopped_and_fails(runner):
    status, text = runner.run([sys.executable, "-c", "import time; time.sleep(60)"], "x.log", timeout=0.2)
    assert status == "timeout"
    assert "stopped after" in text
