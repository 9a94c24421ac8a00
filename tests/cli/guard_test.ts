/**
 * The guard, put into a small program instead of the runtime: it refuses what the runtime would
 * panic about, and otherwise the program runs as without it. Another machine's is emulated.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { lacksProgram, must, needs, run, tempDir } from "../support/cases.ts";

/** Tells its arguments, its environment and the end of its file, where a runtime has its program. */
const RUNTIME = `
#include <stdio.h>
#include <stdlib.h>

static void ended(void) { puts("ended"); }

int main(int count, char **values) {
  char end[5] = "";
  FILE *self = fopen(values[0], "rb");
  if (!self || fseek(self, -4, SEEK_END) || fread(end, 1, 4, self) != 4) return 1;
  atexit(ended);
  printf("%d %s %s %s %s\\n", count, values[count - 1], end, getenv("KEPT"), getenv("TMPDIR"));
  return 7;
}
`;

/** A machine that programs are for: how they are made and run here. */
interface Machine {
  readonly lacking: string | undefined;
  readonly compiler: string;
  /** The largest page of its kernels, in bytes. */
  readonly page: bigint;
  /** Commands that run a program, one for each size of its pages. */
  readonly runs: readonly (readonly string[])[];
}

function machine(name: "x86_64" | "aarch64"): Machine {
  const page = name === "aarch64" ? 65536n : 4096n;
  if (name === Deno.build.arch) {
    return { lacking: lacksProgram("gcc"), compiler: "gcc", page, runs: [[]] };
  }
  const compiler = `${name}-linux-gnu-gcc`, emulator = `qemu-${name}`;
  return {
    lacking: lacksProgram(compiler) ?? lacksProgram(emulator),
    compiler,
    page,
    runs: name === "aarch64" ? [[emulator], [emulator, "-p", "65536"]] : [[emulator]],
  };
}

/** Where the entry point's segment begins in a program's file and in its memory: elf(5), of 64 bits. */
function entrySegment(program: Uint8Array<ArrayBuffer>): { offset: bigint; address: bigint } {
  const view = new DataView(program.buffer), big = (at: number) => view.getBigUint64(at, true);
  const [entry, headers] = [big(24), Number(big(32))];
  for (let i = 0; i < view.getUint16(56, true); i++) {
    const at = headers + i * 56,
      [offset, address, size] = [big(at + 8), big(at + 16), big(at + 40)];
    const isLoaded = view.getUint32(at, true) === 1;
    if (isLoaded && entry >= address && entry < address + size) return { offset, address };
  }
  throw new Error("the entry point is in no segment");
}

for (const name of ["x86_64", "aarch64"] as const) {
  const { lacking, compiler, page, runs } = machine(name);
  needs(lacking, `guard: a program for ${name}`, () => {
    using dir = tempDir();
    const program = join(dir.path, "program");
    Deno.writeTextFileSync(`${program}.c`, RUNTIME);
    must(compiler, "-O1", "-o", program, `${program}.c`);
    Deno.writeTextFileSync(program, "data", { append: true });
    const environment = [
      `DENO=${Deno.execPath()}`,
      // Where Debian has the libraries of other machines.
      `QEMU_LD_PREFIX=${Deno.env.get("QEMU_LD_PREFIX") ?? `/usr/${name}-linux-gnu`}`,
    ];
    const shell = (script: string) => run("env", ...environment, "bash", "-c", script);
    const told = "2 ä data yes (null)\nended\n";
    const before = shell(`KEPT=yes ${[...runs[0], program].join(" ")} ä`);
    assertEquals([before.code, before.stdout], [7, told]);
    assertEquals(shell(`tools/guard/build ${program}`).stderr, "");
    const { offset, address } = entrySegment(Deno.readFileSync(program));
    assertEquals([offset % page, address % page], [0n, 0n]);
    for (const command of runs) {
      const start = [...command, program].join(" ");
      const { code, stdout } = shell(`KEPT=yes TMPDIR=/nowhere ${start} ä`);
      assertEquals([code, stdout], [7, told]);
      for (const bytes of ["\\xff", "a\\xe4b", "\\xed\\xa0\\x80", "\\xf4\\x90\\x80\\x80"]) {
        const { code, stdout, stderr } = shell(`${start} first $'${bytes}' last`);
        assertEquals([code, stdout], [2, ""]);
        assertMatch(stderr, /^veneer: an argument is not valid UTF-8; [^\n]+\n$/);
      }
      const json = shell(`${start} --json $'\\xff'`);
      assertEquals([json.code, JSON.parse(json.stderr).error.code], [2, "usage"]);
      const gone = `mkdir ${dir.path}/gone && cd ${dir.path}/gone && rmdir ${dir.path}/gone`;
      const lost = shell(`${gone} && ${start}`);
      assertEquals(lost.code, 8);
      assertMatch(lost.stderr, /^veneer: the working directory does not exist any more; [^\n]+\n$/);
      const few = shell(`ulimit -n 20; ${start}`);
      assertEquals(few.code, 11);
      assertMatch(few.stderr, /^veneer: fewer than 32 files may be open at a time, [^\n]+\n$/);
      assertEquals(shell(`ulimit -Sn 20; KEPT=yes ${start} ä`).code, 7);
    }
  });
}
