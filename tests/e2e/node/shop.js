// A shop that uses Stripe's Node library against the sandbox, and says in JSON what it saw.
//
// Called as: node shop.js SANDBOX_URL. It asserts nothing; the Python test does.
'use strict';

const Stripe = require('stripe');

const PAGE = 2;
const CUSTOMERS = 5;

function clientOf(address) {
  const {hostname, port} = new URL(address);
  return new Stripe('sk_test_bursar_node', {
    host: hostname,
    port,
    protocol: 'http',
    maxNetworkRetries: 0,
    telemetry: false,
  });
}

async function sell(stripe) {
  const customer = await stripe.customers.create({email: 'ada@example.com', name: 'Ada Lovelace'});
  const product = await stripe.products.create({name: 'Starter'});
  const price = await stripe.prices.create({
    product: product.id,
    currency: 'usd',
    unit_amount: 500,
    lookup_key: 'starter',
  });
  const session = await stripe.checkout.sessions.create({
    mode: 'payment',
    customer: customer.id,
    line_items: [{price: price.id, quantity: 3}],
    metadata: {order: '7'},
    success_url: 'https://shop.example/thanks?session_id={CHECKOUT_SESSION_ID}',
  });
  const lines = await stripe.checkout.sessions.listLineItems(session.id);
  return {customer, product, price, session, lines: lines.data};
}

async function charge(stripe, customer) {
  const intent = await stripe.paymentIntents.create({
    amount: 2000,
    currency: 'usd',
    customer,
    payment_method: 'pm_card_visa',
    payment_method_types: ['card'],
    confirm: true,
    expand: ['latest_charge'],
  });
  const refund = await stripe.refunds.create({payment_intent: intent.id, amount: 700});
  const after = await stripe.charges.retrieve(intent.latest_charge.id);
  return {intent, refund, charge: after};
}

async function pages(stripe) {
  const made = [];
  for (let number = 0; number < CUSTOMERS; number += 1) {
    const customer = await stripe.customers.create({email: 'many@example.com'});
    made.unshift(customer.id);
  }
  const listed = [];
  for await (const customer of stripe.customers.list({email: 'many@example.com', limit: PAGE})) {
    listed.push(customer.id);
  }
  return {made, listed};
}

// What a refused call looks like to a shop; null when it was not refused at all.
async function refusal(call) {
  try {
    await call();
    return null;
  } catch (error) {
    return {
      type: error.type,
      code: error.code,
      decline_code: error.decline_code,
      param: error.param,
      status: error.statusCode,
      card: error instanceof Stripe.errors.StripeCardError,
      intent_status: error.payment_intent && error.payment_intent.status,
      request_id: error.requestId,
    };
  }
}

async function refusals(stripe) {
  const key = {idempotencyKey: `order-${Date.now()}`};
  const once = await stripe.customers.create({name: 'Ada'}, key);
  const again = await stripe.customers.create({name: 'Ada'}, key);
  return {
    declined: await refusal(() =>
      stripe.paymentIntents.create({
        amount: 2000,
        currency: 'usd',
        payment_method: 'pm_card_chargeDeclinedInsufficientFunds',
        payment_method_types: ['card'],
        confirm: true,
      })
    ),
    same_key_same_answer: once.id === again.id,
    other_body: await refusal(() => stripe.customers.create({name: 'Grace'}, key)),
    unknown: await refusal(() => stripe.customers.retrieve('cus_nobody')),
    no_parameter: await refusal(() => stripe.prices.create({currency: 'usd'})),
  };
}

async function main(address) {
  const stripe = clientOf(address);
  const endpoint = await stripe.webhookEndpoints.create({
    url: 'https://shop.example/hook',
    enabled_events: ['product.deleted'],
  });
  const sold = await sell(stripe);
  const charged = await charge(stripe, sold.customer.id);
  const seen = {
    endpoint,
    ...sold,
    ...charged,
    pages: await pages(stripe),
    refusals: await refusals(stripe),
  };
  process.stdout.write(JSON.stringify(seen));
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
