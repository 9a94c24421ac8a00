/**
 * The C library: every function this project calls in it, under its C prototype.
 *
 * `dlopen` compiles a way to each symbol, which takes about 0.1 ms, be they opened together or one by
 * one. A command uses a dozen of them, so each is opened at its first use: `io.read()(fd, …)`.
 *
 * Types are chosen for Deno's fast path (3 to 10 ns a call):
 * - `size_t` counts are declared `u32`: the callers cap them below 2 GiB, and x86_64 and aarch64
 *   both pass them zero-extended in a full register.
 * - offsets and 64-bit flags are `i64`/`u64` and get a BigInt; a JavaScript number there takes the
 *   slow path.
 * - `const char *` and `void *` are `buffer`; null is NULL.
 *
 * errno is read as `-E[0]` in the very expression after the call. Anything between the two, a
 * function call included, may allocate and overwrite it.
 *
 * @module
 */

const LIBC = "libc.so.6";

/** For each symbol of a group, the function that gives it. */
type Group<S extends Deno.ForeignLibraryInterface> = {
  readonly [Name in keyof S]: () => Deno.DynamicLibrary<S>["symbols"][Name];
};

/** A group of symbols, each of which is opened at its first use and kept for the thread's life. */
function group<const S extends Deno.ForeignLibraryInterface>(symbols: S): Group<S> {
  const opener = <Name extends keyof S & string>(name: Name) => {
    let opened: Deno.DynamicLibrary<S>["symbols"][Name] | undefined;
    return () => opened ??= Deno.dlopen(LIBC, { [name]: symbols[name] } as S).symbols[name];
  };
  return Object.fromEntries(Object.keys(symbols).map((name) => [name, opener(name)])) as Group<S>;
}

/** This thread's errno: `E[0]`. Each Worker evaluates this module, and so maps its own. */
export const E: Int32Array = (() => {
  const { symbols } = Deno.dlopen(LIBC, {
    // int *__errno_location(void);
    __errno_location: { parameters: [], result: "pointer" },
  });
  const location = symbols.__errno_location();
  if (location === null) throw new Error("__errno_location returned NULL");
  return new Int32Array(Deno.UnsafePointerView.getArrayBuffer(location, 4));
})();

/** Reading and writing open files. */
export const io = group({
  // int openat(int dirfd, const char *pathname, int flags, mode_t mode);
  openat: { parameters: ["i32", "buffer", "i32", "u32"], result: "i32" },
  // long syscall(SYS_openat2, int dirfd, const char *pathname, struct open_how *how, size_t size);
  openat2: {
    name: "syscall",
    parameters: ["i32", "i32", "buffer", "buffer", "u32"],
    result: "i32",
  },
  // int open_by_handle_at(int mount_fd, struct file_handle *handle, int flags);
  open_by_handle_at: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  // int close(int fd);
  close: { parameters: ["i32"], result: "i32" },
  // ssize_t read(int fd, void *buf, size_t count);
  read: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // ssize_t pread64(int fd, void *buf, size_t count, off64_t offset);
  pread64: { parameters: ["i32", "buffer", "u32", "i64"], result: "i32" },
  // ssize_t write(int fd, const void *buf, size_t count);
  write: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // ssize_t pwrite64(int fd, const void *buf, size_t count, off64_t offset);
  pwrite64: { parameters: ["i32", "buffer", "u32", "i64"], result: "i32" },
  // off64_t lseek64(int fd, off64_t offset, int whence);
  lseek64: { parameters: ["i32", "i64", "i32"], result: "i64" },
  // int ftruncate64(int fd, off64_t length);
  ftruncate64: { parameters: ["i32", "i64"], result: "i32" },
  // int fallocate64(int fd, int mode, off64_t offset, off64_t len);
  fallocate64: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  // int fsync(int fd);
  fsync: { parameters: ["i32"], result: "i32" },
  // int fdatasync(int fd);
  fdatasync: { parameters: ["i32"], result: "i32" },
  // int sync_file_range(int fd, off64_t offset, off64_t nbytes, unsigned int flags);
  sync_file_range: { parameters: ["i32", "i64", "i64", "u32"], result: "i32" },
  // int syncfs(int fd);
  syncfs: { parameters: ["i32"], result: "i32" },
  // int dup3(int oldfd, int newfd, int flags);
  dup3: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int fcntl(int fd, int op, int arg);
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int poll(struct pollfd *fds, nfds_t nfds, int timeout);
  poll: { parameters: ["buffer", "u32", "i32"], result: "i32" },
  // int flock(int fd, int op);
  flock: { parameters: ["i32", "i32"], result: "i32" },
  // int pipe2(int pipefd[2], int flags);
  pipe2: { parameters: ["buffer", "i32"], result: "i32" },
  // int memfd_create(const char *name, unsigned int flags);
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  // ssize_t sendfile64(int out_fd, int in_fd, off64_t *offset, size_t count);
  sendfile64: { parameters: ["i32", "i32", "buffer", "u32"], result: "i32" },
  // ssize_t copy_file_range(int fd_in, off64_t *off_in, int fd_out, off64_t *off_out, size_t len,
  // unsigned int flags);
  copy_file_range: {
    parameters: ["i32", "buffer", "i32", "buffer", "u32", "u32"],
    result: "i32",
  },
  // ssize_t splice(int fd_in, off64_t *off_in, int fd_out, off64_t *off_out, size_t len, unsigned
  // int flags);
  splice: {
    parameters: ["i32", "buffer", "i32", "buffer", "u32", "u32"],
    result: "i32",
  },
});

/** Memory. */
export const memory = group({
  // int memcmp(const void *s1, const void *s2, size_t n);
  memcmp: { parameters: ["buffer", "buffer", "u32"], result: "i32" },
});

/** Names and attributes: the `*at` family. */
export const tree = group({
  // int mkdirat(int dirfd, const char *pathname, mode_t mode);
  mkdirat: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int mknodat(int dirfd, const char *pathname, mode_t mode, dev_t dev);
  mknodat: { parameters: ["i32", "buffer", "u32", "u64"], result: "i32" },
  // int symlinkat(const char *target, int newdirfd, const char *linkpath);
  symlinkat: { parameters: ["buffer", "i32", "buffer"], result: "i32" },
  // int linkat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, int flags);
  linkat: {
    parameters: ["i32", "buffer", "i32", "buffer", "i32"],
    result: "i32",
  },
  // int unlinkat(int dirfd, const char *pathname, int flags);
  unlinkat: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  // int renameat2(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, unsigned
  // int flags);
  renameat2: {
    parameters: ["i32", "buffer", "i32", "buffer", "u32"],
    result: "i32",
  },
  // ssize_t readlinkat(int dirfd, const char *pathname, char *buf, size_t bufsiz);
  readlinkat: { parameters: ["i32", "buffer", "buffer", "u32"], result: "i32" },
  // int fchownat(int dirfd, const char *pathname, uid_t owner, gid_t group, int flags);
  fchownat: {
    parameters: ["i32", "buffer", "u32", "u32", "i32"],
    result: "i32",
  },
  // int fchown(int fd, uid_t owner, gid_t group);
  fchown: { parameters: ["i32", "u32", "u32"], result: "i32" },
  // int fchmod(int fd, mode_t mode);
  fchmod: { parameters: ["i32", "u32"], result: "i32" },
  // int fchmodat(int dirfd, const char *pathname, mode_t mode, int flags);
  fchmodat: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  // int utimensat(int dirfd, const char *pathname, const struct timespec times[2], int flags);
  utimensat: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32" },
  // int futimens(int fd, const struct timespec times[2]);
  futimens: { parameters: ["i32", "buffer"], result: "i32" },
  // int statx(int dirfd, const char *pathname, int flags, unsigned int mask, struct statx
  // *statxbuf);
  statx: {
    parameters: ["i32", "buffer", "i32", "u32", "buffer"],
    result: "i32",
  },
  // ssize_t getdents64(int fd, void *dirp, size_t count);
  getdents64: { parameters: ["i32", "buffer", "u32"], result: "i32" },
});

/** Extended attributes. */
export const xattrs = group({
  // ssize_t fgetxattr(int fd, const char *name, void *value, size_t size);
  fgetxattr: { parameters: ["i32", "buffer", "buffer", "u32"], result: "i32" },
  // ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size);
  lgetxattr: {
    parameters: ["buffer", "buffer", "buffer", "u32"],
    result: "i32",
  },
  // int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
  fsetxattr: {
    parameters: ["i32", "buffer", "buffer", "u32", "i32"],
    result: "i32",
  },
  // int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags);
  lsetxattr: {
    parameters: ["buffer", "buffer", "buffer", "u32", "i32"],
    result: "i32",
  },
  // ssize_t flistxattr(int fd, char *list, size_t size);
  flistxattr: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // ssize_t llistxattr(const char *path, char *list, size_t size);
  llistxattr: { parameters: ["buffer", "buffer", "u32"], result: "i32" },
  // long syscall(SYS_listxattrat, int dirfd, const char *path, unsigned int at_flags, char *list,
  // size_t size);
  listxattrat: {
    name: "syscall",
    parameters: ["i32", "i32", "buffer", "u32", "buffer", "u32"],
    result: "i32",
  },
  // int fremovexattr(int fd, const char *name);
  fremovexattr: { parameters: ["i32", "buffer"], result: "i32" },
  // int lremovexattr(const char *path, const char *name);
  lremovexattr: { parameters: ["buffer", "buffer"], result: "i32" },
});

/** The process and its thread. */
export const process = group({
  // mode_t umask(mode_t mask);
  umask: { parameters: ["u32"], result: "u32" },
  // int unshare(int flags);
  unshare: { parameters: ["i32"], result: "i32" },
  // int fchdir(int fd);
  fchdir: { parameters: ["i32"], result: "i32" },
});

/** Namespaces and the ids of a thread; all take effect for the calling thread alone. */
export const namespaces = group({
  // int setns(int fd, int nstype);
  setns: { parameters: ["i32", "i32"], result: "i32" },
  // int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
  clone: { parameters: ["pointer", "pointer", "i32", "pointer"], result: "i32" },
  // void *dlsym(void *handle, const char *symbol);
  dlsym: { parameters: ["pointer", "buffer"], result: "pointer" },
  // pid_t waitpid(pid_t pid, int *wstatus, int options);
  waitpid: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  // int kill(pid_t pid, int sig);
  kill: { parameters: ["i32", "i32"], result: "i32" },
  // int setfsuid(uid_t fsuid);
  setfsuid: { parameters: ["u32"], result: "i32" },
  // int setfsgid(gid_t fsgid);
  setfsgid: { parameters: ["u32"], result: "i32" },
  // int prctl(int op, unsigned long arg2, arg3, arg4, arg5);
  prctl: { parameters: ["i32", "usize", "usize", "usize", "usize"], result: "i32" },
});

/** Becoming another program. */
export const becoming = group({
  // int chroot(const char *path);
  chroot: { parameters: ["buffer"], result: "i32" },
  // int chdir(const char *path);
  chdir: { parameters: ["buffer"], result: "i32" },
  // int setgroups(size_t size, const gid_t *list);
  setgroups: { parameters: ["usize", "pointer"], result: "i32" },
  // int setresgid(gid_t rgid, gid_t egid, gid_t sgid);
  setresgid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  // int setresuid(uid_t ruid, uid_t euid, uid_t suid);
  setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  // sighandler_t signal(int signum, sighandler_t handler);
  signal: { parameters: ["i32", "pointer"], result: "pointer" },
  // int close_range(unsigned int first, unsigned int last, int flags);
  close_range: { parameters: ["u32", "u32", "i32"], result: "i32" },
  // int execve(const char *pathname, char *const argv[], char *const envp[]);
  execve: { parameters: ["buffer", "buffer", "buffer"], result: "i32" },
});

/** The system's clock. */
export const clock = group({
  // int clock_gettime(clockid_t clockid, struct timespec *tp);
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
});

/** Limits of the process. */
export const limits = group({
  // int getrlimit64(int resource, struct rlimit64 *limit);
  getrlimit64: { parameters: ["i32", "buffer"], result: "i32" },
  // int setrlimit64(int resource, const struct rlimit64 *limit);
  setrlimit64: { parameters: ["i32", "buffer"], result: "i32" },
});

/** The library itself. */
export const library = group({
  // const char *gnu_get_libc_version(void);
  gnu_get_libc_version: { parameters: [], result: "pointer" },
});

/** The locks of the library's streams. */
export const streams = group({
  // extern FILE *stdin; the value is the address of the variable
  stdin: { type: "pointer" },
  // void flockfile(FILE *filehandle);
  flockfile: { parameters: ["pointer"], result: "void" },
  // void funlockfile(FILE *filehandle);
  funlockfile: { parameters: ["pointer"], result: "void" },
});

/** Mounting, by the old calls. */
export const mounts = group({
  // int mount(const char *source, const char *target, const char *fstype, unsigned long flags,
  // const void *data);
  mount: {
    parameters: ["buffer", "buffer", "buffer", "u64", "buffer"],
    result: "i32",
  },
  // int umount2(const char *target, int flags);
  umount2: { parameters: ["buffer", "i32"], result: "i32" },
});

/**
 * Mounting, by the calls of Linux 5.2 and later (`linux/mount.h`). They go through `syscall(2)`, by
 * numbers that every architecture shares (`asm-generic/unistd.h`): glibc has wrappers only since
 * 2.36.
 */
export const newMounts = group({
  // long syscall(SYS_fsopen, const char *fsname, unsigned int flags);
  fsopen: {
    name: "syscall",
    parameters: ["i32", "buffer", "u32"],
    result: "i32",
  },
  // long syscall(SYS_fsconfig, int fd, unsigned int cmd, const char *key, const void *value, int
  // aux);
  fsconfig: {
    name: "syscall",
    parameters: ["i32", "i32", "u32", "buffer", "buffer", "i32"],
    result: "i32",
  },
  // long syscall(SYS_fsmount, int fd, unsigned int flags, unsigned int attr_flags);
  fsmount: {
    name: "syscall",
    parameters: ["i32", "i32", "u32", "u32"],
    result: "i32",
  },
  // long syscall(SYS_move_mount, int from_dirfd, const char *from, int to_dirfd, const char *to,
  // unsigned int flags);
  move_mount: {
    name: "syscall",
    parameters: ["i32", "i32", "buffer", "i32", "buffer", "u32"],
    result: "i32",
  },
  // long syscall(SYS_open_tree, int dirfd, const char *path, unsigned int flags);
  open_tree: {
    name: "syscall",
    parameters: ["i32", "i32", "buffer", "u32"],
    result: "i32",
  },
  // long syscall(SYS_mount_setattr, int dirfd, const char *path, unsigned int flags,
  // struct mount_attr *attr, size_t size);
  mount_setattr: {
    name: "syscall",
    parameters: ["i32", "i32", "buffer", "u32", "buffer", "usize"],
    result: "i32",
  },
});

/** A file system's type, space and quotas. */
export const volumes = group({
  // int statfs64(const char *path, struct statfs64 *buf);
  statfs64: { parameters: ["buffer", "buffer"], result: "i32" },
  // int fstatfs64(int fd, struct statfs64 *buf);
  fstatfs64: { parameters: ["i32", "buffer"], result: "i32" },
  // int quotactl(int op, const char *special, int id, void *addr);
  quotactl: { parameters: ["i32", "buffer", "u32", "buffer"], result: "i32" },
  // long syscall(SYS_quotactl_fd, unsigned int fd, unsigned int cmd, qid_t id, void *addr);
  quotactl_fd: {
    name: "syscall",
    parameters: ["i32", "i32", "u32", "u32", "buffer"],
    result: "i32",
  },
});

/** Control of devices and file systems. */
export const control = group({
  // int ioctl(int fd, unsigned long op, void *arg);
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  // int ioctl(int fd, unsigned long op, int arg);
  ioctlNumber: {
    name: "ioctl",
    parameters: ["i32", "u64", "i32"],
    result: "i32",
  },
});

/** Sockets of kinds that the runtime does not have. */
export const sockets = group({
  // int socket(int domain, int type, int protocol);
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // ssize_t sendto(int sockfd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
  // socklen_t addrlen);
  sendto: { parameters: ["i32", "buffer", "u32", "i32", "buffer", "u32"], result: "i32" },
});
