/**
 * The line echo of Node's `readline`: by events, or with `iterate` as argument by `for await`, as denoland/deno#16523 has
 * it.
 */
import net from "node:net";
import process from "node:process";
import readline from "node:readline";

const iterates = process.argv[2] === "iterate";

const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => socket.destroy());
  const lines = readline.createInterface({ input: socket });
  if (iterates) void iterate(lines, socket);
  else lines.on("line", (line) => socket.write(line + "\n"));
});

async function iterate(lines, socket) {
  for await (const line of lines) socket.write(line + "\n");
}

server.listen(0, "127.0.0.1", () => console.log(`Serving on ('127.0.0.1', ${server.address().port})`));
