/**
 * Layers of imported images, which the service offers to containerd so that it need not fetch them.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { dirname } from "@std/path";
import { openImages } from "../../drivers/images.ts";
import type { Images } from "../../lib/images/images.ts";
import { dir, file } from "../tar/support/tar_builder.ts";
import {
  type BuiltLayer,
  chainsOf,
  image,
  layer,
  oneImage,
  writeFiles,
} from "../images/builder.ts";
import { lacksFileSystem, needs, tempDir } from "../support/cases.ts";
import { veneer } from "../support/commands.ts";
import type { GrpcClient, Reply } from "./grpc_client.ts";
import { commit, list, make, ofKey, readInfos, update } from "./snapshots_client.ts";
import { TestService } from "./service_support.ts";

/** gRPC's codes (grpc/doc/statuscodes.md). */
const OK = 0, NOT_FOUND = 5, ALREADY_EXISTS = 6, FAILED_PRECONDITION = 9;

const REF = "containerd.io/snapshot.ref";

const LAYERS = [
  layer([dir("a/")]),
  layer([file("a/b", "c")]),
  layer([file("a/d", "e")]),
] as const;
const [BASE, MIDDLE, TOP] = chainsOf(LAYERS);

/** A service, a connection to it, and the calls that containerd makes. */
class Node implements AsyncDisposable {
  private constructor(readonly service: TestService, public client: GrpcClient) {}

  static async start(): Promise<Node> {
    const service = await TestService.start();
    return new Node(service, await service.connect());
  }

  /** The names that containerd is shown, sorted. */
  async listed(...filters: string[]): Promise<string[]> {
    const { messages } = await this.client.call("List", list(...filters));
    return messages.flatMap(readInfos).map(({ name }) => name).toSorted();
  }

  /** The names that the command line shows, with its mark. */
  shown(): string[] {
    const options = ["--root", this.service.root, "--driver", "overlay2"];
    const words = ["snapshot", "ls", "--service", "veneer", "--format", "{name} {kind}"];
    const { code, stdout, stderr } = veneer(...options, ...words);
    assertEquals([code, stderr], [0, ""]);
    return stdout.trim().split("\n").toSorted();
  }

  async status(method: string, message: number[]): Promise<number | undefined> {
    return (await this.call(method, message)).status;
  }

  call(method: string, message: number[]): Promise<Reply> {
    return this.client.call(method, message);
  }

  /** Asks for a layer as an engine does that unpacks an image. */
  ask(key: string, parent: string, reference: string): Promise<number | undefined> {
    return this.status("Prepare", make(key, parent, { [REF]: reference }));
  }

  /**
   * Works on the store's images. While the service runs, others can only read the store. So it is
   * opened like the service does.
   */
  async withImages(use: (images: Images) => void): Promise<void> {
    const root = dirname(dirname(this.service.home));
    using images = await openImages({
      root,
      driver: "overlay2",
      purpose: "serve",
      isServed: true,
    });
    use(images);
  }

  async import(layers: readonly BuiltLayer[], name = "docker.io/library/app:latest") {
    using source = tempDir();
    const path = writeFiles(source.path, oneImage(image(layers), name));
    await this.withImages((images) => images.import(path));
  }

  /** Ends the service at once, as a loss of power ends it, and starts it again. */
  async killAndRestart(): Promise<void> {
    this.client[Symbol.dispose]();
    await this.service.process.end("SIGKILL");
    await this.service.restart();
    this.client = await this.service.connect();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await this.service[Symbol.asyncDispose]();
  }
}

/** Removes snapshots as containerd's collector does: all that are listed and not known, children first. */
async function collect(node: Node, known: readonly string[] = []): Promise<void> {
  const { messages } = await node.call("List", list());
  const infos = messages.flatMap(readInfos);
  const prune = async (parent: string): Promise<void> => {
    for (const { name } of infos.filter((info) => info.parent === parent)) {
      await prune(name);
      if (known.includes(name)) continue;
      const { status, message } = await node.call("Remove", ofKey(name));
      if (status !== FAILED_PRECONDITION) assertEquals([status, message], [OK, ""], name);
    }
  };
  await prune("");
}

const lacking = lacksFileSystem("overlay");

needs(
  lacking,
  "offered layers: containerd sees a layer from its adoption to its removal",
  async () => {
    await using node = await Node.start();
    assertEquals(await node.listed(), []);
    await node.import(LAYERS);
    const offered = [BASE, MIDDLE, TOP].toSorted();
    assertEquals(await node.listed(), [], "a collector would remove them");
    assertEquals(node.shown(), offered.map((name) => `${name} committed, offered`));

    assertEquals(await node.ask("one", "", BASE), ALREADY_EXISTS);
    assertEquals(await node.listed(`labels."${REF}"==${BASE},parent==""`), [BASE]);
    assertEquals(await node.ask("two", "", BASE), ALREADY_EXISTS, "of another namespace");
    assertEquals(await node.ask("three", BASE, MIDDLE), ALREADY_EXISTS);
    assertEquals(await node.listed(), [BASE, MIDDLE].toSorted());
    assertEquals(await node.ask("four", "", TOP), OK, "on another parent it is another layer");
    assertEquals(await node.status("Remove", ofKey("four")), OK);

    const { status, message } = await node.call("Remove", ofKey(BASE));
    assertEquals(status, FAILED_PRECONDITION);
    assertMatch(message!, /has children/);
    await collect(node, [BASE, MIDDLE]);
    assertEquals(await node.listed(), [BASE, MIDDLE].toSorted());
    await collect(node);
    assertEquals(await node.listed(), [], "offered again");
    assertEquals(node.shown(), offered.map((name) => `${name} committed, offered`));
    assertEquals(await node.status("Remove", ofKey(BASE)), OK, "a repeated removal");
    assertEquals(await node.ask("five", "", BASE), ALREADY_EXISTS);

    // A layer that an engine has made itself is not offered.
    const own = "sha256:own", labels = { [REF]: own };
    assertEquals(await node.ask("six", "", own), OK);
    assertEquals(await node.status("Commit", commit(own, "six", labels)), OK);
    assertEquals(await node.ask("seven", "", own), OK);
  },
);

needs(lacking, "offered layers: a snapshot on one adopts all below it", async () => {
  await using node = await Node.start();
  await node.import(LAYERS);
  // As if a loss of power had undone the adoption.
  assertEquals(await node.status("Prepare", make("container", MIDDLE)), OK);
  assertEquals(await node.listed(), [BASE, MIDDLE, "container"].toSorted());
  assertEquals(await node.status("Remove", ofKey(MIDDLE)), FAILED_PRECONDITION);
  await node.killAndRestart();
  assertEquals(await node.listed(), [BASE, MIDDLE, "container"].toSorted());
  await collect(node);
  assertEquals(await node.listed(), []);
  assertEquals(node.shown().length, LAYERS.length);
});

needs(
  lacking,
  "offered layers: image rm leaves containerd the layers that it has adopted",
  async () => {
    await using node = await Node.start();
    await node.import(LAYERS);
    assertEquals(await node.ask("one", "", BASE), ALREADY_EXISTS);
    assertEquals(await node.ask("two", BASE, MIDDLE), ALREADY_EXISTS);
    const removed = (name: string) =>
      node.withImages((images) => assertEquals(images.remove(name).layers, [TOP]));
    await removed("app");
    assertEquals(await node.listed(), [BASE, MIDDLE].toSorted());
    // The image comes back: its adopted layers are used again.
    await node.import(LAYERS);
    assertEquals(
      node.shown(),
      [
        `${BASE} committed`,
        `${MIDDLE} committed`,
        `${TOP} committed, offered`,
      ].toSorted(),
    );
    await removed("app");
    await collect(node);
    assertEquals([await node.listed(), await node.status("Stat", ofKey(BASE))], [[], NOT_FOUND]);
  },
);

needs(
  lacking,
  "offered layers: a store of an older version loses none to the collector",
  async () => {
    await using node = await Node.start();
    await node.import(LAYERS);
    await node.withImages(({ snapshots }) => {
      for (const name of [BASE, MIDDLE, TOP]) {
        snapshots.update({ name, labels: new Map() }, ["labels.veneer/offered"]);
      }
    });
    assertEquals(await node.listed(), [BASE, MIDDLE, TOP].toSorted());
    await collect(node, [BASE]);
    assertEquals(await node.listed(), [BASE]);
    assertEquals(await node.ask("one", BASE, MIDDLE), ALREADY_EXISTS);
  },
);

needs(lacking, "offered layers: containerd neither sees nor changes their own labels", async () => {
  await using node = await Node.start();
  await node.import(LAYERS);
  assertEquals(await node.ask("one", "", BASE), ALREADY_EXISTS);
  const labels = async () => {
    const { messages } = await node.call("List", list(`name==${BASE}`));
    return messages.flatMap(readInfos)[0].labels;
  };
  assertEquals(Object.keys(await labels()), [REF]);
  const replaced = { [REF]: BASE, "containerd.io/snapshot/x": "1", "veneer/offered": "x" };
  assertEquals(await node.status("Update", update(BASE, replaced)), OK);
  const paths = ["labels.veneer/diff-id", "labels.veneer/offered"];
  assertEquals(await node.status("Update", update(BASE, {}, ...paths)), OK);
  assertEquals(
    Object.keys(await labels()).toSorted(),
    [REF, "containerd.io/snapshot/x"].toSorted(),
  );
  assertEquals(await node.ask("two", "", BASE), ALREADY_EXISTS, "it still has its digest");
  // A snapshot of containerd's that has such labels is nothing but that.
  const forged = { "veneer/diff-id": BASE, "veneer/offered": "x", [REF]: "sha256:x" };
  assertEquals(await node.status("Prepare", make("key", "", forged)), OK);
  assertEquals(await node.status("Commit", commit("sha256:x", "key", forged)), OK);
  assertEquals(await node.listed(), [BASE, "sha256:x"].toSorted());
  assertEquals(await node.ask("three", "", "sha256:x"), OK);
});

needs(
  lacking,
  "offered layers: many ask at once, and one is unpacked by containerd meanwhile",
  async () => {
    await using node = await Node.start();
    // containerd began to unpack the layer before the image was imported.
    assertEquals(await node.ask("unpacking", "", BASE), OK);
    await node.import(LAYERS);
    const own = "default/1/base", labels = { [REF]: BASE };
    const [committed, ...asked] = await Promise.all([
      node.status("Commit", commit(own, "unpacking", labels)),
      ...Array.from({ length: 20 }, (_, i) => node.ask(`key${i}`, "", BASE)),
    ]);
    assertEquals(committed, OK);
    assertEquals([...new Set(asked)], [ALREADY_EXISTS]);
    const found = `labels."${REF}"==${BASE},parent==""`;
    assertEquals(await node.listed(found), [BASE, own].toSorted(), "it may take either");
    assertEquals(await node.ask("top", own, MIDDLE), OK, "on its own one it unpacks the next");
    assertEquals(await node.status("Remove", ofKey("top")), OK);
    const middle = await Promise.all(
      Array.from({ length: 20 }, (_, i) => node.ask(`upper${i}`, BASE, MIDDLE)),
    );
    assertEquals([...new Set(middle)], [ALREADY_EXISTS]);
    await collect(node, [own]);
    assertEquals(await node.listed(), [own]);
  },
);
