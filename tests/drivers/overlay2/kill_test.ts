/** overlay2 killed at any point: nothing half-made is used, nothing is left. */
// @runs on ext4
// @runs long on xfs
import { lacksFileSystem } from "../../support/cases.ts";
import { names } from "../../support/files.ts";
import { killCases } from "../kill/graph.ts";

/** Links in `l/` that lead nowhere or that no layer calls its own, and what is staged. */
function lost(home: string): string[] {
  const found = names(`${home}/.veneer/staging`);
  for (const { name } of Deno.readDirSync(`${home}/l`)) {
    const [, id] = Deno.readLinkSync(`${home}/l/${name}`).split("/");
    try {
      if (Deno.readTextFileSync(`${home}/${id}/link`) !== name) found.push(`l/${name}`);
    } catch {
      found.push(`l/${name}`);
    }
  }
  return found;
}

killCases("overlay2", lacksFileSystem("overlay"), lost);
