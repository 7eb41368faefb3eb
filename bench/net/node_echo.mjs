/** The echo of Node's `net`: whatever comes is written. */
import net from "node:net";

const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => socket.destroy());
  socket.pipe(socket);
});

server.listen(0, "127.0.0.1", () => console.log(`Serving on ('127.0.0.1', ${server.address().port})`));
