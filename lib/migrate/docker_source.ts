/**
 * A Docker root as the source of a migration: the layers that its images and containers have, read
 * without Docker and without a trace.
 *
 * @module
 */
import { O_DIRECTORY, O_RDONLY, withFd } from "../../ffi/files.ts";
import { messageOf, VeneerError } from "../base/errors.ts";
import { IDENTITY } from "../base/id_maps.ts";
import { isDockerId, isId } from "../base/ids.ts";
import type { Warn } from "../base/warn.ts";
import { deltaOf } from "../images/docker/delta.ts";
import { FrozenDirectory } from "../images/docker/frozen.ts";
import type { DockerStore } from "../images/docker/store.ts";
import { JsonFields, parseJson } from "../images/json.ts";
import type { Bytes } from "../services/bytes.ts";
import { treeDelta } from "../tar/export/delta.ts";
import { exportTree } from "../tar/export/export.ts";
import { type Call, sendResult } from "./calls.ts";
import type { Member } from "./member.ts";
import { End, strayCall, writeTar } from "./source.ts";

/** Where Docker's records of layers are, in `image/<driver>`. */
const CHAINS = "layerdb/sha256", MOUNTS = "layerdb/mounts";

/** The limits of a container's layer that drivers know. */
const LIMITS = ["size", "inodes"];

/** A Docker root. */
export class DockerSource extends End {
  /** The names of layers, and the name of each one's parent. */
  readonly #parents = new Map<string, string>();

  constructor(readonly docker: DockerStore, readonly warn: Warn) {
    super({
      name: docker.driver,
      home: `${docker.root}/${docker.driver}`,
      status: () => [],
      close: () => docker[Symbol.dispose](),
    });
  }

  perform(call: Call, emit: (bytes: Bytes) => void): void {
    switch (call.kind) {
      case "list":
        return sendResult(emit, this.#list());
      case "diff": {
        const { id, isWhole, output } = call;
        return writeTar(output, (fd) => this.#diff(id, isWhole, fd));
      }
      case "read records":
        return writeTar(call.output, (fd) => this.#writeRecords(fd));
      default:
        throw strayCall(call);
    }
  }

  #list(): Member[] {
    const { images } = this.docker.layers;
    const members = new Map<string, Member>();
    const add = (member: Omit<Member, "kind">) => {
      if (members.has(member.id)) {
        return this.warn(`${member.record}: its layer ${member.id} is another one's, too`);
      }
      members.set(member.id, { ...member, kind: "layer" });
      this.#parents.set(member.id, member.parent);
    };
    for (const name of images.list(CHAINS)) {
      const record = `${CHAINS}/${name}`;
      this.#trying(record, () => {
        const { cacheId, parent, size } = this.docker.layers.layer(`sha256:${name}`);
        add({ id: cacheId, parent: this.#cacheIdOf(parent), record, bytes: size });
      });
    }
    for (const name of images.list(MOUNTS)) {
      const record = `${MOUNTS}/${name}`;
      this.#trying(record, () => {
        if (!isDockerId(name)) {
          throw new VeneerError("corrupt store", "is no container's");
        }
        const own = this.#nameIn(`${record}/mount-id`);
        const init = images.text(`${record}/init-id`) && this.#nameIn(`${record}/init-id`);
        const base = this.#cacheIdOf(images.text(`${record}/parent`) || undefined);
        if (init) add({ id: init, parent: base, record });
        add({ id: own, parent: init || base, record, storageOptions: this.#limitsOf(name) });
      });
    }
    return [...members.values()];
  }

  /** One bad record is one warning. */
  #trying(record: string, use: () => void): void {
    try {
      use();
    } catch (error) {
      this.warn(`${this.docker.layers.images.path}/${record} is left out: ${messageOf(error)}`);
    }
  }

  #nameIn(path: string): string {
    const text = this.docker.layers.images.text(path);
    if (text !== undefined && isId(text)) return text;
    throw new VeneerError("corrupt store", `${path} holds no layer's name`);
  }

  #cacheIdOf(chain: string | undefined): string {
    return chain === undefined ? "" : this.docker.layers.layer(chain).cacheId;
  }

  /** The limits that a container was made with. */
  #limitsOf(container: string): Record<string, string> {
    try {
      using directory = FrozenDirectory.open(`${this.docker.root}/containers`);
      const path = `${container}/hostconfig.json`, bytes = directory?.read(path);
      if (bytes === undefined) return {};
      const options = new JsonFields(parseJson(bytes, path), path).object("StorageOpt");
      return Object.fromEntries(
        LIMITS.map((key) => [key, options?.text(key)] as const)
          .filter((entry): entry is [string, string] => entry[1] !== undefined),
      );
    } catch (error) {
      this.warn(`the limits of container ${container} are not known: ${messageOf(error)}`);
      return {};
    }
  }

  #diff(id: string, isWhole: boolean, output: number): void {
    using scope = new DisposableStack();
    const trees = this.docker.trees(), chain = this.#chain(id);
    const options = { idMaps: IDENTITY, warn: this.warn, allNames: true };
    if (isWhole) {
      // An overlay has two layers at least.
      const root = chain.length === 1 ? trees.open(id, scope) : trees.whole(chain, scope);
      // The marks of aufs are files, which show; those of overlay are not seen through it.
      if (trees.form === "aufs") exportTree(root, output, "aufs", options);
      else treeDelta(root, undefined).export(output, options);
    } else deltaOf(trees, chain, scope).export(output, options);
  }

  /** A layer and those below it, uppermost first. The plan has no circle. */
  #chain(id: string): [string, ...string[]] {
    const chain: [string, ...string[]] = [id];
    for (let at = this.#parents.get(id); at; at = this.#parents.get(at)) chain.push(at);
    return chain;
  }

  /** Writes `image/<driver>` as a tar. */
  #writeRecords(output: number): void {
    const { images } = this.docker.layers;
    withFd(
      images.open(".", O_RDONLY | O_DIRECTORY)!,
      (fd) => exportTree(fd, output, "none", { idMaps: IDENTITY, warn: this.warn }),
    );
  }
}
