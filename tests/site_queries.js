// Answers queries as the worker of the site does. Arguments: the worker, an index, the queries; output: JSON.
"use strict";
const fs = require("fs");
const [worker, index, ...queries] = process.argv.slice(2);
let listen, answer;
globalThis.addEventListener = (_, listener) => (listen = listener);
globalThis.postMessage = (message) => (answer = message);
(0, eval)(fs.readFileSync(worker, "utf8"));
listen({ data: { type: 0, data: JSON.parse(fs.readFileSync(index, "utf8")) } });
const answers = queries.map((query) => {
  listen({ data: { type: 2, data: query } });
  return answer.data.items;
});
console.log(JSON.stringify(answers));
