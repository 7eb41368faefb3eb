/**
 * Creds files, and what NATS must know to let them in, made for one test.
 *
 * @module
 */
import { nkeys } from "@nats-io/transport-node";

/** A server's configuration that lets in by creds, and creds that it lets in. */
export function credentials(): { config: string; creds: string } {
  const operator = nkeys.createOperator();
  const account = nkeys.createAccount();
  const user = nkeys.createUser();
  const operatorJwt = jwt(operator, operator, "operator", {});
  const accountJwt = jwt(operator, account, "account", {
    limits: {
      subs: -1,
      conn: -1,
      leaf: -1,
      imports: -1,
      exports: -1,
      data: -1,
      payload: -1,
      wildcards: true,
    },
  });
  const userJwt = jwt(account, user, "user", { subs: -1, data: -1, payload: -1 });
  const id = account.getPublicKey();
  return {
    config: `operator: ${operatorJwt}\nresolver: MEMORY\nresolver_preload: { ${id}: ${accountJwt} }\n`,
    creds: `-----BEGIN NATS USER JWT-----\n${userJwt}\n------END NATS USER JWT------\n\n` +
      `-----BEGIN USER NKEY SEED-----\n${
        new TextDecoder().decode(user.getSeed())
      }\n------END USER NKEY SEED------\n`,
  };
}

type KeyPair = ReturnType<typeof nkeys.createUser>;

function jwt(issuer: KeyPair, subject: KeyPair, type: string, claims: object): string {
  const nats = { ...claims, type, version: 2 };
  const payload = {
    jti: crypto.randomUUID(),
    iat: Math.floor(Date.now() / 1000),
    iss: issuer.getPublicKey(),
    sub: subject.getPublicKey(),
    name: type,
    nats,
  };
  const text = [{ typ: "JWT", alg: "ed25519-nkey" }, payload].map((part) =>
    base64(encode(JSON.stringify(part)))
  ).join(".");
  return `${text}.${base64(issuer.sign(encode(text)))}`;
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
