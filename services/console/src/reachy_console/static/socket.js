// A worker that holds the page's socket, so that a busy page delays no sound. The page hands it the audio worklets' ports.

const BEHIND_S = 0.2;       // sound that may wait in the socket; beyond this, new chunks are dropped
const PAUSE_MS = [500, 8000];
const WELL_MS = 5000;       // after this long the connection counts as good, and the next pause is the shortest again
const NOT_AGAIN = 1008;     // WebSocket close code of an error that a new attempt does not cure
const TAKEN = 4001;         // WebSocket close code: another tab has this page's robot now

let socket = null;
let microphone = null;
let speaker = null;
let start = null;           // the message that began the conversation, sent again on a new socket
let look = null;            // the message that says what the page shows, sent again on a new socket
let pauseMs = PAUSE_MS[0];
let dropped = 0;
let wanted = false;

function connect() {
  const made = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  made.binaryType = "arraybuffer";
  made.onopen = () => {
    postMessage({ kind: "open" });
    if (start) made.send(JSON.stringify(start));
    if (look) made.send(JSON.stringify(look));
    setTimeout(() => { if (socket === made && made.readyState === WebSocket.OPEN) pauseMs = PAUSE_MS[0]; }, WELL_MS);
  };
  made.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) {
      if (speaker) speaker.postMessage(data, [data]);
      return;
    }
    const message = JSON.parse(data);
    if (message.kind === "hush" && speaker) speaker.postMessage("flush");
    if (message.kind === "ended" && start && message.n === start.n) start = null;
    postMessage(message);
  };
  made.onclose = ({ code, reason }) => {
    if (speaker) speaker.postMessage("flush");
    if (code === NOT_AGAIN) wanted = false;
    if (code === TAKEN) start = null;
    postMessage({ kind: "closed", code, reason });
    if (!wanted) return;
    setTimeout(() => { if (wanted && socket === made) connect(); }, pauseMs * (0.5 + Math.random() / 2));
    pauseMs = Math.min(PAUSE_MS[1], pauseMs * 2);
  };
  socket = made;
}

function say(message) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function hear({ data }) {
  if (!start || !socket || socket.readyState !== WebSocket.OPEN) return;
  if (socket.bufferedAmount > BEHIND_S * 2 * start.rate_hz) {
    postMessage({ kind: "behind", dropped: ++dropped });
    return;
  }
  socket.send(data);
}

onmessage = ({ data }) => {
  switch (data.kind) {
    case "connect":
      if (wanted) break;
      wanted = true;
      connect();
      break;
    case "sound":
      if (microphone) microphone.onmessage = null;
      ({ microphone, speaker } = data);
      microphone.onmessage = hear;
      break;
    case "start":
      start = data;
      say(data);
      break;
    case "stop":
      start = null;
      say(data);
      break;
    case "visible":
      if (start) start.visible = data.visible;
      say(data);
      break;
    case "look":
      look = data.fleet || data.robot ? data : null;
      say(data);
      break;
    case "command":
      say(data);
      break;
    case "leave":
      wanted = false;
      if (socket) socket.close(1000);
      break;
  }
};
