/** Mends the first of the branches `DIR/0`, `DIR/1`, … and prints how much it made. */
import { mendBranch } from "../../../drivers/aufs/opaque.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../../ffi/files.ts";

const [directory] = Deno.args;
const branch = (i: number) => () => open(`${directory}/${i}`, O_RDONLY | O_DIRECTORY);
const count = [...Deno.readDirSync(directory)].length;
const [first, ...lowers] = Array.from({ length: count }, (_, i) => branch(i));
console.log(withFd(first(), (fd) => mendBranch(fd, lowers, { applied: true })));
