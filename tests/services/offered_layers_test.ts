/**
 * Layers of imported images, which the service offers to containerd so that it need not fetch them.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { dirname } from "@std/path";
import { openImages } from "../../drivers/images.ts";
import { dir, file } from "../tar/support/tar_builder.ts";
import { chainsOf, image, layer, oneImage, writeFiles } from "../images/builder.ts";
import { lacksFileSystem, needs, tempDir } from "../support/cases.ts";
import { commit, list, make, ofKey, readInfos } from "./snapshots_client.ts";
import { TestService } from "./service_support.ts";

/** gRPC's codes (grpc/doc/statuscodes.md). */
const OK = 0, ALREADY_EXISTS = 6, FAILED_PRECONDITION = 9;

needs(
  lacksFileSystem("overlay"),
  "offered layers: containerd finds those of an image",
  async () => {
    await using service = await TestService.start();
    using source = tempDir();
    const layers = [layer([dir("a/")]), layer([file("a/b", "c")])], [base, top] = chainsOf(layers);
    using client = await service.connect();
    const names = async () =>
      (await client.call("List", list())).messages.flatMap(readInfos).map(({ name }) => name);
    assertEquals([await names(), await names()], [[], []]);
    // While the service runs, others can only read the store. So it is opened like the service
    // does.
    {
      const root = dirname(dirname(service.home));
      using images = await openImages({ root, driver: "overlay2", purpose: "serve" });
      images.import(writeFiles(source.path, oneImage(image(layers))));
    }
    assertEquals((await names()).toSorted(), [base, top].toSorted(), "told by what is there now");
    const prepare = async (key: string, parent: string, reference: string) =>
      (await client.call("Prepare", make(key, parent, { "containerd.io/snapshot.ref": reference })))
        .status;
    assertEquals(await prepare("one", "", base), ALREADY_EXISTS);
    const { messages } = await client.call(
      "List",
      list(`labels."containerd.io/snapshot.ref"==${base},parent==""`),
    );
    assertEquals(messages.flatMap(readInfos).map(({ name }) => name), [base]);
    assertEquals(await prepare("two", base, top), ALREADY_EXISTS);
    assertEquals(await prepare("three", "", top), OK, "on another parent it is another layer");
    const { status, message } = await client.call("Remove", ofKey(top));
    assertEquals(status, FAILED_PRECONDITION);
    assertMatch(message!, /uppermost layer of an image/);

    // A layer that an engine has made itself is not offered.
    const own = "sha256:own", labels = { "containerd.io/snapshot.ref": own };
    assertEquals(await prepare("four", "", own), OK);
    assertEquals((await client.call("Commit", commit(own, "four", labels))).status, OK);
    assertEquals(await prepare("five", "", own), OK);
  },
);
