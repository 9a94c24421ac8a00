/*
 * Runs before the runtime does, in the compiled program: says in one line what the runtime would panic about
 * before any code of ours runs. It has no library, no relocations and no data of its own; tools/guard/attach
 * puts it into the runtime, and it ends by jumping to where the runtime starts.
 *
 * Checked: every argument is UTF-8, the working directory exists, /proc/self/exe can be opened, enough files may
 * be open. TMPDIR is taken out of the environment: the runtime derives the name of its embedded files from it and
 * stops if that is not an absolute path in UTF-8, and Veneer makes no temporary files there.
 */
#define HIDDEN __attribute__((visibility("hidden")))

/*
 * At the runtime's start the stack holds argc, argv, ...; rdx, or x0, belongs to the C library's start. `runtime` is
 * where tools/guard/attach.ts writes how far the runtime's start is from `guard`.
 */
#if defined(__x86_64__)
__asm__(".pushsection .text.start,\"ax\"\n"
        ".globl guard\n"
        "guard: push %rdx\n"
        "       sub $8, %rsp\n"
        "       lea 16(%rsp), %rdi\n"
        "       call check\n"
        "       add $8, %rsp\n"
        "       pop %rdx\n"
        "       lea guard(%rip), %rax\n"
        "       add runtime(%rip), %rax\n"
        "       jmp *%rax\n"
        "       .balign 8\n"
        "runtime: .quad 0x7265656e65762121\n"
        ".popsection\n");

/* Numbers: asm/unistd_64.h. */
enum { SYS_write = 1, SYS_close = 3, SYS_getcwd = 79, SYS_exit_group = 231, SYS_openat = 257, SYS_prlimit64 = 302 };

static long call4(long number, long a, long b, long c, long d) {
  register long fourth __asm__("r10") = d;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                   : "rcx", "r11", "memory");
  return result;
}

#elif defined(__aarch64__)
/* `hint #38` is `bti jc`: the loader may jump here by any register. A jump by x16 is allowed to a `bti c`. */
__asm__(".pushsection .text.start,\"ax\"\n"
        ".globl guard\n"
        "guard: hint #38\n"
        "       stp x0, x30, [sp, #-16]!\n"
        "       add x0, sp, #16\n"
        "       bl check\n"
        "       ldp x0, x30, [sp], #16\n"
        "       adr x16, guard\n"
        "       ldr x17, runtime\n"
        "       add x16, x16, x17\n"
        "       br x16\n"
        "       .balign 8\n"
        "runtime: .quad 0x7265656e65762121\n"
        ".popsection\n");

/* Numbers: asm-generic/unistd.h. */
enum { SYS_getcwd = 17, SYS_openat = 56, SYS_close = 57, SYS_write = 64, SYS_exit_group = 94, SYS_prlimit64 = 261 };

static long call4(long number, long a, long b, long c, long d) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}
#else
#error "the guard is for x86_64 and aarch64"
#endif

/* linux/fcntl.h. */
enum { AT_FDCWD = -100 };

/* asm-generic/resource.h. */
enum { RLIMIT_NOFILE = 7 };
struct rlimit64 { unsigned long soft, hard; };

/* Below this the runtime itself panics; what a command needs is checked where the command is known. */
enum { RUNTIME_FILES = 32 };

static long call(long number, long a, long b, long c) { return call4(number, a, b, c, 0); }

static unsigned long length(const char *text) {
  unsigned long n = 0;
  while (text[n]) n++;
  return n;
}

static void say(const char *text) { call(SYS_write, 2, (long)text, (long)length(text)); }

static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

/* Whether bytes are UTF-8 (RFC 3629): no overlong forms, no surrogates, at most U+10FFFF. */
static int is_utf8(const unsigned char *at) {
  while (*at) {
    unsigned char first = *at++;
    unsigned char low = 0x80, high = 0xbf;
    int more;
    if (first < 0x80) continue;
    if (first >= 0xc2 && first <= 0xdf) more = 1;
    else if (first >= 0xe0 && first <= 0xef) more = 2;
    else if (first >= 0xf0 && first <= 0xf4) more = 3;
    else return 0;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
    for (; more > 0; more--, low = 0x80, high = 0xbf) {
      if (*at < low || *at > high) return 0;
      at++;
    }
  }
  return 1;
}

/* Ends the program with one line, as the program itself does, or as an object with --json. */
static void refuse(char **argv, const char *code, const char *message, const char *status) {
  int json = 0;
  for (char **one = argv; *one; one++) json |= same(*one, "--json");
  say(json ? "{\"error\":{\"code\":\"" : "veneer: ");
  if (json) say(code), say("\",\"message\":\"");
  say(message);
  if (json) say("\",\"exit\":"), say(status), say("}}");
  say("\n");
  long exit = 0;
  for (; *status; status++) exit = exit * 10 + *status - '0';
  call(SYS_exit_group, exit, 0, 0);
}

static int begins(const char *text, const char *start) {
  while (*start && *text == *start) text++, start++;
  return *start == 0;
}

static void drop_tmpdir(char **environment) {
  char **kept = environment;
  for (char **one = environment; *one; one++) {
    if (!begins(*one, "TMPDIR=")) *kept++ = *one;
  }
  *kept = 0;
}

/* Raises the soft limit of open files to the hard one if the runtime needs more. */
static int has_files(void) {
  struct rlimit64 limit;
  if (call4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit) < 0) return 1;
  if (limit.soft >= RUNTIME_FILES) return 1;
  if (limit.hard < RUNTIME_FILES) return 0;
  limit.soft = limit.hard;
  return call4(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)&limit, 0) == 0;
}

HIDDEN void check(long *stack) {
  char **argv = (char **)(stack + 1);
  char path[4096];
  drop_tmpdir(argv + stack[0] + 1);
  for (char **one = argv; *one; one++) {
    if (is_utf8((const unsigned char *)*one)) continue;
    refuse(argv, "usage",
           "an argument is not valid UTF-8; name files by a path that is, such as through a symbolic link", "2");
  }
  /* A directory that is gone is ENOENT; one outside of the root begins with "(unreachable)". */
  if (call(SYS_getcwd, (long)path, sizeof path, 0) < 0 || path[0] != '/') {
    refuse(argv, "failed precondition", "the working directory does not exist any more; change to one that does", "8");
  }
  if (!has_files()) {
    refuse(argv, "limit exceeded",
           "fewer than 32 files may be open at a time, and 512 are needed; raise the limit (ulimit -n)", "11");
  }
  long fd = call(SYS_openat, AT_FDCWD, (long)"/proc/self/exe", 0);
  if (fd < 0) refuse(argv, "incompatible", "/proc is not mounted, and the program reads itself there; mount it", "9");
  call(SYS_close, fd, 0, 0);
}
