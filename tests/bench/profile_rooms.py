"""From samples of `perf script` to rooms: by source folder for our own code, by library, by family for the kernel."""

import collections
import re
import subprocess

# A kernel chain is read from the innermost function outward; the first that names a family decides. So a wakeup
# inside tcp_sendmsg is a wakeup, and the copying below it is TCP's.
KERNEL = (
    ("kernel: unix sockets", r"unix_|skb_copy_datagram_from_iter$"),
    ("kernel: epoll, wakeups, scheduling", r"(do_)?ep(oll)?_|eventfd_|__wake_up|try_to_wake_up|wake_up_q|schedule|__schedule|futex_|do_futex"
                                           r"|finish_task_switch|pick_next_task|enqueue_task|dequeue_task|hrtimer_|timerfd_|select_task_rq"),
    ("kernel: tcp/ip, sockets", r"(__)?(tcp|ip|inet|inet6|ipv4|ipv6|sock|sk|skb|dev|net|loopback|netif|process_backlog|security_sock)_|tcp$|__skb|kfree_skb"
                                r"|__sys_(send|recv)|__napi|napi_|net_rx|nf_|simple_copy_to_iter|__dev_queue"),
    ("kernel: files, block, sync", r"ext4_|xfs_|btrfs_|jbd2_|iomap_|blk_|__blk|bio_|submit_bio|virtio|virtblk|virtqueue|filemap_|__filemap|file_write_and_wait"
                                   r"|do_fsync|vfs_fsync|generic_perform_write|generic_file|write_cache_pages|do_writepages|wait_on_page|folio_wait|ksys_p?write"
                                   r"|vfs_i?ter?_?write|__x64_sys_(fdatasync|fsync|pwrite)|balance_dirty|__block_|block_|fscrypt|nvme|scsi|dm_"),
    ("kernel: memory", r"(do_user_addr|handle_mm|asm_exc_page|exc_page|do_anonymous|__handle_mm|do_fault)|do_mmap|__x64_sys_(mmap|munmap|madvise|brk)|unmap_"),
    ("kernel: entering system calls", r"entry_SYSCALL|do_syscall_64|syscall_|__x64_sys|exit_to_user|__get_user_nocheck|asm_sysvec|sysret"),
)
FAMILIES = [(room, re.compile(pattern)) for room, pattern in KERNEL]
LIBRARIES = {"libc": "libc", "libuv": "libuv", "liblmdb": "lmdb", "ld-linux": "libc", "libpthread": "libc"}
HEAD = re.compile(r"^(\S.*?)\s+(\d+)\s+(\d+)\s*$")
FRAME = re.compile(r"^\s+([0-9a-f]+)\s+(.*?)\s+\(([^()]*(?:\([^()]*\))?[^()]*)\)\s*$")


def source_room(path):
    match = re.search(r"(?:^|/)(gateway|protocols|workers)/(\w+)/", path)
    if match is None:
        return None
    return "protocols" if match.group(2) == "common" else match.group(2)


def kernel_room(chain):
    """`chain`: names of kernel functions, the innermost first."""
    for name in chain:
        for room, pattern in FAMILIES:
            if pattern.match(name):
                return room
    return "kernel: other"


def is_kernel(address):
    return address >= 1 << 63


def samples(text):
    """(tid, period, [(address, symbol, dso)]) of `perf script -F comm,tid,period,ip,sym,dso`."""
    tid, period, frames = None, 0, []
    for line in text.splitlines() + [""]:
        frame = FRAME.match(line)
        head = HEAD.match(line)
        if frame:
            frames.append((int(frame.group(1), 16), frame.group(2), frame.group(3)))
        elif head:
            tid, period, frames = int(head.group(2)), int(head.group(3)), []
        elif not line.strip() and tid is not None:
            if frames:
                yield tid, period, frames
            tid = None


def source_files(program, addresses):
    """{address: FILE:LINE}, inlined code under the file that it was written in. perf tells addresses within the program."""
    known = sorted(set(addresses))
    asked = "".join(f"{a:x}\n" for a in known)
    out = subprocess.run(["addr2line", "-e", program], input=asked, capture_output=True, text=True, check=True).stdout
    return dict(zip(known, out.splitlines()))


def leaf_room(frames, program, files):
    address, _, dso = frames[0]
    if is_kernel(address):
        return kernel_room([name for a, name, _ in frames if is_kernel(a)])
    if dso == program:
        return source_room(files.get(address, "")) or "program: other"
    name = dso.rsplit("/", 1)[-1]
    for prefix, room in LIBRARIES.items():
        if name.startswith(prefix):
            return room
    return "libc" if "vdso" in name else f"library: {name}"


def by_room(text, program):
    """{room: {tid: period}}"""
    found = list(samples(text))
    files = source_files(program, (frames[0][0] for _, _, frames in found if frames[0][2] == program))
    rooms = collections.defaultdict(collections.Counter)
    for tid, period, frames in found:
        rooms[leaf_room(frames, program, files)][tid] += period
    return dict(rooms)
