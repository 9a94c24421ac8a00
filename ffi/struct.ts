/**
 * Layouts of C structures as data, so that one golden test can compare them all with the C
 * compiler.
 *
 * @module
 */

/** The C types that fields have; `u8` also stands for the first byte of an array. */
export type FieldType = "u8" | "u16" | "u32" | "i32" | "u64" | "i64";

/** A structure: its C name, its size in bytes and the offset of each field. */
export interface Layout<Name extends string = string> {
  /** As C writes it, such as `"struct statx"`. */
  readonly ctype: string;
  /** In bytes. */
  readonly size: number;
  readonly fields: Readonly<
    Record<Name, readonly [type: FieldType, offset: number]>
  >;
}

/** Declares a layout; the names are checked where it is used. */
export function layout<const Name extends string>(
  ctype: string,
  size: number,
  fields: Record<Name, readonly [type: FieldType, offset: number]>,
): Layout<Name> {
  return { ctype, size, fields };
}

/**
 * A structure in memory of its own, zeroed, read and written by field name (little-endian, as the
 * machine is).
 */
export class Struct<Name extends string> {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;

  constructor(readonly layout: Layout<Name>, length = layout.size) {
    this.bytes = new Uint8Array(length);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** A field's value; 64-bit fields come as BigInt from {@linkcode big}. */
  get(name: Name): number {
    const [type, offset] = this.layout.fields[name];
    switch (type) {
      case "u8":
        return this.#view.getUint8(offset);
      case "u16":
        return this.#view.getUint16(offset, true);
      case "u32":
        return this.#view.getUint32(offset, true);
      case "i32":
        return this.#view.getInt32(offset, true);
      default:
        return Number(this.big(name));
    }
  }

  /** A 64-bit field's value. */
  big(name: Name): bigint {
    const [type, offset] = this.layout.fields[name];
    return type === "i64"
      ? this.#view.getBigInt64(offset, true)
      : this.#view.getBigUint64(offset, true);
  }

  /** Sets a field; numbers and BigInts go to any width. Returns `this`, for chains. */
  set(name: Name, value: number | bigint): this {
    const [type, offset] = this.layout.fields[name];
    switch (type) {
      case "u8":
        this.#view.setUint8(offset, Number(value));
        break;
      case "u16":
        this.#view.setUint16(offset, Number(value), true);
        break;
      case "u32":
        this.#view.setUint32(offset, Number(value), true);
        break;
      case "i32":
        this.#view.setInt32(offset, Number(value), true);
        break;
      default:
        this.#view.setBigUint64(
          offset,
          BigInt.asUintN(64, BigInt(value)),
          true,
        );
    }
    return this;
  }

  /** Copies bytes (a NUL-terminated name, say) to a field. */
  put(name: Name, bytes: Uint8Array): this {
    this.bytes.set(bytes, this.layout.fields[name][1]);
    return this;
  }
}
