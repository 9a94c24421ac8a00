/**
 * A lane that can be lost. It answers calls with their text, but ends with an error at `die`, and
 * never answers `hang`.
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
self.onmessage = ({ data }) => {
  if (data.type === "open") self.postMessage({ type: "opened", home: "/h", driver: "d" });
  else if (data.call === "die") throw new Error("as it was told");
  else if (data.call !== "hang") {
    const text = new TextEncoder().encode(data.call);
    self.postMessage({ type: "messages", messages: [text] });
    self.postMessage({ type: "done" });
  }
};
