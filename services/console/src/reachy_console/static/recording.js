// Reads a recording: an uncompressed ZIP with sound and events. Pure and bounded. A fault is thrown as an error with a message.

export const BYTES_MAX = 80e6;
const ENTRIES_MAX = 16;
const EVENTS_MAX = 100_000;
const END = 0x06054b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;

const fail = (words) => {
  throw new Error(words);
};

export function read(buffer) {
  if (buffer.byteLength > BYTES_MAX) fail("The file is larger than 80 MB, too large for this page.");
  try {
    const files = entries(buffer);
    for (const name of ["about.json", "sound.wav", "events.jsonl"]) if (!files.has(name)) fail(`The file is not a recording: ${name} is missing.`);
    return { about: object(text(files.get("about.json"))) || fail("The file is not a recording: about.json cannot be read."), ...wav(files.get("sound.wav")), events: events(text(files.get("events.jsonl"))) };
  } catch (error) {
    if (error instanceof RangeError) fail("The file is damaged: it ends too early.");  // a DataView read beyond the end
    throw error;
  }
}

const text = (bytes) => new TextDecoder().decode(bytes);

function object(json) {
  try {
    const made = JSON.parse(json);
    return made && typeof made === "object" && !Array.isArray(made) ? made : null;
  } catch {
    return null;
  }
}

// Returns name -> bytes, read from the directory at the ZIP's end.
export function entries(buffer) {
  const view = new DataView(buffer);
  let end = buffer.byteLength - 22;
  const first = Math.max(0, end - 0xffff);
  while (end >= first && view.getUint32(end, true) !== END) end--;
  if (end < first) fail("The file is not a recording: it is not a ZIP file.");
  const count = view.getUint16(end + 10, true);
  if (count > ENTRIES_MAX) fail(`The file is not a recording: it holds ${count} files.`);
  const found = new Map();
  let at = view.getUint32(end + 16, true);
  for (let n = 0; n < count; n++) {
    if (view.getUint32(at, true) !== ENTRY) fail("The file is damaged: its directory cannot be read.");
    const [method, size, whole] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true), view.getUint32(at + 24, true)];
    const [nameSize, extraSize, noteSize] = [28, 30, 32].map((more) => view.getUint16(at + more, true));
    const local = view.getUint32(at + 42, true);
    const name = text(new Uint8Array(buffer, at + 46, nameSize));
    if (method !== 0 || size !== whole) fail(`The file is not a recording: ${name} is compressed.`);
    if (view.getUint32(local, true) !== LOCAL) fail(`The file is damaged: ${name} is not at its place.`);
    const begin = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    found.set(name, new Uint8Array(buffer, begin, size));
    at += 46 + nameSize + extraSize + noteSize;
  }
  return found;
}

// PCM, signed 16 bit, two channels: the person's and the robot's.
export function wav(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tag = (at) => String.fromCharCode(...[0, 1, 2, 3].map((n) => view.getUint8(at + n)));
  if (bytes.byteLength < 12 || tag(0) !== "RIFF" || tag(8) !== "WAVE") fail("The sound cannot be read: it is not a WAV file.");
  let rate_hz = 0;
  for (let at = 12; at + 8 <= bytes.byteLength; ) {
    const size = Math.min(view.getUint32(at + 4, true), bytes.byteLength - at - 8);
    if (tag(at) === "fmt ") {
      const [format, channels, bits] = [0, 2, 14].map((more) => view.getUint16(at + 8 + more, true));
      rate_hz = view.getUint32(at + 12, true);
      if (format !== 1 || channels !== 2 || bits !== 16 || rate_hz < 8000 || rate_hz > 48000) fail("The sound cannot be read: it must be PCM with 16 bits, two channels and 8 to 48 kHz.");
    }
    if (tag(at) === "data") {
      if (!rate_hz) break;
      const frames = Math.floor(size / 4);
      const sides = [new Float32Array(frames), new Float32Array(frames)];
      for (let n = 0; n < frames; n++) {
        sides[0][n] = view.getInt16(at + 8 + 4 * n, true) / 32768;
        sides[1][n] = view.getInt16(at + 10 + 4 * n, true) / 32768;
      }
      return { rate_hz, sides, seconds: frames / rate_hz };
    }
    at += 8 + size + (size % 2);
  }
  return fail("The sound cannot be read: the file has no sound data.");
}

// The events, ordered by time. A line that cannot be read is left out: its writing may have been cut off.
export function events(lines) {
  const found = [];
  for (const line of lines.split("\n", EVENTS_MAX)) {
    const it = object(line);
    if (it && Number.isFinite(it.t) && typeof it.kind === "string") found.push(it);
  }
  return found.sort((a, b) => a.t - b.t);
}

// The body's pose at a time, interpolated between the two poses around it.
export function poseAt(poses, t) {
  let low = 0;
  let high = poses.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (poses[mid].t <= t) low = mid + 1;
    else high = mid;
  }
  const [a, b] = [poses[low - 1], poses[low]];
  if (!a || !b) return (a || b || { pose: null }).pose;
  const part = b.t - a.t > 1 ? 0 : (t - a.t) / (b.t - a.t || 1);  // over a long gap the body held the earlier pose
  return a.pose.map((from, n) => from + (b.pose[n] - from) * part);
}

export const isPose = (it) => it.kind === "pose" && Array.isArray(it.pose) && it.pose.length === 9 && it.pose.every(Number.isFinite);
