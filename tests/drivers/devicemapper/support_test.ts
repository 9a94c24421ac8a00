/** What devicemapper says where the kernel has no device-mapper. */
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { examine } from "../../../drivers/devicemapper/examine.ts";
import * as devicemapper from "../../../drivers/devicemapper/driver.ts";
import { parseDriverOptions } from "../../../drivers/devicemapper/options.ts";
import {
  checkSupport,
  decideDeferral,
  hasDeferredRemoval,
} from "../../../drivers/devicemapper/support.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { needs, tempDir } from "../../support/cases.ts";

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

Deno.test("deferral is on where kernel and library have it, unless options say otherwise", () => {
  const decided = (hasIt: boolean, removal?: string, deletion?: string) => {
    const options = new Map<string, string>();
    if (removal !== undefined) options.set("dm.use_deferred_removal", removal);
    if (deletion !== undefined) options.set("dm.use_deferred_deletion", deletion);
    const { deferredRemoval, deferredDeletion } = decideDeferral(
      parseDriverOptions(options),
      hasIt,
    );
    return [deferredRemoval, deferredDeletion];
  };
  assertEquals(decided(true), [true, true]);
  assertEquals(decided(true, "false"), [false, false]);
  assertEquals(decided(true, "true", "false"), [true, false]);
  assertEquals(decided(true, undefined, "false"), [true, false]);
  assertEquals(decided(true, undefined, "true"), [true, true]);
  assertEquals(decided(false), [false, false]);
  assertEquals(decided(false, "false", "false"), [false, false]);
  for (
    const [removal, deletion, key] of [["true", "false", "removal"], [
      undefined,
      "true",
      "deletion",
    ]]
  ) {
    const error = assertThrows(() => decided(false, removal, deletion), VeneerError);
    assertEquals(error.code, "not supported");
    assertMatch(error.message, new RegExp(`^dm\\.use_deferred_${key}: kernel .*; leave it out$`));
  }
});

Deno.test("the kernel's interface has deferred removal from 4.27 on", () => {
  const versions = ["3.30.0", "4.9.0", "4.26.0", "4.27.0", "4.47.0", "5.0.0"];
  assertEquals(versions.map((version) => hasDeferredRemoval(version)), [
    false,
    false,
    false,
    true,
    true,
    true,
  ]);
});
