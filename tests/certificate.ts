/**
 * A certificate to test TLS with. Needs openssl.
 *
 * @module
 */
import { assert } from "@std/assert";
import { makeFolder } from "./folder.ts";

/** Makes a certificate for localhost, and its key, in PEM format. */
export async function certificate(): Promise<{ cert: string; key: string }> {
  await using folder = await makeFolder();
  const request =
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost";
  const extensions = [
    "-addext",
    "subjectAltName=DNS:localhost",
    "-addext",
    "basicConstraints=critical,CA:FALSE",
  ];
  const files = ["-keyout", `${folder.path}/key.pem`, "-out", `${folder.path}/cert.pem`];
  const { success, stderr } = await new Deno.Command("openssl", {
    args: [...request.split(" "), ...extensions, ...files],
    stdin: "null",
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return {
    cert: await Deno.readTextFile(`${folder.path}/cert.pem`),
    key: await Deno.readTextFile(`${folder.path}/key.pem`),
  };
}
