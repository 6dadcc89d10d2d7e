// Ordinary operations by npm's etcd3, as its documentation shows them.
// Run as: node npm_etcd3.js endpoint,... [user password]; NODE_PATH finds the library.
"use strict";
const { Etcd3, Range } = require("etcd3");

const [endpoints, username, password] = process.argv.slice(2);
const hosts = endpoints.split(",");
const auth = username ? { auth: { username, password } } : {};
const steps = [];
const tell = (step, seen = null) => steps.push([step, seen]);
const failure = (promise) => promise.then(() => "done", (error) => error.constructor.name);
const next = (emitter, name) => new Promise((resolve) => emitter.once(name, resolve));

async function keysAndValues(client) {
  await client.put("a/1").value("one");
  await client.put("a/2").value(2);
  tell("get", [await client.get("a/1").string(), await client.get("a/2").number()]);
  tell("get nothing", await client.get("none"));
  tell("prefix", await client.getAll().prefix("a/").sort("Key", "Descend").strings());
  tell("keys", await client.getAll().inRange(new Range("a/1", "a/2")).keys());
  tell("count", await client.getAll().prefix("a/").limit(1).count());
  const tried = await client.if("a/1", "Value", "==", "one")
    .and("a/3", "Create", "==", 0)
    .then(client.put("a/3").value("three"), client.get("a/1"))
    .else(client.get("a/2")).commit();
  tell("txn", [tried.succeeded, tried.responses.map((answer) => answer.response)]);
  tell("delete", (await client.delete().key("a/3").getPrevious()).map((kv) => kv.value.toString()));
  const added = await client.stm({ retries: 2 }).transact(async (tx) => {
    const value = await tx.get("a/2").number();
    await tx.put("a/2").value(value + 1);
    return value;
  });
  tell("stm", [added, await client.get("a/2").number()]);
  const space = client.namespace("space/");
  await space.put("x").value("y");
  tell("namespace", await space.getAll().strings());
  await client.delete().prefix("space/");
  tell("delete prefix", (await client.delete().prefix("a/")).deleted);
}

async function leases(client) {
  const lease = client.lease(30);
  await lease.put("l/1").value("x");
  tell("lease", (await lease.keepaliveOnce()).TTL);
  await lease.revoke();
  tell("revoked", await client.get("l/1"));
  const lock = client.lock("resource").ttl(30);
  await lock.acquire();
  tell("second lock", await failure(client.lock("resource").ttl(30).acquire()));
  await lock.release();
  tell("unlocked", await client.lock("resource").do(() => "inside"));
}

async function watches(client) {
  const watcher = await client.watch().prefix("w/").withPreviousKV().create();
  const seen = [];
  const heard = new Promise((resolve) => {
    const add = (kind) => (kv) => {
      seen.push([kind, kv.key.toString(), kv.value.toString()]);
      if (seen.length === 3) resolve();
    };
    watcher.on("put", add("put"));
    watcher.on("delete", add("delete"));
  });
  await client.put("w/1").value("a");
  await client.put("w/1").value("b");
  await client.delete().key("w/1");
  await heard;
  tell("watch", seen);
  await watcher.cancel();
}

async function elections(client) {
  const election = client.election("chief", 5);
  const first = election.campaign("anna");
  await first.wait();
  const observer = await election.observe();
  const second = client.election("chief", 5).campaign("bert");
  tell("leader", [await election.leader(), observer.leader()]);
  const changed = next(observer, "change");
  await first.proclaim("anna II");
  tell("proclaimed", await changed);
  await first.resign();
  await second.wait();
  tell("next leader", await election.leader());
  await second.resign();
  await observer.cancel();
}

async function cluster(client) {
  const { members } = await client.cluster.memberList({});
  tell("members", members.map((member) => member.clientURLs.length));
  const status = await client.maintenance.status({});
  tell("status", [members.some((member) => member.ID === status.leader), +status.raftTerm > 0]);
  const stream = await client.maintenance.snapshot({});
  let bytes = 0;
  stream.on("data", (part) => { bytes += part.blob.length; });
  await next(stream, "end");
  tell("snapshot", [bytes > 4096, bytes % 512]);
  tell("no such lease", await failure(client.leaseClient.leaseRevoke({ ID: "77" })));
}

async function users(client) {
  const role = await client.role("readers").create();
  await role.grant({ permission: "Read", range: Range.prefix("u/") });
  tell("granted", (await role.permissions()).map((found) => found.permission));
  const user = await client.user("carla").create("secret");
  await user.addRole("readers");
  tell("roles", (await user.roles()).map((found) => found.name));
  tell("users", (await client.getUsers()).map((found) => found.name));
  if (username) await limits(client);
  await user.delete();
  await role.delete();
}

async function limits(client) {
  await client.put("u/1").value("x");
  const carla = new Etcd3({ hosts, auth: { username: "carla", password: "secret" } });
  tell("may read", await carla.get("u/1"));
  tell("may not write", await failure(carla.put("u/1").value("y").exec()));
  carla.close();
  const wrong = new Etcd3({ hosts, auth: { username: "carla", password: "wrong" } });
  tell("wrong password", await failure(wrong.get("u/1").exec()));
  wrong.close();
  await client.delete().key("u/1");
}

async function main() {
  const client = new Etcd3({ hosts, ...auth });
  for (const part of [keysAndValues, leases, watches, elections, cluster, users]) {
    await part(client);
  }
  client.close();
  // Leases of locks that were refused would keep the process alive for a while.
  process.stdout.write(JSON.stringify(steps), () => process.exit(0));
}

main().catch((error) => {
  process.stderr.write(`${JSON.stringify(steps)}\n${error.stack}\n`);
  process.exit(1);
});
