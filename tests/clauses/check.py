#!/usr/bin/env python3
"""The tables of normative statements, held against the tests they name.

    tests/clauses/check.py [FOLDER]     exit 0, or 1 with every fault as FILE:LINE: what is wrong

FOLDER holds the tables, mqtt-*.txt; without it, the folder of this file. README.md tells their
format. What this cannot see is whether a test shows what its line says: that is the reader's part.
"""

import collections
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent

CLAUSE = re.compile(r"\[MQTT-\d+\.\d+\.\d+-\d+[a-z]?\]")
NAMED = re.compile(r"(\w+):(\w+)")
EXCUSE = re.compile(r"(later|none): *\S")
STATES = ("tested", "missing", "later", "none")

IN_C = re.compile(r"\bcmocka_unit_test\w*\(\s*(\w+)")
IN_PYTHON = re.compile(r"^ *def (test_\w+)\(", re.M)
IN_VECTORS = re.compile(r"^test (\S+) ", re.M)


def tests_of(program):
    """The names of a program's tests, or None where there is no such program."""
    unit, e2e = TESTS / "unit" / (program + ".c"), TESTS / "e2e" / (program + ".py")
    if unit.is_file():
        names = set(IN_C.findall(unit.read_text()))
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


def faults_of(table, known, counts):
    """Every fault of one table as FILE:LINE: text; counts gets its lines by state."""
    seen = {}
    for number, line in enumerate(table.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{table.name}:{number}:"
        columns = [column.strip() for column in line.split("|")]
        if len(columns) != 3 or not all(columns) or not CLAUSE.fullmatch(columns[0]):
            yield f"{where} not [MQTT-x.y.z-n] | what it asks | its test"
            continue
        clause, _, proof = columns
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
    tables = sorted(folder.glob("mqtt-*.txt"))
    faults, known = [], {}
    for table in tables:
        counts = collections.Counter()
        faults += faults_of(table, known, counts)
        told = ", ".join(f"{counts[state]} {state}" for state in STATES)
        print(f"{table.name}: {sum(counts.values())} clauses: {told}")
    if not tables:
        faults.append(f"{folder}: no mqtt-*.txt")
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
