/** HPACK, with the examples of RFC 7541 and with blocks of hostile clients. */
import { assertEquals, assertThrows } from "@std/assert";
import {
  encodeFields,
  type Field,
  HpackDecoder,
  HpackError,
} from "../../lib/services/http2/hpack.ts";
import { decodeHuffman } from "../../lib/services/http2/huffman.ts";

const LIMIT = 1 << 16;

function bytes(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(hex.replaceAll(/\s/g, ""));
}

const decode = (hex: string, decoder = new HpackDecoder()) => decoder.decode(bytes(hex), LIMIT);

/** Blocks of one connection, each with its fields. */
function checkInTurn(blocks: readonly (readonly [hex: string, fields: readonly Field[]])[]): void {
  const decoder = new HpackDecoder();
  for (const [hex, fields] of blocks) {
    assertEquals(decode(hex, decoder), { fields, oversized: false }, hex);
  }
}

Deno.test("hpack: literal and indexed fields (RFC 7541, C.2)", () => {
  assertEquals(decode("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572").fields, [
    ["custom-key", "custom-header"],
  ]);
  assertEquals(decode("040c 2f73 616d 706c 652f 7061 7468").fields, [[":path", "/sample/path"]]);
  assertEquals(decode("1008 7061 7373 776f 7264 0673 6563 7265 74").fields, [[
    "password",
    "secret",
  ]]);
  assertEquals(decode("82").fields, [[":method", "GET"]]);
});

const REQUESTS: readonly (readonly Field[])[] = [
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
  ],
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
    ["cache-control", "no-cache"],
  ],
  [
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/index.html"],
    [":authority", "www.example.com"],
    ["custom-key", "custom-value"],
  ],
];

Deno.test("hpack: requests of one connection (RFC 7541, C.3)", () => {
  checkInTurn([
    ["8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", REQUESTS[0]],
    ["8286 84be 5808 6e6f 2d63 6163 6865", REQUESTS[1]],
    ["8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", REQUESTS[2]],
  ]);
});

Deno.test("hpack: the same in Huffman code (RFC 7541, C.4)", () => {
  checkInTurn([
    ["8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", REQUESTS[0]],
    ["8286 84be 5886 a8eb 1064 9cbf", REQUESTS[1]],
    ["8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", REQUESTS[2]],
  ]);
});

Deno.test("hpack: responses of one connection (RFC 7541, C.5)", () => {
  const date = "Mon, 21 Oct 2013 20:13:21 GMT", later = "Mon, 21 Oct 2013 20:13:22 GMT";
  const [priv, location]: Field[] = [
    ["cache-control", "private"],
    ["location", "https://www.example.com"],
  ];
  checkInTurn([
    // As in C.6, the table's size is set to 256 bytes first.
    [
      "3fe1 01 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 " +
      "3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
      [[":status", "302"], priv, ["date", date], location],
    ],
    ["4803 3330 37c1 c0bf", [[":status", "307"], priv, ["date", date], location]],
    [
      "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f " +
      "6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 " +
      "303b 2076 6572 7369 6f6e 3d31",
      [
        [":status", "200"],
        priv,
        ["date", later],
        location,
        ["content-encoding", "gzip"],
        ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
      ],
    ],
  ]);
});

Deno.test("hpack: entries are evicted in the order of their age (RFC 7541, C.6)", () => {
  const date = "Mon, 21 Oct 2013 20:13:21 GMT", later = "Mon, 21 Oct 2013 20:13:22 GMT";
  const cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
  const location: Field = ["location", "https://www.example.com"];
  checkInTurn([
    // The table's size is set to 256 bytes first, because the RFC's examples assume that.
    [
      "3fe1 01 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad " +
      "1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
      [[":status", "302"], ["cache-control", "private"], ["date", date], location],
    ],
    [
      "4883 640e ffc1 c0bf",
      [[":status", "307"], ["cache-control", "private"], ["date", date], location],
    ],
    [
      "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 " +
      "dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
      [
        [":status", "200"],
        ["cache-control", "private"],
        ["date", later],
        location,
        ["content-encoding", "gzip"],
        ["set-cookie", cookie],
      ],
    ],
  ]);
});

Deno.test("hpack: integers (RFC 7541, C.1), as the index of a name and as a length", () => {
  // C.1.1: 10 with a prefix of 5 bits is 0a; C.1.2: 1337 is 1f 9a 0a. Tables of these sizes are
  // allowed.
  assertEquals(decode("2a 82").fields, [[":method", "GET"]]);
  assertEquals(decode("3f9a0a 82").fields, [[":method", "GET"]]);
  // C.1.3: 42 at the beginning of an octet, as a length.
  assertEquals(decode(`00 01 6e 2a ${"61".repeat(42)}`).fields, [["n", "a".repeat(42)]]);
  const name = "n".repeat(300);
  const long = encodeFields([[name, "v"]]);
  assertEquals(new HpackDecoder().decode(long, LIMIT).fields, [[name, "v"]]);
});

Deno.test("hpack: every octet has its Huffman code", () => {
  // RFC 7541, appendix B: the first and the last code of some lengths.
  const codes: [number, string][] = [
    [0x30, "00000"],
    [0x74, "01001"],
    [0x20, "010100"],
    [0x3a, "1011100"],
    [0x26, "11111000"],
    [0x21, "1111111000"],
    [0x00, "1111111111000"],
    [0x5c, "1111111111111110000"],
    [0xff, "11111111111111111111101110"],
    [0x16, "111111111111111111111111111110"],
  ];
  for (const [octet, code] of codes) {
    const padded = code.padEnd(Math.ceil(code.length / 8) * 8, "1");
    const input = Uint8Array.from(padded.match(/.{8}/g)!, (bits) => parseInt(bits, 2));
    assertEquals(decodeHuffman(input), String.fromCharCode(octet), code);
  }
});

Deno.test("hpack: invalid Huffman codes are refused", () => {
  assertEquals(decodeHuffman(bytes("ff ff ff ff")), undefined, "the end of the string, inside");
  assertEquals(decodeHuffman(bytes("1f ff")), undefined, "padding of more than seven bits");
  assertEquals(decodeHuffman(bytes("00")), undefined, "padding that is not ones");
  assertEquals(decodeHuffman(bytes("")), "");
});

Deno.test("hpack: malformed blocks are refused", () => {
  const malformed = {
    "index 0": "80",
    "an index beyond both tables": "be",
    "an index far beyond": "ff 80 80 01",
    "an integer without end": "ff ff ff ff ff ff",
    "an integer that is cut short": "ff 80",
    "a string that is cut short": "00 05 61 62",
    "a string of 2^28 bytes": "00 7f ff ff ff 7f",
    "a name without a value": "00 01 61",
    "a larger table than is allowed": "3f e2 1f",
    "a table size update behind a field": "82 20",
    "an invalid Huffman string": "00 84 ff ff ff ff 00",
  };
  for (const [what, hex] of Object.entries(malformed)) {
    assertThrows(() => decode(hex), HpackError, undefined, what);
  }
});

Deno.test("hpack: a list beyond the limit is cut, and the table stays right", () => {
  const decoder = new HpackDecoder();
  const value = "7f 81 1d" + "61".repeat(3840); // 127 + 0x81 - 0x80 + 0x1d * 128
  const added = decoder.decode(bytes(`40 01 6e ${value}`), 100);
  assertEquals(added, { fields: [], oversized: true });
  // Each index has one byte, and adds 3,873 bytes to the list: only listed fields take memory.
  const many = decoder.decode(bytes("be".repeat(30_000)), 16 << 10);
  assertEquals([many.fields.length, many.oversized], [4, true]);
  assertEquals(decoder.decode(bytes("be"), LIMIT).fields, [["n", "a".repeat(3840)]]);
});

Deno.test("hpack: a block that comes again is decoded by the table of that moment", () => {
  const decoder = new HpackDecoder();
  const add = (value: string) => `4001 61 01 ${value}`; // "a" with a value of one letter.
  assertEquals(decode(add("78"), decoder).fields, [["a", "x"]]);
  const first = decode("82be", decoder);
  assertEquals(first.fields, [[":method", "GET"], ["a", "x"]]);
  assertEquals(decode("82be", decoder), first);
  assertEquals(decode(add("79"), decoder).fields, [["a", "y"]]);
  assertEquals(decode("82be", decoder).fields, [[":method", "GET"], ["a", "y"]]);
  assertEquals(decode("82bf", decoder).fields, [[":method", "GET"], ["a", "x"]]);
  // A block that adds an entry adds one each time.
  for (let i = 0; i < 2; i++) decode(add("7a"), decoder);
  for (const index of ["be", "bf"]) assertEquals(decode(index, decoder).fields, [["a", "z"]]);
  assertEquals(decode("c0", decoder).fields, [["a", "y"]]);
  decode("20", decoder); // The table gets a size of 0.
  assertThrows(() => decode("be", decoder), HpackError);
  assertThrows(() => decode("82be", decoder), HpackError);
  // More blocks than are kept, twice: a literal that is not added.
  for (let i = 0; i < 60; i++) {
    const value = String.fromCharCode(0x61 + i % 20);
    const block = `0001 62 01 ${value.charCodeAt(0).toString(16)}`;
    assertEquals(decode(block, decoder).fields, [["b", value]]);
  }
  assertEquals(decoder.decode(bytes("0001 62 01 61"), 8), { fields: [], oversized: true });
});

Deno.test("hpack: encoded fields can be decoded", () => {
  const fields: Field[] = [
    [":status", "200"],
    ["content-type", "application/grpc"],
    ["grpc-status", "5"],
    ["grpc-message", "x".repeat(5000)],
    ["empty", ""],
  ];
  const { fields: decoded } = new HpackDecoder().decode(encodeFields(fields), LIMIT);
  assertEquals(decoded, fields);
});
