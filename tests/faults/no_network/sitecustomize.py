"""On PYTHONPATH: this process and its children cannot open a socket to a network. An attempt is noted and fails.

Python's own sockets are caught by an audit hook; on Linux a seccomp filter ends a process whose native code asks the
kernel for one. Unix sockets, which stay on the machine, are let through.
"""

import ctypes
import os
import socket
import struct
import sys

NOTE = os.environ["NO_NETWORK_NOTE"]     # a file; it is there when somebody has tried
ASKING = {"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}


def look(event, arguments):
    made = event == "socket.__new__" and arguments[1] not in (-1, socket.AF_UNIX)
    asked = event in ASKING and not (hasattr(arguments[0], "family") and arguments[0].family == socket.AF_UNIX)
    if made or asked:
        with open(NOTE, "a") as note:  # noqa: PTH123
            note.write(f"{event} {sys.argv}\n")
        raise PermissionError(f"no network here: {event}")


def forbid_in_the_kernel():
    """BPF over struct seccomp_data {nr, arch, ip, args}: socket(AF_INET or AF_INET6, ...) ends the process."""
    architecture, number = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}[os.uname().machine]
    load, equal, answer = 0x20, 0x15, 0x06
    allow, kill = 0x7FFF0000, 0x80000000
    program = [(load, 0, 0, 4), (equal, 0, 5, architecture), (load, 0, 0, 0), (equal, 0, 3, number), (load, 0, 0, 16),
               (equal, 2, 0, socket.AF_INET), (equal, 1, 0, socket.AF_INET6), (answer, 0, 0, allow),
               (answer, 0, 0, kill)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, seccomp, by_filter = 38, 22, 2
    for arguments in ((no_new_privileges, 1, 0, 0, 0), (seccomp, by_filter, header, 0, 0)):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


sys.addaudithook(look)
if sys.platform == "linux":
    forbid_in_the_kernel()
