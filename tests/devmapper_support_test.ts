/** What devicemapper says where the kernel has no device-mapper. */
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { examine } from "../drivers/devicemapper/examine.ts";
import { devicemapper } from "../drivers/devicemapper/mod.ts";
import { checkSupport } from "../drivers/devicemapper/support.ts";
import { VeneerError } from "../lib/errors.ts";
import { IDENTITY } from "../lib/id_maps.ts";
import { needs, tempDir } from "./support.ts";

const problem = checkSupport();
const lacks = problem === undefined ? "the kernel has device-mapper" : undefined;

needs(lacks, "a kernel without device-mapper is one clear line, and nothing is made", () => {
  using dir = tempDir();
  const open = () =>
    devicemapper.open({
      root: `${dir.path}/root`,
      options: new Map(),
      idMaps: IDENTITY,
      warn: () => {},
    });
  const error = assertThrows(open, VeneerError);
  assertEquals(error.code, "not supported");
  assertMatch(
    error.message,
    /^the kernel has no (device-mapper|thin provisioning) \(CONFIG_\w+, module dm-[\w-]+\); install [^\n]+$/,
  );
  assertEquals([...Deno.readDirSync(dir.path)], []);

  const [finding, ...others] = examine(dir.path);
  assertEquals([finding.state, others], ["missing", []]);
  assertEquals(`${finding.what}; ${finding.remedy}`, error.message);
});
