#!/usr/bin/env python3
"""The plan of the house, checked in the text: who may include whom, and how large a piece may get.

    tests/layers.py [ROOT]        exit 0, or 1 with every fault as FILE:LINE: what is wrong

CMake gives each room only the include directories of the rooms it may use, so that most wrong
includes do not compile. This looks at what a compiler does not refuse: a room's list of USES that
grew against the arrows, a system header or a plain malloc in a pure room, files and functions that
outgrew one sitting. tests/test_layers.py breaks each rule once and sees it told.
"""

import pathlib
import re
import sys

# Room: its folder, and the rooms it may include. Arrows point downward only:
# core <- {protocols, queue, route, wire} <- hub <- shell <- main.
ROOMS = {
    "core": ("gateway/core", ()),
    "protocols": ("protocols/common", ("core",)),
    "mqtt": ("protocols/mqtt", ("core", "protocols")),
    "stomp": ("protocols/stomp", ("core", "protocols")),
    "wire": ("workers/wire", ("core",)),
    "queue": ("gateway/queue", ("core",)),
    "route": ("gateway/route", ("core",)),
    "schedule": ("gateway/schedule", ("core",)),
    "hub": ("gateway/hub", ("core", "protocols", "queue", "route", "schedule", "wire")),
    "config": ("gateway/config", ("core", "schedule")),
    "store": ("gateway/store", ("core", "queue", "route", "hub")),
    "net": ("gateway/net", ("core", "protocols", "hub")),
    "pool": ("gateway/pool", ("core", "wire", "queue", "hub")),
    "cli": ("gateway/cli", ("core", "stomp")),
    "main": ("gateway/main", ("core", "protocols", "mqtt", "stomp", "wire", "queue", "route", "schedule", "hub",
                              "config", "store", "net", "pool", "bench", "cli")),
    "worker_sdk": ("workers/c", ("core", "wire")),
    "bench": ("gateway/bench", ("core", "worker_sdk")),
}

# Bytes, messages and time in; bytes, events and actions out.
PURE = ("core", "protocols", "mqtt", "stomp", "wire", "queue", "route", "schedule", "hub")
PURE_HEADERS = {"assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "math.h", "stdarg.h", "stdbool.h",
                "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h"}
PURE_CALLS = ("malloc", "calloc", "realloc", "free", "strdup", "strndup", "getenv", "time", "clock",
              "gettimeofday", "clock_gettime", "rand", "srand", "random", "fopen", "fprintf", "printf",
              "puts", "fputs", "exit", "abort", "getpid")

# What pure rooms may do against the rule, by file, and why.
EXEMPT = {
    "gateway/core/log.c": ({"time.h", "unistd.h"}, {"clock_gettime"}),  # stamps a line, writes it to stderr
    "gateway/core/err.c": ({"unistd.h"}, {"abort"}),  # SL_ASSERT: one line, then the end
    "gateway/core/alloc.c": ({"unistd.h"}, {"malloc", "calloc", "realloc", "free", "abort"}),  # the one place
}

# Libraries, and the only rooms that know them.
LIBRARIES = {
    r"uv\.h": ("net", "pool", "store", "main"),
    r"lmdb\.h": ("store",),
    r"cjson/.*": ("config", "pool", "cli"),
    r"openssl/.*": ("pool", "cli", "main"),
    r"MQTT\w+\.h": ("cli",),
}

BANNED = ("strcpy", "strcat", "sprintf", "vsprintf", "atoi", "atol", "gets", "alloca", "strtok")

FUNCTION_LINES = 100
FILE_LINES = {"gateway": 600, "protocols": 600, "workers": 600, "tests": 900}

SKIPPED_FOLDERS = re.compile(r"(?:\.git|build|build-.*|data|(?:.*/)?__pycache__)$")
# Built from pieces, so that this file does not hold what it looks for.
WORKPLACE = re.compile(r"(?<![\w.$}/-])/(?:work|farm)/\w" + r"|/t[m]p/sl\b")
LEFT_OPEN = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")

_TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def without_comments_and_texts(source):
    """The same lines with blanks where comments and literals were; #include names stay."""
    def blank(match):
        text = match.group()
        if text[0] in "\"'":
            line = source[source.rfind("\n", 0, match.start()) + 1:match.start()]
            if line.lstrip().startswith("#"):
                return text
        return re.sub(r"[^\n]", " ", text)
    return _TOKENS.sub(blank, source)


class Check:
    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        self.faults = []
        self.seen = 0

    def fault(self, path, line, what):
        self.faults.append(f"{path}:{line}: {what}")

    def files(self, folder=None):
        todo = [self.root / folder if folder else self.root]
        while todo:
            here = todo.pop()
            for path in sorted(here.iterdir()) if here.is_dir() else ():
                if path.is_symlink():
                    continue
                if path.is_dir():
                    if not SKIPPED_FOLDERS.match(self.name(path)):
                        todo.append(path)
                else:
                    yield path

    def name(self, path):
        return path.relative_to(self.root).as_posix()

    def run(self):
        for room, (folder, _) in ROOMS.items():
            self.room(room, folder)
        for top in FILE_LINES:
            for path in self.files(top):
                self.source(path, top)
        for path in self.files():
            self.any_file(path)
        return self.faults

    # rooms

    def room(self, room, folder):
        page = "protocols" if room == "protocols" else folder
        if not (self.root / page / "README.md").is_file():
            self.fault(page, 1, "a room without README.md")
        self.uses(room, folder)
        for path in self.files(folder):
            if path.suffix in (".c", ".h"):
                self.seen += 1
                self.includes(room, path)

    def uses(self, room, folder):
        """The arrows as CMake has them."""
        path = self.root / folder / "CMakeLists.txt"
        text = path.read_text() if path.is_file() else ""
        for match in re.finditer(r"sluice_room\(\s*(\w+)(.*?)\)", text, re.S):
            used = re.search(r"\bUSES\b(.*?)(?:\bLIBS\b|\bSOURCES\b|$)", match.group(2), re.S)
            for name in used.group(1).split() if used else ():
                if name not in ROOMS[room][1]:
                    line = text.count("\n", 0, match.start()) + 1
                    self.fault(self.name(path), line, f"{room} may not use {name}")

    def includes(self, room, path):
        name = self.name(path)
        code = without_comments_and_texts(path.read_text())
        for number, line in enumerate(code.splitlines(), 1):
            match = re.match(r'\s*#\s*include\s*(?:<(.+?)>|"(.+?)")', line)
            if match is None:
                continue
            if match.group(1):
                self.system_header(room, name, number, match.group(1))
            else:
                self.own_header(room, path, number, match.group(2))
        if room in PURE:
            self.calls(name, code, PURE_CALLS, EXEMPT.get(name, ((), ()))[1], "a pure room")

    def system_header(self, room, name, number, header):
        for library, rooms in LIBRARIES.items():
            if re.fullmatch(library, header) and room not in rooms:
                self.fault(name, number, f"{room} may not know <{header}>: only {', '.join(rooms)} may")
                return
        if room in PURE and header not in PURE_HEADERS and header not in EXEMPT.get(name, ((), ()))[0]:
            self.fault(name, number, f"{room} is pure: no <{header}>")

    def own_header(self, room, path, number, header):
        name = self.name(path)
        if ".." in header.split("/"):
            self.fault(name, number, f'"{header}" reaches into another folder')
            return
        if (path.parent / header).is_file():
            return
        folder, uses = ROOMS[room]
        for other in (room, *uses):
            if (self.root / ROOMS[other][0] / "include" / header).is_file():
                return
        if (self.root / folder / header).is_file():
            return
        self.fault(name, number, f'{room} may not include "{header}"')

    def calls(self, name, code, functions, allowed, where):
        for match in re.finditer(r"(?<![\w.>])(" + "|".join(functions) + r")\s*\(", code):
            if match.group(1) not in allowed:
                self.fault(name, code.count("\n", 0, match.start()) + 1, f"{match.group(1)}() in {where}")

    # sizes and habits

    def source(self, path, top):
        if path.suffix not in (".c", ".h", ".py"):
            return
        name = self.name(path)
        text = path.read_text()
        limit = FILE_LINES[top]
        if text.count("\n") > limit:
            self.fault(name, limit, f"{text.count(chr(10))} lines, at most {limit}")
        if path.suffix == ".py":
            return
        code = without_comments_and_texts(text)
        self.functions(name, code)
        if top != "tests":
            self.calls(name, code, BANNED, (), "our code")

    def functions(self, name, code):
        """A function's braces stand alone in the first column (.clang-format). A table of constants
        in it is read as a table: its lines do not count."""
        begin, count, table = None, 0, False
        for number, line in enumerate(code.splitlines(), 1):
            if line.rstrip() == "{":
                begin, count, table = number, 0, False
            elif line.startswith("}") and begin is not None:
                if count > FUNCTION_LINES:
                    self.fault(name, begin, f"a function of {count} lines, at most {FUNCTION_LINES}")
                begin = None
            else:
                table = table or re.match(r"    static const .*= \{$", line.rstrip()) is not None
                count += not table
                table = table and line.rstrip() != "    };"

    # the whole repository

    def any_file(self, path):
        data = path.read_bytes()
        if b"\0" in data:
            return
        name = self.name(path)
        open_too = path.suffix in (".c", ".h", ".py", ".cmake", ".md", ".sh")
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if WORKPLACE.search(line):
                self.fault(name, number, "a path of somebody's workplace")
            if open_too and LEFT_OPEN.search(line):
                self.fault(name, number, "left open: finish it or write an issue")


def main():
    check = Check(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent)
    for fault in check.run():
        print(fault)
    print(f"{check.seen} files of {len(ROOMS)} rooms: {len(check.faults)} faults")
    return 1 if check.faults or check.seen == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
