/** libdevmapper's messages, formatted from the arguments as C passes them. */
import { assertEquals } from "@std/assert";
import { formatMessage } from "../../ffi/devmapper_log.ts";

const strings = new Map([[16n, "pool"], [32n, "No such device"]]);
const format = (text: string, ...values: bigint[]) =>
  formatMessage(text, values, (address) => strings.get(address) ?? "(null)");

Deno.test("messages of the library are formatted as printf does", () => {
  assertEquals(
    format("device-mapper: %s ioctl on %s (%u:%u) failed: %s", 16n, 16n, 254n, 3n, 32n),
    "device-mapper: pool ioctl on pool (254:3) failed: No such device",
  );
  assertEquals(format("%d %i %u", 0xffff_ffffn, 5n, 0xffff_ffffn), "-1 5 4294967295");
  assertEquals(format("%ld %llu", (1n << 64n) - 2n, (1n << 64n) - 1n), "-2 18446744073709551615");
  assertEquals(format("%x %#x %o %08x", 255n, 255n, 8n, 0xbeefn), "ff 0xff 10 0000beef");
  assertEquals(
    format("[%6s] [%-6s] [%.2s] [%*d]", 16n, 16n, 16n, 4n, 7n),
    "[  pool] [pool  ] [po] [   7]",
  );
  assertEquals(format("100%% of %c%c", 0x41n, 0x42n), "100% of AB");
  assertEquals(format("%p %s", 0xdeadn, 0n), "0xdead (null)");
  assertEquals(format("%zu %hhu %hu", 5n, 0x1ffn, 0x1ffffn), "5 255 65535");
});

Deno.test("more directives than arguments read nothing", () => {
  assertEquals(format("%d %d", 1n), "1 0");
});
