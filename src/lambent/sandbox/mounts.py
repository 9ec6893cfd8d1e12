"""The files that a sandbox sees. Standard library only; runs in the spawner (template, late mounts) and in the child.

The spawner, in a mount namespace of its own, puts the common root together once: a small tmpfs with the host's programs
bound into it read-only. A sandbox is born with a copy of that namespace and pivots into the root, so that of the common
part nothing is left to mount for it.
"""

import contextlib
import os

from lambent.sandbox import syscalls as sc

USER = "sbx_user1051"  # the name on AWS
UID = 993
HOSTNAME = "sandbox"
#: Mount points for code, layers and runtimes.
FOLDERS = ("var/task", "var/runtime", "var/lang", "opt", "tmp", "proc", "dev", "etc", "usr", "var/tmp", "home", "run")
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
#: Copied from the host's /etc when there; none holds a secret.
_ETC_COPIES = ("ld.so.cache", "localtime", "os-release", "protocols", "services", "mime.types", "ssl/openssl.cnf")
#: Bound from the host's /etc when there. Debian's OpenJDK keeps its settings in the last.
_ETC_BINDS = ("alternatives", "ssl/certs", "pki/tls/certs", "pki/ca-trust/extracted")
_ETC_BIND_PREFIX = "java-"
_ETC_COPY_MAX = 4 * 1024 * 1024
_ETC_TEXTS = {
    "passwd": f"root:x:0:0:root:/root:/sbin/nologin\n{USER}:x:{UID}:{UID}::/home/{USER}:/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/:/sbin/nologin\n",
    "group": f"root:x:0:\n{USER}:x:{UID}:\nnogroup:x:65534:\n",
    "hosts": f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n",
    "hostname": f"{HOSTNAME}\n",
    "resolv.conf": "# no name server: a sandbox has no network but its own loopback\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
}
#: Parts of /proc that tell about the host and that no runtime reads. Writing is impossible anywhere in /proc.
_PROC_MASKED_FILES = (
    "kcore",
    "keys",
    "key-users",
    "kallsyms",
    "kmsg",
    "cmdline",
    "interrupts",
    "timer_list",
    "sysrq-trigger",
    "modules",
    "partitions",
    "diskstats",
    "config.gz",
    "kpagecount",
    "kpageflags",
)
_PROC_MASKED_FOLDERS = ("acpi", "asound", "bus", "driver", "fs", "irq", "scsi", "tty", "sysvipc")

TARGET_MAX = 1024
_TARGET_DEPTH_MAX = 16
#: The skeleton holds names only; what is in /tmp and in the mounts does not count.
_ROOT_OPTIONS = "size=16m,nr_inodes=16384,mode=755"
_NO_SUCH_TARGETS = ("/proc", "/dev", "/etc", "/tmp")
_READ_ONLY = sc.MOUNT_ATTR_RDONLY | sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV


def check_target(target: str) -> str:
    """Says why a bind mount may not go there; empty if it may."""
    if not target.startswith("/") or os.path.normpath(target) != target or target == "/":
        return "a mount target is an absolute path without . and .."
    if len(target) > TARGET_MAX or target.count("/") > _TARGET_DEPTH_MAX:
        return f"a mount target has at most {TARGET_MAX} characters and {_TARGET_DEPTH_MAX} parts"
    if any(target == taken or target.startswith(taken + "/") for taken in _NO_SUCH_TARGETS):
        return f"{target} belongs to the sandbox itself"
    return ""


class Template:
    """The common root, mounted at `path` in the spawner's own mount namespace."""

    def __init__(self, path: str) -> None:
        self.path = path
        os.makedirs(path, exist_ok=True)
        sc.mount("lambent", path, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, _ROOT_OPTIONS)
        #: A second, writable view of the tmpfs, reachable by this descriptor only: for mount points that come later.
        self._writable = sc.open_tree(path)
        self._fill()
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        sc.mount_setattr(fd, _READ_ONLY, recursive=False)
        os.close(fd)

    def _fill(self) -> None:
        for folder in FOLDERS:
            os.makedirs(f"{self.path}/{folder}", exist_ok=True)
        bind(read_only_tree("/usr"), f"{self.path}/usr")
        for name in _SYSTEM_FOLDERS:
            self._system_folder(name)
        for name in _DEVICES:
            self._device(name)
        for name, goal in _DEVICE_LINKS.items():
            os.symlink(goal, f"{self.path}/dev/{name}")
        self._etc()

    def _system_folder(self, name: str) -> None:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{self.path}/{name}")
        elif os.path.isdir(f"/{name}"):
            os.mkdir(f"{self.path}/{name}")
            bind(read_only_tree(f"/{name}"), f"{self.path}/{name}")

    def _device(self, name: str) -> None:
        with open(f"{self.path}/dev/{name}", "x"):
            pass
        # No `nodev` here: these are the devices. A device may be written on a read-only mount.
        tree = sc.open_tree(f"/dev/{name}")
        sc.mount_setattr(tree, sc.MOUNT_ATTR_RDONLY | sc.MOUNT_ATTR_NOSUID, sc.MS_PRIVATE)
        bind(tree, f"{self.path}/dev/{name}")

    def _etc(self) -> None:
        etc = f"{self.path}/etc"
        for name, text in _ETC_TEXTS.items():
            with open(f"{etc}/{name}", "w") as file:
                file.write(text)
        for name in _ETC_COPIES:
            source = f"/etc/{name}"
            if os.path.isfile(source) and os.access(source, os.R_OK) and os.path.getsize(source) <= _ETC_COPY_MAX:
                os.makedirs(os.path.dirname(f"{etc}/{name}"), exist_ok=True)
                with open(source, "rb") as original, open(f"{etc}/{name}", "wb") as copy:
                    copy.write(original.read(_ETC_COPY_MAX))
        binds = [*_ETC_BINDS, *(name for name in os.listdir("/etc") if name.startswith(_ETC_BIND_PREFIX))]
        for name in binds:
            if os.path.isdir(f"/etc/{name}"):
                os.makedirs(f"{etc}/{name}", exist_ok=True)
                bind(read_only_tree(f"/etc/{name}"), f"{etc}/{name}")
        os.symlink("/proc/self/mounts", f"{etc}/mtab")

    def make_mount_point(self, target: str, folder: bool) -> None:
        """Makes a target in the skeleton, which all sandboxes share: a name, nothing in it. If it lies below a mount, that
        mount must have it, and the mount call says so.
        """
        parts = target.strip("/").split("/")
        for end in range(1, len(parts) + (1 if folder else 0)):
            with contextlib.suppress(FileExistsError):
                os.mkdir("/".join(parts[:end]), 0o755, dir_fd=self._writable)
        if not folder:
            flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open("/".join(parts), flags, 0o644, dir_fd=self._writable))


def read_only_tree(source: str) -> int:
    """A detached read-only copy of the mounts at a host path."""
    tree = sc.open_tree(source)
    try:
        sc.mount_setattr(tree, _READ_ONLY, sc.MS_PRIVATE)
    except OSError:
        os.close(tree)
        raise
    return tree


def bind(tree: int, target: str) -> None:
    """Puts a detached tree at its place and closes the descriptor."""
    try:
        sc.move_mount(tree, target)
    finally:
        os.close(tree)


def enter_root(template: str, binds: list[tuple[str, str]], tmp_mib: int) -> int:
    """In the child: makes the copied template this process's root and mounts what is the sandbox's own.

    Returns a descriptor of a writable view of /proc, which must be closed before anything foreign runs.
    """
    for source, target in binds:
        bind(read_only_tree(source), template + target)
    flags = sc.MS_NOSUID | sc.MS_NODEV
    sc.mount("tmp", f"{template}/tmp", "tmpfs", flags, _tmp_options(tmp_mib))
    sc.mount("proc", f"{template}/proc", "proc", flags | sc.MS_NOEXEC)
    writable = sc.open_tree(f"{template}/proc")
    _protect_proc(f"{template}/proc")
    os.chdir(template)
    sc.pivot_root(".", ".")
    sc.unmount(".")
    os.chdir("/")
    sc.mount("", "/", "", sc.MS_REC | sc.MS_PRIVATE)
    return writable


def _protect_proc(proc: str) -> None:
    null, empty = proc + "/../dev/null", proc + "/../var/tmp"
    for names, cover in ((_PROC_MASKED_FILES, null), (_PROC_MASKED_FOLDERS, empty)):
        for name in names:
            if os.path.exists(f"{proc}/{name}"):
                sc.mount(cover, f"{proc}/{name}", "", sc.MS_BIND)
    fd = os.open(proc, os.O_PATH | os.O_CLOEXEC)
    sc.mount_setattr(fd, sc.MOUNT_ATTR_RDONLY, recursive=False)
    os.close(fd)


def _tmp_options(tmp_mib: int) -> str:
    # A file needs an inode of kernel memory; 4 KiB a file is the ratio of ordinary file systems.
    return f"size={tmp_mib}m,nr_inodes={tmp_mib * 256},mode=1777"


def attach(own_namespace: int, namespace: int, binds: list[tuple[str, str]], tmp_mib: int) -> None:
    """Mounts folders into a running sandbox and sets the size of its /tmp: all or nothing. Raises `OSError`.

    The caller is in `own_namespace` before and after; it goes into the sandbox's only for the calls that must be made
    there. What is mounted was taken from the caller's own namespace before, and the sandbox cannot change its root.
    """
    trees: list[tuple[int, str]] = []
    try:
        for source, target in binds:
            trees.append((read_only_tree(source), target))
        sc.setns(namespace, sc.CLONE_NEWNS)
        try:
            _attach_inside(trees, tmp_mib)
        finally:
            sc.setns(own_namespace, sc.CLONE_NEWNS)
    finally:
        for tree, _ in trees:
            os.close(tree)


def _attach_inside(trees: list[tuple[int, str]], tmp_mib: int) -> None:
    done: list[str] = []
    try:
        for tree, target in trees:
            sc.move_mount(tree, target)
            done.append(target)
        sc.mount("", "/tmp", "", sc.MS_REMOUNT | sc.MS_NOSUID | sc.MS_NODEV, _tmp_options(tmp_mib))
    except OSError:
        for target in reversed(done):
            sc.unmount(target)
        raise


def detach(own_namespace: int, namespace: int, targets: list[str]) -> None:
    """Takes mounts back out of a sandbox."""
    sc.setns(namespace, sc.CLONE_NEWNS)
    try:
        for target in reversed(targets):
            sc.unmount(target)
    finally:
        sc.setns(own_namespace, sc.CLONE_NEWNS)
