#!/usr/bin/env python3
"""The tables of normative statements, held against the tests they name.

    tests/clauses/check.py [FOLDER]     exit 0, or 1 with every fault as FILE:LINE: what is wrong

FOLDER holds the tables, mqtt-*.txt and stomp-*.txt; without it, the folder of this file. README.md
tells their format. What this cannot see is whether a test shows what its line says: that is the
reader's part.
"""

import collections
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent

MQTT = re.compile(r"\[MQTT-\d+\.\d+\.\d+-\d+[a-z]?\]")
STOMP = re.compile(r"\[STOMP-(\d\.\d)-([A-Z]+)-(\d+)\]")
NAMED = re.compile(r"(\w+):(\w+)")
EXCUSE = re.compile(r"(later|none): *\S")
STATES = ("tested", "missing", "later", "none")

IN_C = re.compile(r"\bcmocka_unit_test\w*\(\s*(\w+)")
IN_PYTHON = re.compile(r"^ *def (test_\w+)\(", re.M)
IN_VECTORS = re.compile(r"^test (\S+) ", re.M)
IN_ROWS = re.compile(r'^ {4}(?:[VWR]|FILTER)\(\s*"((?:[^"\\]|\\.)*)"', re.M)


def of_claim(claim):
    """A row's claim as one word: whatever is no letter or digit is a line below."""
    return re.sub(r"\W+", "_", claim).strip("_")


def tests_of(program):
    """The names of a program's tests, or None where there is no such program."""
    unit, e2e = TESTS / "unit" / (program + ".c"), TESTS / "e2e" / (program + ".py")
    if unit.is_file():
        text = unit.read_text()
        names = set(IN_C.findall(text))
        if program.startswith("test_stomp_"):
            names.update(of_claim(claim) for claim in IN_ROWS.findall(text))
        if program == "test_mqtt_vectors":
            for vectors in sorted((TESTS / "unit/vectors/mqtt").glob("*.txt")):
                names.update(IN_VECTORS.findall(vectors.read_text()))
        return names
    if e2e.is_file():
        return set(IN_PYTHON.findall(e2e.read_text()))
    return None


def state_of(proof, known):
    """The state that the third column tells, and what is wrong with it (None: nothing)."""
    if proof == "missing":
        return "missing", None
    if EXCUSE.match(proof):
        return proof.split(":")[0], None
    for one in proof.split(","):
        named = NAMED.fullmatch(one.strip())
        if named is None:
            return "tested", f"neither PROGRAM:test nor missing, later: or none: — {one.strip()!r}"
        program, test = named.groups()
        if program not in known:
            known[program] = tests_of(program)
        if known[program] is None:
            return "tested", f"no program {program} in tests/unit or tests/e2e"
        if test not in known[program]:
            return "tested", f"{program} has no test {test}"
    return "tested", None


def misnamed(table, clause, last):
    """What is wrong with a clause's name, or None. The STOMP texts name none, so ours are checked:
    each section counts from 1, in the order of the text; `last` keeps its number."""
    named = STOMP.fullmatch(clause)
    if table.name.startswith("mqtt-"):
        return None if MQTT.fullmatch(clause) else "not [MQTT-x.y.z-n] | what it asks | its test"
    if named is None or table.name != f"stomp-{named[1]}.txt":
        return f"not [STOMP-{table.stem[6:]}-SECTION-n] | what it asks | its test"
    last[named[2]] = last.get(named[2], 0) + 1
    return None if int(named[3]) == last[named[2]] else f"{named[2]} goes on with {last[named[2]]}"


def faults_of(table, known, counts):
    """Every fault of one table as FILE:LINE: text; counts gets its lines by state."""
    seen, last = {}, {}
    for number, line in enumerate(table.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{table.name}:{number}:"
        columns = [column.strip() for column in line.split("|")]
        if len(columns) != 3 or not all(columns):
            yield f"{where} not [CLAUSE] | what it asks | its test"
            continue
        clause, _, proof = columns
        fault = misnamed(table, clause, last)
        if fault is not None:
            yield f"{where} {fault}"
            continue
        if clause in seen:
            yield f"{where} {clause} stands in line {seen[clause]} already"
        seen.setdefault(clause, number)
        state, fault = state_of(proof, known)
        counts[state] += 1
        if fault is not None:
            yield f"{where} {fault}"
    if not seen:
        yield f"{table.name}:1: no clause in it"


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    tables = sorted([*folder.glob("mqtt-*.txt"), *folder.glob("stomp-*.txt")])
    faults, known = [], {}
    for table in tables:
        counts = collections.Counter()
        faults += faults_of(table, known, counts)
        told = ", ".join(f"{counts[state]} {state}" for state in STATES)
        print(f"{table.name}: {sum(counts.values())} clauses: {told}")
    if not tables:
        faults.append(f"{folder}: no mqtt-*.txt and no stomp-*.txt")
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
