/**
 * libdevmapper: every function this project calls in it, under its C prototype.
 *
 * The library keeps its state (the control device, the log function, udev's settings) in global
 * variables and is not made for threads. So each call that may log or change that state is made in
 * its thread's turn (`devmapper_turn.ts`), with the log function set for its length
 * (`devmapper_log.ts`): no callback of an ended Worker is left behind.
 *
 * @module
 */
import { SyscallError } from "./errno.ts";

const LIBRARY = "libdevmapper.so.1.02.1";

const SYMBOLS = {
  // struct dm_task *dm_task_create(int type);
  dm_task_create: { parameters: ["i32"], result: "pointer" },
  // void dm_task_destroy(struct dm_task *dmt);
  dm_task_destroy: { parameters: ["pointer"], result: "void" },
  // int dm_task_run(struct dm_task *dmt);
  dm_task_run: { parameters: ["pointer"], result: "i32" },
  // void dm_task_update_nodes(void);
  dm_task_update_nodes: { parameters: [], result: "void" },
  // int dm_task_get_errno(struct dm_task *dmt);
  dm_task_get_errno: { parameters: ["pointer"], result: "i32" },
  // int dm_task_set_name(struct dm_task *dmt, const char *name);
  dm_task_set_name: { parameters: ["pointer", "buffer"], result: "i32" },
  // int dm_task_set_message(struct dm_task *dmt, const char *message);
  dm_task_set_message: { parameters: ["pointer", "buffer"], result: "i32" },
  // int dm_task_set_sector(struct dm_task *dmt, uint64_t sector);
  dm_task_set_sector: { parameters: ["pointer", "u64"], result: "i32" },
  // int dm_task_add_target(struct dm_task *dmt, uint64_t start, uint64_t size, const char *ttype,
  // const char *params);
  dm_task_add_target: {
    parameters: ["pointer", "u64", "u64", "buffer", "buffer"],
    result: "i32",
  },
  // int dm_task_set_add_node(struct dm_task *dmt, dm_add_node_t add_node);
  dm_task_set_add_node: { parameters: ["pointer", "i32"], result: "i32" },
  // int dm_task_set_cookie(struct dm_task *dmt, uint32_t *cookie, uint16_t flags);
  dm_task_set_cookie: { parameters: ["pointer", "buffer", "u16"], result: "i32" },
  // int dm_task_deferred_remove(struct dm_task *dmt); missing in old libraries
  dm_task_deferred_remove: { parameters: ["pointer"], result: "i32", optional: true },
  // int dm_task_no_flush(struct dm_task *dmt);
  dm_task_no_flush: { parameters: ["pointer"], result: "i32" },
  // int dm_task_get_info(struct dm_task *dmt, struct dm_info *dmi);
  dm_task_get_info: { parameters: ["pointer", "buffer"], result: "i32" },
  // struct dm_names *dm_task_get_names(struct dm_task *dmt);
  dm_task_get_names: { parameters: ["pointer"], result: "pointer" },
  // struct dm_versions *dm_task_get_versions(struct dm_task *dmt);
  dm_task_get_versions: { parameters: ["pointer"], result: "pointer" },
  // int dm_task_get_driver_version(struct dm_task *dmt, char *version, size_t size);
  dm_task_get_driver_version: { parameters: ["pointer", "buffer", "u32"], result: "i32" },
  // void *dm_get_next_target(struct dm_task *dmt, void *next, uint64_t *start, uint64_t *length,
  // char **target_type, char **params);
  dm_get_next_target: {
    parameters: ["pointer", "pointer", "buffer", "buffer", "buffer", "buffer"],
    result: "pointer",
  },
  // int dm_get_library_version(char *version, size_t size);
  dm_get_library_version: { parameters: ["buffer", "u32"], result: "i32" },
  // const char *dm_dir(void);
  dm_dir: { parameters: [], result: "pointer" },
  // void dm_log_with_errno_init(dm_log_with_errno_fn fn);
  dm_log_with_errno_init: { parameters: ["function"], result: "void" },
  // int dm_udev_get_sync_support(void);
  dm_udev_get_sync_support: { parameters: [], result: "i32" },
  // int dm_udev_wait(uint32_t cookie);
  dm_udev_wait: { parameters: ["u32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The library's functions. */
export type DeviceMapperLibrary = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let opened: DeviceMapperLibrary | undefined;

/**
 * The library, loaded at the first call.
 *
 * @throws {SyscallError} ENOENT if it is not installed
 */
export function library(): DeviceMapperLibrary {
  if (opened !== undefined) return opened;
  const ENOENT = 2;
  try {
    return opened = Deno.dlopen(LIBRARY, SYMBOLS).symbols;
  } catch (error) {
    const detail = error instanceof Error ? error.message.replaceAll(/\s+/g, " ") : undefined;
    throw new SyscallError("dlopen", ENOENT, LIBRARY, detail);
  }
}
