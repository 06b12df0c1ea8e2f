// Turns the TypeScript types of the npm package `stripe` into one JSON Schema document.
// It owns the mapping from types to schemas; it never fetches anything: both packages have to be
// installed in DIRECTORY already.
//
//   node generate.js DIRECTORY OUTPUT

'use strict';

const fs = require('node:fs');
const path = require('node:path');

const [directory, output] = process.argv.slice(2);
const ts = require(require.resolve('typescript', { paths: [directory] }));
const home = path.join(fs.realpathSync(directory), 'node_modules', 'stripe');
const manifest = JSON.parse(fs.readFileSync(path.join(home, 'package.json'), 'utf8'));

// The objects whose documents we check, as "resource file: exported types". A type's wire name is
// its `object` constant; a deleted twin shares it and is listed as deleted_<name>.
const ROOTS = [
  'Customers: Customer DeletedCustomer', 'Products: Product', 'Prices: Price',
  'Checkout/Sessions: Session', 'PaymentIntents: PaymentIntent', 'Charges: Charge',
  'Refunds: Refund', 'PaymentMethods: PaymentMethod', 'SetupIntents: SetupIntent',
  'Subscriptions: Subscription', 'SubscriptionItems: SubscriptionItem', 'Invoices: Invoice',
  'InvoiceItems: InvoiceItem', 'InvoicePayments: InvoicePayment', 'Coupons: Coupon',
  'PromotionCodes: PromotionCode', 'PaymentLinks: PaymentLink', 'BillingPortal/Sessions: Session',
  'BillingPortal/Configurations: Configuration', 'Events: EventBase',
  'WebhookEndpoints: WebhookEndpoint', 'Balance: Balance',
  'BalanceTransactions: BalanceTransaction', 'Disputes: Dispute', 'TaxRates: TaxRate',
  'TestHelpers/TestClocks: TestClock', 'LineItems: LineItem', 'InvoiceLineItems: InvoiceLineItem',
  'Plans: Plan', 'CreditNotes: CreditNote', 'Quotes: Quote',
  'SubscriptionSchedules: SubscriptionSchedule', 'Discounts: Discount',
  'ShippingRates: ShippingRate', 'Tokens: Token', 'TaxIds: TaxId',
  'CustomerSessions: CustomerSession', 'Products: DeletedProduct', 'Coupons: DeletedCoupon',
  'Invoices: DeletedInvoice', 'WebhookEndpoints: DeletedWebhookEndpoint',
  'SubscriptionItems: DeletedSubscriptionItem', 'InvoiceItems: DeletedInvoiceItem',
  'TestHelpers/TestClocks: DeletedTestClock', 'Payouts: Payout', 'Accounts: Account',
  'Radar/EarlyFraudWarnings: EarlyFraudWarning',
];

const program = ts.createProgram([path.join(home, 'cjs', 'stripe.cjs.node.d.ts')], {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  types: [],
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
});
const checker = program.getTypeChecker();
const definitions = {};
const names = new Map();

function sourceOf(file) {
  const found = program.getSourceFile(path.join(home, 'cjs', `${file}.d.ts`));
  if (!found) throw new Error(`stripe ${manifest.version} has no ${file}.d.ts`);
  return found;
}

// "Checkout.Sessions:Session.Consent": the file below resources/, then the name inside it.
function nameOf(type) {
  const symbol = type.aliasSymbol ?? type.symbol;
  if (symbol.name === '__type') return '__type';
  const file = symbol.declarations[0].getSourceFile().fileName;
  const module = path.relative(path.join(home, 'cjs'), file).replace(/\.d\.ts$/, '');
  const room = module.replace(/^resources\//, '').replaceAll('/', '.');
  const generic = checker.getTypeArguments(type).length > 0;
  const parts = [symbol.name];
  for (let up = symbol.parent; up && !up.name.startsWith('"'); up = up.parent) parts.unshift(up.name);
  const words = generic ? `${symbol.name}<${checker.typeToString(type)}>` : parts.join('.');
  return `${room}:${words.replace(/[^\w.]/g, '_')}`;
}

function reference(type) {
  if (!names.has(type)) {
    const wanted = nameOf(type);
    let name = wanted;
    for (let next = 2; name in definitions; next += 1) name = `${wanted}__${next}`;
    names.set(type, name);
    definitions[name] = {}; // Taken before the descent, for types that contain themselves.
    definitions[name] = objectSchema(type);
  }
  return { $ref: `#/$defs/${names.get(type)}` };
}

function objectSchema(type) {
  const schema = { type: 'object', properties: {}, required: [] };
  for (const property of checker.getPropertiesOfType(type)) {
    schema.properties[property.name] = convert(checker.getTypeOfSymbol(property));
    if (!(property.flags & ts.SymbolFlags.Optional)) schema.required.push(property.name);
  }
  const index = checker.getIndexInfoOfType(type, ts.IndexKind.String);
  if (index) schema.additionalProperties = convert(index.type);
  return schema;
}

// A closed set of strings may gain members; the types say so with `| OtherString`, and so do we.
function unionSchema(type) {
  const parts = type.types.filter((part) => !(part.flags & ts.TypeFlags.Undefined));
  const literals = parts.filter((part) => part.isStringLiteral()).map((part) => part.value);
  const open = parts.find((part) => part.aliasSymbol?.name === 'OtherString');
  const choices = [];
  let listed = false;
  for (const part of parts) {
    if (part === open) continue;
    const grouped = part.isStringLiteral() || part.flags & ts.TypeFlags.BooleanLiteral;
    if (!grouped) choices.push(convert(part));
    else if (part.isStringLiteral() && !listed) {
      listed = true;
      choices.push(open ? { enum: literals, 'x-open': true } : { enum: literals });
    }
  }
  const booleans = parts.filter((part) => part.flags & ts.TypeFlags.BooleanLiteral);
  if (booleans.length === 2) choices.push({ type: 'boolean' });
  else if (booleans.length === 1) choices.push({ const: checker.typeToString(booleans[0]) === 'true' });
  return choices.length === 1 ? choices[0] : { anyOf: choices };
}

function convert(type) {
  const { flags } = type;
  // The library's class for exact decimals; on the wire they are strings.
  if ((type.aliasSymbol ?? type.symbol)?.name === 'Decimal') return { type: 'string' };
  if (flags & (ts.TypeFlags.Any | ts.TypeFlags.Unknown)) return {};
  if (flags & ts.TypeFlags.Null) return { type: 'null' };
  // `deleted?: void` marks the living twin: present only to tell the two apart.
  if (flags & ts.TypeFlags.Void) return { enum: [false] };
  if (flags & ts.TypeFlags.String) return { type: 'string' };
  if (flags & ts.TypeFlags.Number) return { type: 'number' };
  if (flags & ts.TypeFlags.Boolean) return { type: 'boolean' };
  if (flags & ts.TypeFlags.BooleanLiteral) return { const: checker.typeToString(type) === 'true' };
  if (type.isLiteral()) return { const: type.value };
  if (type.isUnion()) return unionSchema(type);
  if (checker.isArrayType(type)) {
    return { type: 'array', items: convert(checker.getTypeArguments(type)[0]) };
  }
  if (flags & ts.TypeFlags.Object) return reference(type);
  throw new Error(`no schema for the type ${checker.typeToString(type)}`);
}

// A deleted twin shares its wire name with the living one, so it gets a key of its own.
function rootKey(name, schema) {
  const wire = schema.properties.object.const;
  if (!name.startsWith('Deleted')) return wire;
  return wire.includes('.') ? `${wire}_deleted` : `deleted_${wire}`;
}

const roots = {};
for (const line of ROOTS) {
  const [file, types] = line.split(': ');
  const source = checker.getSymbolAtLocation(sourceOf(`resources/${file}`));
  const exported = new Map(checker.getExportsOfModule(source).map((each) => [each.name, each]));
  for (const wanted of types.split(' ')) {
    if (!exported.has(wanted)) throw new Error(`stripe has no ${wanted} in ${file}`);
    const ref = reference(checker.getDeclaredTypeOfSymbol(exported.get(wanted)));
    roots[rootKey(wanted, definitions[ref.$ref.slice('#/$defs/'.length)])] = ref;
  }
}

const version = fs.readFileSync(path.join(home, 'cjs', 'apiVersion.js'), 'utf8');
fs.writeFileSync(output, JSON.stringify({
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  'x-stripe-node': manifest.version,
  'x-api-version': /ApiVersion = '([^']+)'/.exec(version)[1],
  roots,
  $defs: definitions,
}));
