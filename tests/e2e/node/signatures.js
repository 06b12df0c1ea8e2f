// Stripe's Node library as a judge of signatures, and as a signer.
//
// Standard input: {"secret", "received": [{"body", "header"}], "payload"}, bodies in base64.
// Standard output: a verdict for each that was received (its event's id, or the refusal), and a
// header for the payload.
'use strict';

const Stripe = require('stripe');

const stripe = new Stripe('sk_test_bursar_node');

function verdict(body, header, secret) {
  try {
    return {accepted: stripe.webhooks.constructEvent(body, header, secret).id};
  } catch (error) {
    return {refused: error.type};
  }
}

function judge({secret, received, payload}) {
  const verdicts = received.map(({body, header}) =>
    verdict(Buffer.from(body, 'base64'), header, secret)
  );
  const text = Buffer.from(payload, 'base64').toString('utf8');
  return {verdicts, header: stripe.webhooks.generateTestHeaderString({payload: text, secret})};
}

const chunks = [];
process.stdin.on('data', (chunk) => chunks.push(chunk));
process.stdin.on('end', () => {
  process.stdout.write(JSON.stringify(judge(JSON.parse(Buffer.concat(chunks).toString('utf8')))));
});
