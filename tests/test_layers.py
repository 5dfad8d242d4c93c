#!/usr/bin/env python3
"""Each rule of layers.py is broken once, in a small house of its own, and must be told."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import layers  # noqa: E402


class Layers(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="layers.")
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name)
        for room, (folder, _) in layers.ROOMS.items():
            self.write(f"{folder}/include/{room}/{room}.h", "int f(void);\n")
            self.write(f"{folder}/README.md", f"# {room}\n")
        self.write("protocols/README.md", "# protocols\n")

    def write(self, path, text):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def told(self, path, text, *words):
        """Writing `text` to `path` is one fault, in that file, that says these words."""
        self.write(path, text)
        faults = layers.Check(self.root).run()
        self.assertEqual(len(faults), 1, faults)
        for word in (path, *words):
            self.assertIn(word, faults[0])

    def good(self, path, text):
        self.write(path, text)
        self.assertEqual(layers.Check(self.root).run(), [])

    def test_a_house_in_order_has_no_faults(self):
        self.good("gateway/queue/a.c", '#include "queue/queue.h"\n#include "core/core.h"\n#include <string.h>\n')

    def test_an_include_against_the_arrows(self):
        self.told("gateway/core/a.c", '\n#include "queue/queue.h"\n', ":2:", "core may not include")

    def test_one_protocol_in_another(self):
        self.told("protocols/stomp/a.c", '#include "mqtt/mqtt.h"\n', "stomp may not include")

    def test_a_way_around_by_dots(self):
        self.told("gateway/queue/a.c", '#include "../hub/include/hub/hub.h"\n', "another folder")

    def test_a_use_against_the_arrows_in_cmake(self):
        self.told("gateway/queue/CMakeLists.txt", "\nsluice_room(queue SOURCES a.c\n  USES core hub LIBS x)\n",
                  ":2:", "queue may not use hub")

    def test_a_shell_library_in_a_pure_room(self):
        self.told("gateway/hub/a.c", "#include <uv.h>\n", "hub may not know <uv.h>")

    def test_a_library_in_the_wrong_shell_room(self):
        self.told("gateway/net/a.c", "#include <lmdb.h>\n", "only store")

    def test_sockets_and_clocks_in_a_pure_room(self):
        for header in ("sys/socket.h", "time.h", "unistd.h", "pthread.h"):
            self.told("gateway/route/a.c", f"#include <{header}>\n", "route is pure")

    def test_memory_without_core_alloc_in_a_pure_room(self):
        self.told("workers/wire/a.c", "void *p(void) { return malloc(7); }\n", "malloc() in a pure room")

    def test_exempt_files_are_exempt_by_name_only(self):
        self.good("gateway/core/log.c", "#include <time.h>\n")
        self.told("gateway/core/logs.c", "#include <time.h>\n", "core is pure")

    def test_a_banned_function(self):
        self.told("gateway/pool/a.c", "void f(char *a) { strcpy(a, a); }\n", "strcpy()")

    def test_comments_texts_and_members_are_not_calls(self):
        self.good("gateway/core/a.c",
                  '/* strcpy(a, b)\n malloc(1) */ const char *s = "atoi(x) \\" gets(y)"; // alloca(3)\n'
                  "void f(struct s *x) { x->free(x); sl_free(x); }\n")

    def test_a_long_file(self):
        self.told("gateway/store/a.c", "\n" * 601, "601 lines")

    def test_a_long_function(self):
        self.told("gateway/store/a.c", "void f(void)\n{\n" + "    g();\n" * 101 + "}\n", ":2:", "101 lines")

    def test_a_table_in_a_function_does_not_count(self):
        self.good("gateway/store/a.c", "void f(void)\n{\n    static const int t[] = {\n" + "        1,\n" * 101 + "    };\n}\n")

    def test_a_room_without_a_page(self):
        (self.root / "gateway/net/README.md").unlink()
        self.assertEqual(layers.Check(self.root).run(), ["gateway/net:1: a room without README.md"])

    def test_a_path_of_a_workplace(self):
        self.told("notes.txt", "see " + "/wo" + "rk/main/x\n", "workplace")
        (self.root / "notes.txt").unlink()
        self.good("topics.txt", "site/work/1 and $HOME/work/x\n")

    def test_something_left_open(self):
        self.told("gateway/net/a.c", "/* TO" + "DO: later */\n", "left open")

    def test_the_program_exits_1_on_a_fault(self):
        self.write("gateway/core/a.c", '#include "hub/hub.h"\n')
        done = subprocess.run([sys.executable, "-B", str(HERE / "layers.py"), str(self.root)], check=False,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("gateway/core/a.c:1:", done.stdout)


if __name__ == "__main__":
    unittest.main()
