"""The chat on Python's asyncio, as a protocol: what all have said in a turn is one write for each."""

import asyncio
import re

CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")
clients = set()
said = []  # in this turn


class Chat(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.rest = b""
        clients.add(self)
        transport.write(b"type 'quit' to exit..\n")

    def connection_lost(self, _):
        clients.discard(self)

    def data_received(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        heard = []
        for line in lines:
            text = CONTROLS.sub("", line.decode(errors="replace")).strip()
            if text == "quit":
                self.say(heard)
                clients.discard(self)
                self.transport.close()
                return
            heard.append(text + "\n")
        self.say(heard)

    def say(self, heard):
        if not heard:
            return
        if not said:
            asyncio.get_running_loop().call_soon(tell)
        said.append((self, "".join(heard).encode()))


def tell():
    everything = said.copy()
    said.clear()
    shared = b"".join(text for _, text in everything)
    speakers = {speaker for speaker, _ in everything}
    for client in list(clients):
        text = shared
        if client in speakers:
            text = b"".join(text for speaker, text in everything if speaker is not client)
        if text:
            client.transport.write(text)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Chat, "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(f"listening for connections on port {port}", flush=True)
    await server.serve_forever()


asyncio.run(main())
