/*
 * Runs before the runtime does, in the compiled program: says in one line what the runtime would panic about
 * before any code of ours runs. It has no library, no relocations and no data of its own; tools/guard/attach
 * puts it into the runtime, and it ends by jumping to where the runtime starts.
 *
 * Checked: every argument is UTF-8, the working directory exists, /proc/self/exe can be opened.
 */
#define HIDDEN __attribute__((visibility("hidden")))

/* At the runtime's start the stack holds argc, argv, ...; rdx belongs to the C library's start. */
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
        "runtime: .quad 0x7265656e65762121\n" /* attach writes how far the runtime's start is from `guard` */
        ".popsection\n");

/* Numbers: asm/unistd_64.h. */
enum { SYS_write = 1, SYS_close = 3, SYS_open = 2, SYS_getcwd = 79, SYS_exit_group = 231 };

static long call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

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
  call(SYS_exit_group, status[0] - '0', 0, 0);
}

HIDDEN void check(long *stack) {
  char **argv = (char **)(stack + 1);
  char path[4096];
  for (char **one = argv; *one; one++) {
    if (is_utf8((const unsigned char *)*one)) continue;
    refuse(argv, "usage",
           "an argument is not valid UTF-8; name files by a path that is, such as through a symbolic link", "2");
  }
  /* A directory that is gone is ENOENT; one outside of the root begins with "(unreachable)". */
  if (call(SYS_getcwd, (long)path, sizeof path, 0) < 0 || path[0] != '/') {
    refuse(argv, "failed precondition", "the working directory does not exist any more; change to one that does", "8");
  }
  long fd = call(SYS_open, (long)"/proc/self/exe", 0, 0);
  if (fd < 0) refuse(argv, "incompatible", "/proc is not mounted, and the program reads itself there; mount it", "9");
  call(SYS_close, fd, 0, 0);
}
