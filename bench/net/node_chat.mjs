/** The chat on Node's `net`, as fast as Node allows: what all have said in a turn is one write for each. */
import { Buffer } from "node:buffer";
import net from "node:net";

// deno-lint-ignore no-control-regex
const CONTROLS = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g;
const sockets = new Set();
let said = []; // in this turn

const server = net.createServer({ noDelay: true }, (socket) => {
  let rest = "";
  sockets.add(socket);
  socket.setEncoding("utf8");
  socket.write("type 'quit' to exit..\n");
  socket.on("error", () => socket.destroy());
  socket.on("close", () => sockets.delete(socket));
  socket.on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    let heard = "";
    for (const line of lines) {
      const clean = line.replace(CONTROLS, "").trim();
      if (clean === "quit") {
        say(socket, heard);
        sockets.delete(socket);
        return void socket.end();
      }
      heard += clean + "\n";
    }
    say(socket, heard);
  });
});

function say(from, text) {
  if (text === "") return;
  if (said.length === 0) setImmediate(tell);
  said.push({ from, bytes: Buffer.from(text) });
}

function tell() {
  const all = said;
  said = [];
  const shared = Buffer.concat(all.map(({ bytes }) => bytes));
  const speakers = new Set(all.map(({ from }) => from));
  for (const socket of sockets) {
    const others = () => Buffer.concat(all.filter(({ from }) => from !== socket).map(({ bytes }) => bytes));
    const bytes = speakers.has(socket) ? others() : shared;
    if (bytes.length > 0) socket.write(bytes);
  }
}

server.listen(
  0,
  "127.0.0.1",
  () => console.log(`listening for connections on port ${server.address().port}`),
);
