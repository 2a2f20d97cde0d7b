"""System calls by name: their numbers, and what a worker may do with each once it has loaded all it needs.

Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux. They never change.
"""

from typing import NamedTuple


class Numbers(NamedTuple):
    """The numbers of one system call; None where the architecture does not have it."""

    x86_64: int | None
    aarch64: int | None


ALLOWED = {
    # the channel to the daemon; recvmsg may bring a descriptor of memory to map
    "read": Numbers(0, 63),
    "write": Numbers(1, 64),
    "readv": Numbers(19, 65),
    "writev": Numbers(20, 66),
    "pread64": Numbers(17, 67),  # the memory in use: /proc/self/statm, opened before
    "recvfrom": Numbers(45, 207),
    "recvmsg": Numbers(47, 212),
    "sendto": Numbers(44, 206),
    "sendmsg": Numbers(46, 211),
    "shutdown": Numbers(48, 210),
    "close": Numbers(3, 57),
    "fstat": Numbers(5, 80),  # glibc before 2.39 takes newfstatat, which a path can be given: refused, and not needed
    "lseek": Numbers(8, 62),
    "poll": Numbers(7, None),
    "ppoll": Numbers(271, 73),
    "select": Numbers(23, None),
    "pselect6": Numbers(270, 72),
    # memory
    "brk": Numbers(12, 214),
    "munmap": Numbers(11, 215),
    "mremap": Numbers(25, 216),
    "madvise": Numbers(28, 233),
    # threads: those of SaxonC go on
    "futex": Numbers(202, 98),
    "set_robust_list": Numbers(273, 99),
    "rseq": Numbers(334, 293),
    "membarrier": Numbers(324, 283),
    "sched_yield": Numbers(24, 124),
    "sched_getaffinity": Numbers(204, 123),
    "getcpu": Numbers(309, 168),
    "gettid": Numbers(186, 178),
    "exit": Numbers(60, 93),
    "exit_group": Numbers(231, 94),
    "restart_syscall": Numbers(219, 128),
    # signals to itself
    "rt_sigaction": Numbers(13, 134),
    "rt_sigprocmask": Numbers(14, 135),
    "rt_sigreturn": Numbers(15, 139),
    "sigaltstack": Numbers(131, 132),
    # time, chance, and who and where it is
    "clock_gettime": Numbers(228, 113),
    "clock_getres": Numbers(229, 114),
    "clock_nanosleep": Numbers(230, 115),
    "nanosleep": Numbers(35, 101),
    "gettimeofday": Numbers(96, 169),
    "time": Numbers(201, None),
    "times": Numbers(100, 153),
    "getrusage": Numbers(98, 165),
    "getrandom": Numbers(318, 278),
    "getpid": Numbers(39, 172),
    "getppid": Numbers(110, 173),
    "getuid": Numbers(102, 174),
    "geteuid": Numbers(107, 175),
    "getgid": Numbers(104, 176),
    "getegid": Numbers(108, 177),
    "getcwd": Numbers(79, 17),  # SaxonC, for a base URI: it is /
    "uname": Numbers(63, 160),
    "sysinfo": Numbers(99, 179),
    "getrlimit": Numbers(97, 163),
    "setrlimit": Numbers(160, 164),
}
"""Allowed with any arguments: none of them names a file, an address or another process."""

INSPECTED = {
    "mmap": Numbers(9, 222),
    "mprotect": Numbers(10, 226),
    "clone": Numbers(56, 220),
    "tgkill": Numbers(234, 131),
    "prlimit64": Numbers(302, 261),
    "fcntl": Numbers(72, 25),
    "ioctl": Numbers(16, 29),
}
"""Allowed with some arguments: see relay.checker.seccomp."""

UNKNOWN = {
    "clone3": Numbers(435, 435),  # its flags lie in memory, where a filter cannot look; glibc then takes clone
    "openat2": Numbers(437, 437),
    "faccessat2": Numbers(439, 439),
    "statx": Numbers(332, 291),
}
"""ENOSYS, as of an older kernel: the C library then does without them."""

NEWEST = 469
"""file_setattr, Linux 6.17. A call that is newer than this table is ENOSYS too."""

FATAL = {
    # another program in the place of the worker
    "execve": Numbers(59, 221),
    "execveat": Numbers(322, 281),
    # the memory and the descriptors of another process
    "ptrace": Numbers(101, 117),
    "process_vm_readv": Numbers(310, 270),
    "process_vm_writev": Numbers(311, 271),
    "kcmp": Numbers(312, 272),
    "pidfd_getfd": Numbers(438, 438),
    # what attacks on the kernel begin with
    "bpf": Numbers(321, 280),
    "userfaultfd": Numbers(323, 282),
    "perf_event_open": Numbers(298, 241),
    "io_uring_setup": Numbers(425, 425),
    "io_uring_enter": Numbers(426, 426),
    "io_uring_register": Numbers(427, 427),
    "add_key": Numbers(248, 217),
    "request_key": Numbers(249, 218),
    "keyctl": Numbers(250, 219),
    "init_module": Numbers(175, 105),
    "finit_module": Numbers(313, 273),
    "kexec_load": Numbers(246, 104),
    # another view of the system
    "unshare": Numbers(272, 97),
    "setns": Numbers(308, 268),
    "mount": Numbers(165, 40),
    "umount2": Numbers(166, 39),
    "pivot_root": Numbers(155, 41),
    "open_tree": Numbers(428, 428),
    "move_mount": Numbers(429, 429),
    "fsopen": Numbers(430, 430),
    "fsmount": Numbers(432, 432),
    "mount_setattr": Numbers(442, 442),
    "open_by_handle_at": Numbers(304, 265),
}
"""The process is killed: no library of a worker has any use for these, so who calls them has taken it over."""
