/**
 * Remedies as data. A library knows the fault, and not the command or the button by which its
 * caller mends it: dockerd and containerd show the same messages to people who never type `veneer`.
 * The command line words these in `lib/cli/remedies.ts`; every other caller may leave them out,
 * since a message is complete without its remedy.
 *
 * @module
 */

/** An act on the store that would help. */
export type Remedy =
  /** Look up which layers, snapshots or images there are. */
  | { readonly kind: "list"; readonly of: "layers" | "snapshots" | "images" }
  /** Make a store, by its first layer, snapshot or image, or open one elsewhere. */
  | { readonly kind: "make store"; readonly of: "layers" | "snapshots" | "images" }
  /** Look up which options drivers have. */
  | { readonly kind: "list options" }
  /** Undo a mount of the layer before anything else. */
  | { readonly kind: "umount"; readonly id: string }
  /** Detach the layer's busy mount. */
  | { readonly kind: "detach"; readonly id: string }
  /** Take down mounts of these layers that this program has no record of. */
  | { readonly kind: "umount foreign"; readonly ids: readonly string[] }
  /** Undo the mount of the snapshot with this key before anything else. */
  | { readonly kind: "umount snapshot"; readonly key: string }
  /** Have the layer mounted by this program instead of by its mount triples. */
  | { readonly kind: "mount"; readonly id: string }
  /** Name the parent, which is not recorded. */
  | { readonly kind: "name parent" }
  /** Create the layer read-write. */
  | { readonly kind: "create read-write" }
  /** Join layers, so that fewer lie below one. */
  | { readonly kind: "join"; readonly of: "layers" | "snapshots" }
  /** Name the id maps of the user namespace that the store belongs to. */
  | { readonly kind: "name id maps" }
  /** Open a store at another root. */
  | { readonly kind: "other root" }
  /** Bring a damaged file back from a backup, or open a store at another root. */
  | { readonly kind: "restore" }
  /** Open the store with one of these drivers, of which it is. */
  | { readonly kind: "driver"; readonly among: readonly string[] }
  /** Examine the machine and the store's place. */
  | { readonly kind: "examine" }
  /** Listen at another address. */
  | { readonly kind: "other address" }
  /** Serve another store, or end the commands that hold this one. */
  | { readonly kind: "other name" }
  /** Name the pool of the Docker store, which is on devices. */
  | { readonly kind: "docker pool" }
  /** Undo all mounts, and take the pool down. */
  | { readonly kind: "cleanup"; readonly of: "layers" | "snapshots" }
  /** Import what expands more than a thousandfold all the same. */
  | { readonly kind: "allow expansion" }
  /** Have the engine of the service that holds the store make the change, or end the service. */
  | { readonly kind: "ask engine" };
