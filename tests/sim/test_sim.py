"""The simulator itself: a short run of fixed seeds is good, the same seed gives the same run, and a disk that syncs
nothing is caught."""
import subprocess
import sys

SIM = sys.argv[1]
# How many worlds a short run has; the sanitizers' build has a suite of its own for many.
WORLDS = sys.argv[2]


def run(*arguments):
    done = subprocess.run([SIM, *arguments], capture_output=True, text=True, timeout=900, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_short_run_keeps_every_promise():
    status, text = run("--runs", WORLDS)
    assert status == 0, text
    assert f"{WORLDS} runs, seeds 1 to {WORLDS}, 0 failed" in text


def test_worlds_in_which_something_went_wrong_once_are_good():
    for seed in ("458", "1295", "1303", "2247", "3943"):
        status, text = run("--seed", seed)
        assert status == 0, text


def test_the_same_seed_gives_the_same_run():
    for seed in ("3", "8", "13", "20"):
        first, second = run("--seed", seed), run("--seed", seed)
        assert first == second
        assert "hash" in first[1]
    assert run("--seed", "3")[1] != run("--seed", "8")[1]


def test_the_trace_of_a_run_does_not_change_it():
    assert run("--seed", "5")[1].splitlines()[-1] == run("--seed", "5", "--trace")[1].splitlines()[-1]


def test_a_disk_that_syncs_nothing_is_caught():
    # One of the first twenty starts the queue 8,000 times, and finds nothing; the fortieth finds what was never synced.
    status, text = run("--runs", "200", "--first", "41", "--disk", "liar", "--until-failure")
    assert status == 1
    assert "--disk liar" in text
    # By what was lost, not by an accident.
    assert any(word in text for word in ("is not in the Maildir any more", "given twice", "neither delivered"))


def test_scenes_tell_their_retries_and_judge_them():
    # With so few a second has many times the mean by chance alone: which is said.
    status, text = run("--scene", "dead-site", "--count", "200")
    assert status == 1
    assert "retries come in a burst" in text


def test_silent_sites_keep_nobody_waiting():
    status, text = run("--scene", "silent-sites", "--count", "2000")
    assert status == 0, text


def test_wrong_options_are_refused():
    for wrong in ([], ["--scene", "armageddon"],
                  ["--runs", "0"], ["--disk", "floppy", "--runs", "1"], ["--seed", "1", "--runs", "2"]):
        assert run(*wrong)[0] == 64


def main():
    failed = 0
    for name, test in sorted(globals().items()):
        if not name.startswith("test_"):
            continue
        try:
            test()
            print(f"ok {name}")
        except AssertionError as error:
            failed += 1
            print(f"not ok {name}: {error}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
