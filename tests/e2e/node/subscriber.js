// A shop that sells a plan with Stripe's Node library, on a test clock, and says what it saw.
//
// Called as: node subscriber.js SANDBOX_URL. It asserts nothing; the Python test does.
'use strict';

const Stripe = require('stripe');

const DAY = 24 * 3600;
const BEGIN = Date.UTC(2027, 0, 1, 12) / 1000;
const PATIENCE_MS = 20000;

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

async function goTo(stripe, clock, time) {
  await stripe.testHelpers.testClocks.advance(clock.id, {frozen_time: time});
  const late = Date.now() + PATIENCE_MS;
  for (;;) {
    const now = await stripe.testHelpers.testClocks.retrieve(clock.id);
    if (now.status === 'ready') return now;
    if (now.status === 'internal_failure' || Date.now() > late) {
      throw new Error(`the clock is ${now.status}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function priceOf(stripe, product, amount) {
  return stripe.prices.create({
    product: product.id,
    currency: 'usd',
    unit_amount: amount,
    recurring: {interval: 'month'},
  });
}

async function begin(stripe) {
  const clock = await stripe.testHelpers.testClocks.create({frozen_time: BEGIN});
  const customer = await stripe.customers.create({
    email: 'ada@example.com',
    payment_method: 'pm_card_visa',
    invoice_settings: {default_payment_method: 'pm_card_visa'},
    test_clock: clock.id,
  });
  const product = await stripe.products.create({name: 'Pro'});
  const small = await priceOf(stripe, product, 1000);
  const large = await priceOf(stripe, product, 3000);
  const subscription = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{price: small.id}],
    expand: ['latest_invoice.payments'],
  });
  return {clock, customer, small, large, subscription};
}

async function upgrade(stripe, {customer, large, subscription}) {
  const items = [{id: subscription.items.data[0].id, price: large.id}];
  const preview = await stripe.invoices.createPreview({
    customer: customer.id,
    subscription: subscription.id,
    subscription_details: {items, proration_behavior: 'always_invoice'},
  });
  const upgraded = await stripe.subscriptions.update(subscription.id, {
    items,
    proration_behavior: 'always_invoice',
    expand: ['latest_invoice'],
  });
  return {preview, upgraded};
}

async function main(address) {
  const stripe = clientOf(address);
  const begun = await begin(stripe);
  const {clock, subscription} = begun;
  await goTo(stripe, clock, BEGIN + 15 * DAY);
  const changed = await upgrade(stripe, begun);
  await goTo(stripe, clock, BEGIN + 33 * DAY);
  const renewed = await stripe.subscriptions.retrieve(subscription.id, {
    expand: ['latest_invoice'],
  });
  const leaving = await stripe.subscriptions.update(subscription.id, {cancel_at_period_end: true});
  await goTo(stripe, clock, BEGIN + 70 * DAY);
  const ended = await stripe.subscriptions.retrieve(subscription.id);
  const invoices = await stripe.invoices.list({subscription: subscription.id});
  const gone = await stripe.testHelpers.testClocks.del(clock.id);
  const seen = {...begun, ...changed, renewed, leaving, ended, invoices: invoices.data, gone};
  process.stdout.write(JSON.stringify(seen));
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
