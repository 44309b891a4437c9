"""What tests/walk/mutants and tests/sim/mutants share: one replacement in a copy of one file, compiled as the build
compiles that file, and linked into a program in place of it. The tree and its build are never changed.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Stale(Exception):
    """The text that a mutant replaces does not stand there exactly once."""


def parser(doc):
    it = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="a build of the tree (build/)")
    it.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants at one time")
    it.add_argument("--sample", type=int, help="so many of them")
    it.add_argument("name", nargs="*")
    return it


def choose(it, args, table, sampled):
    """The names that were asked for; for a sample as many of `sampled`, spread over it."""
    unknown = [name for name in args.name if name not in table]
    if unknown:
        it.error(f"no mutant {unknown[0]}; there are {' '.join(table)}")
    if args.name or not args.sample:
        return args.name or list(table)
    sampled = list(sampled)
    return sampled[::max(1, len(sampled) // args.sample)][:args.sample]


def check_build(it, build, program):
    """A build that is older than the tree would be another one."""
    done = subprocess.run(["ninja", "-C", build, "-n", program], capture_output=True, text=True, check=False)
    if "no work to do" not in done.stdout:
        it.error(f"{build} is no build of the tree as it is: run make")


def mutated(file, old, new):
    text = (ROOT / file).read_text()
    if text.count(old) != 1:
        raise Stale(f"its text stands {text.count(old)} times in {file}, not once")
    return text.replace(old, new)


def compile_command(build, file, source, out):
    """The command by which the build compiles `file`, for `source` in its place."""
    for entry in json.loads((build / "compile_commands.json").read_text()):
        where = pathlib.Path(entry["directory"])
        if (where / entry["file"]).resolve() == (ROOT / file).resolve():
            break
    else:
        raise Stale(f"the build has no {file}")
    words, command = iter(shlex.split(entry["command"])), []
    for word in words:
        if word in ("-o", "-c", "-MF", "-MQ"):
            next(words)
        elif word not in ("-MD", "-Werror"):
            command.append(word)
    return [*command, "-w", "-o", out, "-c", source], where


def link_command(build, program, out, made):
    """The command by which the build links `program`, with an object before the libraries: what it defines takes the
    place of theirs."""
    commands = subprocess.run(["ninja", "-C", build, "-t", "commands", program], capture_output=True, text=True,
                              check=True).stdout.splitlines()
    words = shlex.split(next(line for line in reversed(commands) if f"-o {program} " in line))
    at = words.index("-o")
    return [*words[:at], "-o", out, made, *words[at + 2:]]


def make(build, program, file, old, new, folder):
    """Makes the program with the fault in `folder`; returns its path."""
    folder.mkdir()
    source, made, out = folder / pathlib.Path(file).name, folder / "mutant.o", folder / pathlib.Path(program).name
    source.write_text(mutated(file, old, new))
    build = build.resolve()
    command, where = compile_command(build, file, source, made)
    subprocess.run(command, cwd=where, check=True)
    subprocess.run(link_command(build, program, out, made), cwd=build, check=True)
    return out


def each(names, jobs, attempt):
    """Calls attempt(name) -> (good, words) for each, several at one time; says what came of it, and counts failures."""
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = {name: pool.submit(attempt, name) for name in names}
        for name, done in running.items():
            try:
                good, words = done.result()
            except (Stale, subprocess.CalledProcessError) as error:
                good, words = False, str(error)
            failed += not good
            print(f"{'ok  ' if good else 'FAIL'} {name}: {words}", flush=True)
    return failed
