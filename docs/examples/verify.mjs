// Receives webhooks of postback and believes only what verifies.
//
//     npm ci
//     WEBHOOK_SECRET=whsec_… node verify.mjs 9911

import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const seen = new Set(); // in earnest a unique column, filled in the transaction that does the work

function judge(body, headers) {
  let event;
  try {
    event = webhook.verify(body, headers);
  } catch (error) {
    return [400, `refused: ${error.message}`]; // whatever it is, we do not believe the message
  }
  const id = headers["webhook-id"];
  if (seen.has(id)) return [204, `again ${id}`];
  seen.add(id);
  return [204, `verified ${id} ${event.type}`];
}

createServer(async (request, response) => {
  // The bytes as they came: parsed and written again they would no longer fit the signature.
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const [status, line] = judge(Buffer.concat(chunks), request.headers);
  console.log(line);
  response.writeHead(status).end();
}).listen(Number(process.argv[2]), "127.0.0.1");
